"""The newest row of each watched device of one workspace, and the tick at which it last changed.

A row is kept as the JSON that pages get: it is encoded once, and shared by all of them. A device is
judged by domain.health, from its stored facts, so a row says what the health report says. Ticks are
the board's (live_board.py). A device that is gone leaves its tick, so that a page that missed it
can be told; only the newest of these are kept.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from api.pages.words import party_name, reason_name, state_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from domain.health import Decision, Judge
    from domain.health_facts import HealthFacts
    from domain.health_state import State

MAX_GONE: Final = 1000
LEGACY: Final = "legacy"  # the legacy system shows the values; it is not asked every 5 s
FULL: Final = "full"  # the board has no room for so many devices


class LiveRow(NamedTuple):
    """One device's row: `json` is `"workspace/device":{…}`, a member of an object.

    The row is of these `facts`, or of later ones with the same device and values.
    """

    tick: int
    facts: HealthFacts
    decision: Decision
    json: bytes


class WorkspaceRows:
    """The rows of one workspace. `known_since` is the tick from which on changes are known.

    A tick of 0 means never. `why_not_live`: why its pages get no rows; None: they do.
    """

    def __init__(self, workspace_id: str) -> None:
        self.workspace_id = workspace_id
        self.facts: dict[str, HealthFacts] = {}
        self.rows: dict[str, LiveRow] = {}
        self.gone: OrderedDict[str, int] = OrderedDict()
        self.known_since = 0
        self.changed = 0  # the newest tick of a row, or of one that is gone
        self.states_changed = 0  # the same, of states, reasons, and of which devices there are
        self.is_read = False
        self.why_not_live: str | None = None

    @property
    def is_to_be_read(self) -> bool:
        """Return whether all devices are to be read. Under LEGACY that may have ended."""
        return not self.is_read and self.why_not_live != FULL

    def replace_all(self, facts: Mapping[str, HealthFacts], tick: int) -> None:
        """Take what was read of all devices, and forget the others."""
        if not self.is_read:
            self.known_since, self.is_read, self.why_not_live = tick, True, None
        self.facts = dict(facts)
        for device_id in [name for name in self.rows if name not in facts]:
            self._forget(device_id, tick)

    def put(self, facts: HealthFacts) -> None:
        """Take what was read of one device."""
        self.facts[facts.device.device_id] = facts

    def share(self, facts: HealthFacts) -> None:
        """Give all devices of a connection what they share, as it was read with one of them."""
        provider_id = facts.device.provider_id
        for device_id, known in self.facts.items():
            if known.device.provider_id == provider_id:
                self.facts[device_id] = known._replace(
                    workspace=facts.workspace,
                    connection=facts.connection,
                    connection_record=facts.connection_record,
                    collector=facts.collector,
                    connection_changed_at=facts.connection_changed_at,
                )

    def judge(self, judge: Judge, tick: int, *, at_once: int) -> Iterator[None]:
        """Make the rows of all devices, and note which changed. Yields after each `at_once`."""
        for number, (device_id, facts) in enumerate(self.facts.items(), 1):
            if number % at_once == 0:
                yield
            decision = judge.decide(facts)
            old = self.rows.get(device_id)
            if old is None or _says_other(old, facts, decision):
                row = LiveRow(tick, facts, decision, encode_row(facts, decision))
                self._keep(device_id, old, row)

    def count(self) -> Mapping[State, int]:
        """Return how many devices are in each state that occurs."""
        return Counter(row.decision.state for row in self.rows.values())

    def stop_being_live(self, why: str, tick: int) -> None:
        """Forget all rows: from now on its pages reload themselves."""
        if self.why_not_live != why:
            self.facts, self.rows, self.is_read = {}, {}, False
            self.gone.clear()
            self.why_not_live, self.known_since, self.changed = why, tick, tick

    def _keep(self, device_id: str, old: LiveRow | None, row: LiveRow) -> None:
        if old is not None and old.json == row.json:
            self.rows[device_id] = row._replace(tick=old.tick)
            return
        self.gone.pop(device_id, None)
        self.rows[device_id] = row
        self.changed = row.tick
        if old is None or old.decision[:3] != row.decision[:3]:
            self.states_changed = row.tick

    def _forget(self, device_id: str, tick: int) -> None:
        del self.rows[device_id]
        self.gone[device_id] = tick
        self.changed = self.states_changed = tick
        if len(self.gone) > MAX_GONE:
            self.known_since = max(self.known_since, self.gone.popitem(last=False)[1])


def _says_other(row: LiveRow, facts: HealthFacts, decision: Decision) -> bool:
    """Return whether the row may differ: what was read anew is another object."""
    known = row.facts
    return (
        known.document is not facts.document
        or known.device is not facts.device
        or row.decision[:3] != decision[:3]
        or row.decision.old_signals != decision.old_signals
    )


def row_id(workspace_id: str, device_id: str) -> str:
    """Return the id of a device's row on every page. Ids have no slash (domain/ids.py)."""
    return f"{workspace_id}/{device_id}"


def encode_row(facts: HealthFacts, decision: Decision) -> bytes:
    """Return a row as a member of an object. Instants of values are milliseconds since 1970."""
    device, received_at = facts.device, facts.last_update_received_at
    shown: dict[str, Any] = {
        "state": decision.state,
        "state_name": state_name(decision.state),
        "reason": decision.reason,
        "reason_name": reason_name(decision.reason),
        "party": decision.party,
        "party_name": party_name(decision.party),
        "heard_at": received_at,
        "observed_at": facts.last_observed_at,
        "away_since": None if facts.last_observed_at is None else facts.away_since,
        "old": decision.old_signals,
        "values": {
            signal: (held.value, held.observed // 1000) for signal, held in facts.document.items()
        },
    }
    name = row_id(device.workspace_id, device.device_id)
    return orjson.dumps(name) + b":" + orjson.dumps(shown, option=orjson.OPT_UTC_Z)
