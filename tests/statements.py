"""Statements of a provider about devices, as tests make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.model import ProviderStatement, StatementKind

if TYPE_CHECKING:
    from datetime import datetime


def named(workspace_id: str, device_ids: tuple[str, ...], at: datetime) -> ProviderStatement:
    """Say that an answer named the devices. The call took no time."""
    return ProviderStatement(workspace_id, StatementKind.NAMED, device_ids, at, at)
