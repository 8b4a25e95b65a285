"""The whole API over PostgreSQL, with the real ingest actor behind it and a clock that tests move.

The cast: workspace `north` with a streaming connection `live` and a polled one `hourly`, which
promises a record an hour. `south` has the same and belongs to somebody else. Keys: `all` holds
every scope for every workspace, `north` every scope for north alone, `gateway` may send for north,
and there is one key for each single scope.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog

from actors.connections import Connector
from actors.ingest import IngestActor
from actors.registry_sync import RegistrySync, RegistrySyncCommand
from actors.session import CurrentSession
from actors.trial import ConnectionTrials
from actors.waits import ProviderWaits
from api.app import PREFIX, ApiServices, create_app
from api.examples import Examples
from api.key_uses import KeyUses
from api.keys import Scope, mint_key
from api.pages.live_board import LiveBoard
from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    Policy,
    ProviderConnection,
    ProviderStatement,
    StatementKind,
    Submission,
)
from domain.registry import DeviceDraft
from domain.schedule import Place, cycle_id, place_of, slot_of
from lastheard.credentials import CredentialReader
from lastheard.process_model import PROCESS_MODEL
from ports.cycles import WantedCycle
from ports.sessions import VitalSigns
from providers.push import Push
from runtime.outbound import Allowance
from runtime.reply import Reply
from tests.api.provider import MurmuredProvider, SpokenProvider
from tests.api.standing_time import START
from tests.legacy.scripted import ScriptedLegacy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from quart.typing import TestClientProtocol

    from domain.model import Receipt, SessionRef
    from ports.providers import Provider
    from tests.api.standing_time import DatabaseClock
    from tests.conftest import Stores

BUSES = ("bus-1", "bus-2", "bus-3")


@cache
def example_report() -> Mapping[str, Any]:
    """Return what a process says of itself, with the values of the API's examples."""
    schema = PROCESS_MODEL.model_json_schema(ref_template="#/components/schemas/{model}")
    example: Mapping[str, Any] = Examples(schema["$defs"]).of(schema)
    return example


@dataclass
class Answer:
    """One response. `json` is its body as JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        """Return the slug of the problem's type."""
        assert self.headers["content-type"] == "application/problem+json"
        return str(self.json["type"].removeprefix("urn:lastheard:problem:"))

    @property
    def pointers(self) -> list[str]:
        return [part.get("pointer") or part["parameter"] for part in self.json["errors"]]


@dataclass
class Nudged:
    """A count of the changes that the API reported."""

    times: int = 0

    def registry_changed(self) -> None:
        self.times += 1


class Harness:
    """The API with its stores, ingest actor and clock. `tokens` has the keys' tokens by name."""

    def __init__(
        self, stores: Stores, clock: DatabaseClock, session: SessionRef, credentials: Path
    ) -> None:
        self.stores = stores
        self.credentials_folder = credentials
        self.session = session
        self.clock = clock
        self.current = CurrentSession()
        self.current.replace(session)
        self.ingest = IngestActor(stores.ingest, self.current, random=random.Random(1))
        self.nudged = Nudged()
        self.legacy = ScriptedLegacy()
        self.key_uses = KeyUses(stores.keys)
        self.ready = {"ingest": True, "lanes": True}
        self.tokens: dict[str, str] = {}
        self.board = LiveBoard(stores.live)
        self.services = self.make_services()
        self.client: TestClientProtocol = create_app(self.services).test_client()

    def make_services(self, **changes: Any) -> ApiServices:
        providers: dict[str, Provider] = changes.pop("providers", None) or {
            "spoken": SpokenProvider(),
            "murmured": MurmuredProvider(),
            "push": Push(),
        }
        credentials = CredentialReader(self.credentials_folder)
        plain: dict[str, Any] = {
            "outbound": Allowance.parse("127.0.0.1"),
            "registry": self.stores.registry,
            "reads": self.stores.reads,
            "indicators": self.stores.indicators,
            "changes": self.stores.changes,
            "cutovers": self.stores.cutovers,
            "parity": self.stores.parity_reads,
            "legacy": self.legacy,
            "legacy_syncs": self.stores.legacy_syncs,
            "registry_syncs": RegistrySyncCommand(
                self.stores.cutovers, RegistrySync(self.legacy, self.stores.legacy_syncs)
            ),
            "quarantine": self.stores.quarantine,
            "keys": self.stores.keys,
            "key_uses": self.key_uses,
            "sign_ins": self.stores.sign_ins,
            "live": self.board,
            "ingest": self.ingest,
            "nudges": self.nudged,
            "providers": providers,
            "credentials": credentials,
            "trials": ConnectionTrials(
                providers,
                Connector(providers, credentials.resolve),
                cast("Any", self.clock),
                ProviderWaits(),
            ),
            "clock": self.clock,
            "runtime_report": lambda: {"shard_id": "shard-1", **example_report()},
            "process_model": PROCESS_MODEL,
            "readiness": lambda: dict(self.ready),
            "cursor_key": b"0123456789abcdef0123456789abcdef",
            "log": structlog.get_logger(),
        }
        return ApiServices(**{**plain, **changes})

    # --- Asking

    async def ask(self, method: str, path: str, *, key: str | None = "all", **rest: Any) -> Answer:
        headers = dict(rest.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(key, key)}"
        full_path = (
            path
            if path.startswith(("/healthz", "/readyz", "/openapi", "/docs", "/api"))
            else PREFIX + path
        )
        response = await self.client.open(full_path, method=method, headers=headers, **rest)
        body = await response.get_data(as_text=False)
        return Answer(response.status_code, dict(response.headers), bytes(body))

    async def get(self, path: str, **rest: Any) -> Any:
        """Return the JSON of a GET, which must succeed."""
        answer = await self.ask("GET", path, **rest)
        assert answer.status == 200, answer.body
        return answer.json

    async def walk(self, path: str, **rest: Any) -> list[Any]:
        """Return all pages of a list."""
        pages = [await self.get(path, **rest)]
        while pages[-1]["next_cursor"] is not None:
            sign = "&" if "?" in path else "?"
            pages.append(await self.get(f"{path}{sign}cursor={pages[-1]['next_cursor']}", **rest))
        return pages

    async def add_key(
        self, name: str, scopes: list[str], workspaces: list[str] | None, **rest: Any
    ) -> None:
        """Store a key. Its id is random unless `key_id` is given."""
        record, self.tokens[name] = mint_key(name, scopes, workspaces, rest.get("expires_at"))
        if "key_id" in rest:
            self.tokens[name] = self.tokens[name].replace(record.key_id, rest["key_id"])
            record = record._replace(key_id=rest["key_id"])
        record = record._replace(revoked_at=rest.get("revoked_at"))
        assert await self.stores.keys.create_key(record) is not None, f"the name {name} is taken"

    # --- What happens meanwhile

    def let_pass(self, seconds: float) -> None:
        self.clock.let_pass(seconds)

    async def report(self, device_id: str, *, workspace: str = "north", **signals: Any) -> Answer:
        """Send readings of the device now. `observed_at` may be earlier."""
        observed_at = signals.pop("observed_at", self.clock.now())
        readings = [
            {"signal": name, "value": value, "observed_at": observed_at.isoformat()}
            for name, value in signals.items()
        ]
        update = {
            "workspace_id": workspace,
            "provider_id": "live",
            "device_id": device_id,
            "readings": readings,
        }
        return await self.ask("POST", "/ingest", json={"updates": [update]})

    async def commit(self, submission: Submission) -> None:
        """Submit it, and wait until it is committed."""
        reply: Reply[Receipt | None] = Reply()
        await self.ingest.submit(replace(submission, resolve=reply.resolve))
        assert await reply.wait() is not None

    async def run_cycle(self, workspace: str = "north", *, is_answered: bool = True) -> str:
        """Run a cycle that finds nothing new.

        If it is answered, the provider names every device of `live`.
        """
        stored = await self.stores.registry.get_workspace(workspace)
        assert stored is not None
        now = self.clock.now()
        slot = slot_of(now, place_of(stored) or Place(workspace, 0, stored.poll_interval_seconds))
        key = CycleKey(workspace, slot, CycleTrigger.SCHEDULE, 1)
        await self.stores.sessions.beat(self.session, ttl_seconds=86_400, statistics=VitalSigns())
        start = await self.stores.cycles.start_cycle(
            self.session, WantedCycle(key, cycle_id(key), "trace-cycle")
        )
        end = CycleEnd(start.key, start.cycle_id, now, CycleOutcome.COMPLETED, {"devices": 0})
        submission = Submission("poll", "trace-cycle", cycle=end)
        if is_answered:
            answer = ConnectionFact(workspace, "live", ConnectionFactKind.CALL_SUCCEEDED, now)
            submission.facts = (answer,)
            named = ProviderStatement(workspace, StatementKind.NAMED, BUSES, now, now)
            submission.statements = (named,)
        await self.commit(submission)
        return start.cycle_id

    # --- The cast

    async def populate(self) -> None:
        """Store the cast."""
        await self.add_key("all", list(Scope), None)
        await self.add_key("north", list(Scope), ["north", "nowhere"])
        for scope in Scope:
            await self.add_key(scope, [scope], None)
        await self.add_key("gateway", ["ingest"], ["north"], key_id="ofnorth")
        await self.stores.upkeep.ensure_partitions(days_ahead=7)
        for workspace in ("north", "south"):
            await self._populate_workspace(workspace)

    async def _populate_workspace(self, workspace: str) -> None:
        await self.stores.registry.put_workspace(
            workspace,
            name=workspace.title(),
            active=True,
            poll_interval_seconds=300,
            policy=Policy(),
        )
        live = ProviderConnection(
            workspace,
            "live",
            "spoken",
            "stream",
            "https://provider.example",
            "env:LASTHEARD_SECRET_NORTH",
        )
        hourly = ProviderConnection(
            workspace,
            "hourly",
            "spoken",
            "poll",
            "https://provider.example",
            None,
            expected_update_seconds=3600.0,
        )
        await self.stores.registry.put_provider(live)
        await self.stores.registry.put_provider(hourly)
        await self.stores.registry.put_devices(workspace, [draft(bus) for bus in BUSES])


def draft(device_id: str, **rest: Any) -> DeviceDraft:
    plain = DeviceDraft(
        device_id, "live", f"x-{device_id}", f"vehicle-{device_id}", f"Bus {device_id}"
    )
    return plain._replace(**rest)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def later(seconds: float) -> datetime:
    """Return the instant so many seconds after the test's time began."""
    return START + timedelta(seconds=seconds)
