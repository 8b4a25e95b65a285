"""Writing a fleet file: models into TOML that reads them back.

Owns the order and the form of the file. The same fleet is always the same bytes, so that files can
be compared and kept under version control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomli_w

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

    from lastheard.fleet_model import FleetWorkspace

_HEAD = "# A fleet of Lastheard. `lastheard apply` takes it, `export` writes it.\n"


def write_fleet(workspaces: Iterable[FleetWorkspace]) -> str:
    """Return the file. Workspaces, connections and devices are in the order of their ids."""
    ordered = sorted(workspaces, key=lambda one: one.id)
    return _HEAD + "".join(part for workspace in ordered for part in _write_workspace(workspace))


def _write_workspace(workspace: FleetWorkspace) -> Iterator[str]:
    yield from _write_table("workspaces", workspace, but={"connections", "devices"})
    for connection in sorted(workspace.connections, key=lambda one: one.id):
        yield from _write_table("workspaces.connections", connection)
    for device in sorted(workspace.devices, key=lambda one: one.id):
        yield from _write_table("workspaces.devices", device)


def _write_table(
    name: str, model: BaseModel, but: frozenset[str] | set[str] = frozenset()
) -> Iterator[str]:
    """Yield one item of an array of tables, with its own tables after its values.

    What is None is left out: TOML has no null.
    """
    members = {key: _to_toml(value) for key, value in model.model_dump(exclude=set(but)).items()}
    values = {key: value for key, value in members.items() if value not in (None, "", {}, [])}
    tables = {key: values.pop(key) for key in list(values) if isinstance(values[key], dict)}
    yield f"\n[[{name}]]\n{tomli_w.dumps(values)}"
    for key, table in tables.items():
        yield "\n" + tomli_w.dumps(_nest([*name.split("."), key], table))


def _nest(names: list[str], table: dict[str, Any]) -> dict[str, Any]:
    for name in reversed(names):
        table = {name: table}
    return table


def _to_toml(value: Any) -> Any:
    """Return the value without members that are None, and whole numbers without a fraction."""
    match value:
        case dict():
            return {key: _to_toml(member) for key, member in value.items() if member is not None}
        case list():
            return [_to_toml(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
