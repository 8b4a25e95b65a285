"""What a legacy system shows of devices that it names by provider and external id.

Owns how such a name is compared with ours. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.identity import external_key
from domain.parity import DeviceView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOT_READABLE: Final = DeviceView({}, None, is_readable=False)


def index_views(
    by_external_id: Mapping[tuple[str, str], DeviceView], is_vin: Callable[[str], bool]
) -> dict[tuple[str, str], DeviceView]:
    """Return the views by provider and external id, as external ids are compared here.

    `is_vin` says of a provider whether its external ids are VINs. Two items of one id cannot be
    told apart: then what is shown of the device is not readable.
    """
    found: dict[tuple[str, str], DeviceView] = {}
    for (provider_id, external_id), view in by_external_id.items():
        key = provider_id, external_key(external_id, is_vin=is_vin(provider_id))
        found[key] = NOT_READABLE if key in found else view
    return found
