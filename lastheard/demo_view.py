"""The demo's output: a live table on a terminal or plain lines, then a summary and a verdict.

Owns `WorkspaceWatch`, which asks the running API like any client and records which states occurred.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from domain.resource import workspace_resource
from lastheard.client import PREFIX
from lastheard.fitting import Column, fit_table, width_of_pipe
from lastheard.tables import STATE_STYLE, STATES

if TYPE_CHECKING:
    from rich.table import Table

    from lastheard.service import Service

LOOK_EVERY_SECONDS = 1.0
LINE_EVERY_LOOKS = 5
GOOD_CYCLES = ("completed", "partial")
OTHER_OUTCOMES = ("duplicate", "stale")
# The outcome `stale` says that an update was older than what is held. Beside the state of the same
# name it would mislead.
_WORDS = {"stale": "outdated"}


class WorkspaceWatch:
    """The health and cycles of each workspace, read over HTTP. `seen` has all states that occurred.

    Cycles that started before `since` are not counted: they are of an earlier demo in the same
    folder.
    """

    def __init__(self, workspaces: list[str], since: datetime) -> None:
        self.workspaces = workspaces
        self._since = since
        self.counts: dict[str, Counter[str]] = {workspace: Counter() for workspace in workspaces}
        self.cycles: dict[str, Counter[str]] = {workspace: Counter() for workspace in workspaces}
        self.seen: set[str] = set()
        self._cycle_outcomes: dict[str, dict[str, str]] = {
            workspace: {} for workspace in workspaces
        }

    async def look(self, client: httpx.AsyncClient) -> None:
        """Read every workspace's health and newest cycles once."""
        for workspace in self.workspaces:
            health = await _get(client, f"/workspaces/{workspace}/health", limit=1)
            self.counts[workspace] = Counter(health["counts"])
            self.seen.update(state for state, count in health["counts"].items() if count)
            cycles = await _get(client, f"/workspaces/{workspace}/cycles", limit=20)
            outcomes = self._cycle_outcomes[workspace]
            outcomes.update(
                (cycle["cycle_id"], cycle["outcome"])
                for cycle in cycles["items"]
                if self._is_ours(cycle)
            )
            self.cycles[workspace] = Counter(outcomes.values())

    def _is_ours(self, cycle: dict[str, Any]) -> bool:
        started_at = cycle["started_at"]
        return started_at is not None and datetime.fromisoformat(started_at) >= self._since

    def unseen(self) -> list[str]:
        """Return the states that no device was ever in."""
        return [state for state in STATES if state not in self.seen]

    def without_cycle(self) -> list[str]:
        """Return the workspaces that never completed a cycle."""
        return [
            w
            for w in self.workspaces
            if not any(self.cycles[w][outcome] for outcome in GOOD_CYCLES)
        ]


async def _get(client: httpx.AsyncClient, path: str, **params: int) -> Any:
    answer = await client.get(PREFIX + path, params=params)
    answer.raise_for_status()
    return orjson.loads(answer.content)


class DemoView:
    """Prints a table that renews itself on a terminal; else a line of sums every few seconds."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else width_of_pipe()
        self._console = Console(file=sys.stdout, highlight=False, width=width)

    def say(self, text: str, style: str | None = None) -> None:
        """Print the text unchanged: rich must not read [brackets] and :words: as markup."""
        self._console.print(text, soft_wrap=True, markup=False, emoji=False, style=style)

    def introduce(self, address: str, key: str, remembered: Path) -> None:
        self.say(f"\naddress  {address}\nkey      {key}\n")
        self.say(f"Open this in a browser; it is signed in:\n  {address}/sign-in#{key}\n")
        self.say("Try, in another terminal:")
        self.say(
            f'  curl -H "Authorization: Bearer {key}" {address}{PREFIX}/workspaces/harbour/health'
        )
        self.say(f"  {_own_command()} health harbour      (address and key are in {remembered})\n")

    async def keep_showing(
        self, watch: WorkspaceWatch, address: str, key: str, service: Service
    ) -> None:
        """Read health and cycles every second and show them, until cancelled."""
        headers = {"authorization": f"Bearer {key}"}
        live = (
            Live(console=self._console, auto_refresh=False)
            if self._console.is_terminal
            else nullcontext()
        )
        async with httpx.AsyncClient(
            base_url=address, headers=headers, timeout=10.0, trust_env=False
        ) as client:
            with live as table:
                looks = 0
                while True:
                    await self._look(watch, client)
                    if isinstance(table, Live):
                        table.update(_table(watch, service, self._console.width), refresh=True)
                    elif looks % LINE_EVERY_LOOKS == 0:
                        self._print_line(watch, service)
                    looks += 1
                    await trio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self, watch: WorkspaceWatch, client: httpx.AsyncClient) -> None:
        """Read health and cycles once. A failed request is printed and does not end the demo."""
        try:
            await watch.look(client)
        except httpx.HTTPError as error:
            self.say(f"no answer: {error}", "yellow")

    def _print_line(self, watch: WorkspaceWatch, service: Service) -> None:
        total = sum(watch.counts.values(), Counter())
        states = "  ".join(f"{state} {total[state]}" for state in STATES)
        ingest = service.ingest.statistics()
        self.say(
            f"{states}  |  frames {service.shard.frames()['received']}  updates {ingest.submitted}"
        )

    def conclude(
        self,
        watch: WorkspaceWatch,
        service: Service,
        *,
        in_full: bool,
        wants_states: bool,
        lacks_story: bool = False,
    ) -> int:
        """Print the summary and the counting identities. Return 0 when everything holds, else 1.

        `in_full`: the demo ran to its end, so a workspace without a cycle is a failure. Otherwise
        such a workspace is only mentioned. `wants_states`: there was time for every state, so a
        state that did not occur is a failure. `lacks_story`: there was time for the cutover, but it
        did not come to its end.
        """
        self._console.print(_table(watch, service, self._console.width))
        identities = [_frames_identity(service), _updates_identity(service)]
        for text, holds in identities:
            self.say(
                f"{text}  {'holds' if holds else 'DOES NOT HOLD'}", "green" if holds else "red"
            )
        self.say(
            "states that occurred: " + ", ".join(state for state in STATES if state in watch.seen)
        )
        missing = watch.without_cycle()
        if missing:
            cycles = f"no completed cycle in: {', '.join(missing)}"
            self.say(cycles if in_full else f"{cycles} (ended early)", "red" if in_full else None)
        unseen = watch.unseen() if wants_states else []
        if unseen:
            self.say(f"states that should have occurred: {', '.join(unseen)}", "red")
        if lacks_story:
            self.say("the cutover should have come to its end", "red")
        holds_all = all(holds for _, holds in identities) and not lacks_story
        good = holds_all and not (missing and in_full) and not unseen
        self.say("everything holds" if good else "something does not hold", None if good else "red")
        return 0 if good else 1


def _own_command() -> str:
    """Return the command that started this process: `lastheard` alone may not be on the PATH."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "lastheard" else "lastheard"


def _frames_identity(service: Service) -> tuple[str, bool]:
    frames = service.shard.frames()
    parts = ("merged", "ignored", "malformed", "pending")
    holds = frames["received"] == sum(frames[part] for part in parts)
    terms = " + ".join(f"{part} {frames[part]}" for part in parts)
    return f"frames: received {frames['received']} = {terms}", holds


def _updates_identity(service: Service) -> tuple[str, bool]:
    ingest = service.ingest.statistics()
    outcomes = ingest.outcomes
    parts = ("accepted", "duplicate", "stale", "conflict", "rejected", "quarantined")
    holds = ingest.submitted == sum(outcomes.get(part, 0) for part in parts) + ingest.pending
    terms = " + ".join(f"{_WORDS.get(part, part)} {outcomes.get(part, 0)}" for part in parts)
    return (
        f"updates: submitted {ingest.submitted} = {terms} + pending {ingest.pending}",
        holds,
    )


def _table(watch: WorkspaceWatch, service: Service, width: int) -> Table:
    columns = (
        Column("workspace", shortens=True),
        *(Column(state.replace("-", "-\n", 1), is_number=True) for state in STATES),
        Column("cycles", 2, is_number=True),
        Column("frames", 1, is_number=True),
        Column("accepted", is_number=True),
        *(Column(_WORDS.get(outcome, outcome), 3, is_number=True) for outcome in OTHER_OUTCOMES),
        Column("other", 4, is_number=True),
    )
    rows = [_row(watch, service, workspace) for workspace in watch.workspaces]
    return fit_table("Lastheard demo", columns, rows, width)


def _row(watch: WorkspaceWatch, service: Service, workspace: str) -> list[str | Text]:
    by_resource = service.ingest.statistics().by_resource
    outcomes = Counter(by_resource.get(workspace_resource(workspace), {}))
    named = [outcomes.pop(outcome, 0) for outcome in ("accepted", *OTHER_OUTCOMES)]
    return [
        workspace,
        *(Text(str(watch.counts[workspace][state]), STATE_STYLE[state]) for state in STATES),
        str(watch.cycles[workspace].total()),
        str(service.shard.frames_of(workspace)["received"]),
        *map(str, named),
        str(outcomes.total()),
    ]
