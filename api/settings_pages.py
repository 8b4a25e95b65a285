"""Which workspaces have a settings page: the feature flag `workspace-telematics-mvp-settings`.

Owns the form of the setting. Development (an embedded database) has all of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.ids import is_id

FLAG: Final = "workspace-telematics-mvp-settings"
_ALL: Final = "*"
_NOT: Final = "!"


class SettingsPages(NamedTuple):
    """The workspaces with a settings page: all but `exceptions`, or none but these."""

    by_default: bool = True
    exceptions: frozenset[str] = frozenset()

    def has(self, workspace_id: str) -> bool:
        return self.by_default != (workspace_id in self.exceptions)

    @classmethod
    def parse(cls, text: str) -> SettingsPages:
        """Return what a setting says: `*`, `*,!north`, `north,south`, or nothing at all.

        Raises ValueError that names the part at fault.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        by_default = _ALL in parts
        mark = _NOT if by_default else ""
        exceptions = [part for part in parts if part != _ALL]
        for part in exceptions:
            if not part.startswith(mark) or not is_id(part.removeprefix(mark)):
                raise ValueError(
                    f"{part!r} does not fit: give workspaces with commas between, or * and the "
                    "exceptions, each with ! before it, as in *,!north"
                )
        return cls(by_default, frozenset(part.removeprefix(mark) for part in exceptions))


EVERYWHERE: Final = SettingsPages()
