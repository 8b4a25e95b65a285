"""The fault of a provider that comes out of a nursery, without the group around it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ports.providers import ProviderFault
from runtime.exception_groups import first_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def single_fault() -> Iterator[None]:
    """Unwrap the group in which a nursery delivers a ProviderFault.

    Any other error in the group is a bug; then the group is raised as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        faults, rest = group.split(ProviderFault)
        if faults is None or rest is not None:
            raise
        fault = first_leaf(faults)
        raise fault from fault.__cause__  # the group says nothing that the fault does not
