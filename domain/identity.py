"""When two spellings of an external id mean the same unit.

This module owns the comparison of external ids. An id is stored as it was configured, and compared
by a key. Edge spaces never count. The case counts, unless the provider's ids are VINs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domain.model import Device

# Only ASCII letters, as PostgreSQL's upper() does under the collation "C".
_SMALL = "abcdefghijklmnopqrstuvwxyz"
_ASCII_UPPER = str.maketrans(_SMALL, _SMALL.upper())


def external_key(external_id: str, *, is_vin: bool) -> str:
    """Return the form in which an external id is compared, unique among active devices."""
    trimmed = external_id.strip()
    return trimmed.translate(_ASCII_UPPER) if is_vin else trimmed


def key_of(device: Device) -> str:
    """Return the form in which the device's external id is compared."""
    return external_key(device.external_id, is_vin=device.ids_are_vins)
