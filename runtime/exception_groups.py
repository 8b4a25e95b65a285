"""The exceptions inside the groups that nurseries raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

E = TypeVar("E", bound=BaseException)


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """Yield the exceptions inside nested groups, in order."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def first_leaf(group: BaseExceptionGroup[E]) -> E:
    """Return the first exception inside nested groups."""
    return next(leaves(group))


def only_leaf(error: Exception) -> Exception:
    """Return the one exception inside nested groups of one.

    A group with several exceptions is returned as it is.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
