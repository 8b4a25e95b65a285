"""Reading a fleet file: TOML into models, with every mistake that the file alone shows.

Owns the mistakes of form: syntax, unknown keys, wrong types, ids that are given twice. It must
never ask the service.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from api.shapes import Overrides
from lastheard.fleet_faults import FleetFault, FleetInvalid, refuse_faults, refuse_text
from lastheard.fleet_model import (
    FleetConnection,
    FleetDevice,
    FleetDocument,
    FleetPolicy,
    FleetWorkspace,
)
from lastheard.fleet_words import explain_form, explain_syntax

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from lastheard.fleet_lines import Steps

MAX_BYTES = 64 * 1024 * 1024
_AT = re.compile(r"(?P<detail>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")
_TABLES: dict[str, type[BaseModel]] = {
    "workspaces": FleetWorkspace,
    "policy": FleetPolicy,
    "connections": FleetConnection,
    "devices": FleetDevice,
    "overrides": Overrides,
}


@dataclass(frozen=True)
class FleetFile:
    """A file that was read. `text` and `document` say where in it a mistake is."""

    path: Path
    text: str
    document: dict[str, Any]
    workspaces: Sequence[FleetWorkspace]

    def refuse(self, faults: Sequence[FleetFault]) -> FleetInvalid:
        return refuse_faults(self.path, self.text, self.document, faults)


def read_fleet(path: Path) -> FleetFile:
    """Return the file. Blocks. Raises FleetInvalid with every mistake."""
    text = _read_text(path)
    document = _parse(path, text)
    try:
        fleet = FleetDocument.model_validate(document, strict=True)
    except ValidationError as error:
        found = [_fault_of(one) for one in error.errors(include_url=False, include_input=False)]
        raise refuse_faults(path, text, document, found) from None
    faults = list(_repeated_ids(fleet))
    if faults:
        raise refuse_faults(path, text, document, faults)
    return FleetFile(path, text, document, fleet.workspaces)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FleetInvalid(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise FleetInvalid(f"{path} has more than {MAX_BYTES >> 20} MiB: cut it into several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refuse_text(path, line, "it is not UTF-8: save the file as UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refuse_syntax(path, text, str(error)) from None
    except RecursionError:
        raise FleetInvalid(f"{path} is nested too deeply\nNothing was applied.") from None


def _refuse_syntax(path: Path, text: str, message: str) -> FleetInvalid:
    """Return the refusal. tomllib ends its message with the place, or with `at end of document`."""
    found = _AT.fullmatch(message)
    if found is None:
        return refuse_text(path, max(1, len(text.splitlines())), f"not TOML: {message}")
    detail = f"not TOML at column {found['column']}: {explain_syntax(found['detail'])}"
    return refuse_text(path, int(found["line"]), detail)


def _fault_of(error: ErrorDetails) -> FleetFault:
    return FleetFault(error["loc"], explain_form(error, _table_of(error["loc"])))


def _table_of(steps: Steps) -> type[BaseModel]:
    """Return the model of the table that holds the place."""
    names = [step for step in steps[:-1] if step in _TABLES]
    return _TABLES[str(names[-1])] if names else FleetDocument


def _repeated_ids(fleet: FleetDocument) -> Iterator[FleetFault]:
    yield from _repeated((), "workspaces", fleet.workspaces)
    for number, workspace in enumerate(fleet.workspaces):
        within = ("workspaces", number)
        yield from _repeated(within, "connections", workspace.connections)
        yield from _repeated(within, "devices", workspace.devices)


def _repeated(
    within: Steps,
    name: str,
    tables: Iterable[FleetWorkspace | FleetConnection | FleetDevice],
) -> Iterator[FleetFault]:
    seen: set[str] = set()
    for index, table in enumerate(tables):
        if table.id in seen:
            detail = f"{table.id} is given twice: remove one of them, or give it another id"
            yield FleetFault((*within, name, index, "id"), detail)
        seen.add(table.id)
