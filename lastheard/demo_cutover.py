"""The demo's cutover: a workspace moves from the legacy system to core, and is rolled back.

Owns the steps, their order and the lines that tell of them. Each step asks the running service over
HTTP, as an operator would. Then the simulated provider fails, and a guardrail must act.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson
import trio

from lastheard.client import PREFIX
from simulator.legacy_shape import SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastheard.simulation import Simulated

WORKSPACE: Final = "riverside"  # its vehicles are polled
POLL_INTERVAL_SECONDS: Final = 2
STORY_SECONDS: Final = 90.0  # with some patience for a slow machine
LEGACY_CREDENTIAL: Final = "legacy"  # the name of its file
_PATH: Final = f"/workspaces/{WORKSPACE}/cutover"
_START_SECONDS: Final = 4.0  # for the first cycles
_CORE_SECONDS: Final = 6.0
_LOOK_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 10.0
_BROKEN: Final = "http_500=1"


class CutoverStory:
    """Moves WORKSPACE through a cutover once. `is_complete` says whether it came to its end.

    `credential` is the reference to the legacy system's credential.
    """

    def __init__(self, simulated: Simulated, credential: str, say: Callable[[str], None]) -> None:
        self.is_complete = False
        self._simulated = simulated
        self._credential = credential
        self._say = say
        self._began = 0.0

    async def run(self, address: str, key: str) -> None:
        """Take the steps. A request that fails ends the story, and is told."""
        self._began = trio.current_time()
        try:
            async with (
                _open_client(address + PREFIX, {"authorization": f"Bearer {key}"}) as api,
                _open_client(self._simulated.http_url, {}) as simulator,
            ):
                await trio.sleep(_START_SECONDS)
                await self._begin_shadow(api)
                await self._pass_gate(api)
                await self._lose_provider(simulator)
                await self._see_rollback(api)
                await _order_faults(simulator, "")
            self.is_complete = True
        except httpx.HTTPError as error:
            self._tell(f"the story ends here: {error}")

    async def _begin_shadow(self, api: httpx.AsyncClient) -> None:
        legacy = {
            "base_url": self._simulated.http_url,
            "credential": self._credential,
            "shape": SHAPE,
        }
        await _patch(api, {"legacy": legacy, "poll_owner": "both_shadow", "read_owner": "legacy"})
        self._tell("shadow: both systems collect, and the legacy system is read")
        refused = await _try_core(api)
        if refused is not None:
            self._tell(f"core reads are refused ({_describe_gate(refused)})")

    async def _pass_gate(self, api: httpx.AsyncClient) -> None:
        """Wait until the gate is open, and read core."""
        refused: Any = True
        while refused is not None:
            cutover = await _wait_until(api, lambda now: now["gate_view"]["is_open"])
            refused = await _try_core(api)  # the newest cycle may have shut it again
        view = cutover["gate_view"]
        self._tell(
            f"the gate is open: {view['cycles']} cycles compared, mismatch "
            f"{view['mismatch_share']:.2%}. From now on core is read"
        )
        await trio.sleep(_CORE_SECONDS)

    async def _lose_provider(self, simulator: httpx.AsyncClient) -> None:
        await _order_faults(simulator, _BROKEN)
        self._tell("its provider fails: from now on every answer is a 500")

    async def _see_rollback(self, api: httpx.AsyncClient) -> None:
        """Wait until a guardrail has acted, and tell of it."""
        cutover = await _wait_until(api, lambda now: now["read_owner"] == "legacy")
        event = cutover["guardrail_events"][0]
        causes = "; ".join(crossing["detail"] for crossing in event["crossings"])
        self._tell(f"{event['kind']} by a guardrail: {causes}")
        snapshots = await api.get(f"/workspaces/{WORKSPACE}/snapshots", params={"limit": 1})
        snapshots.raise_for_status()
        served_by = orjson.loads(snapshots.content)["served_by"]
        self._tell(f"reads go on, served by {served_by}; polls are the legacy system's")

    def _tell(self, text: str) -> None:
        self._say(f"cutover of {WORKSPACE}, {trio.current_time() - self._began:5.1f} s: {text}")


def _open_client(base_url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False
    )


async def _wait_until(api: httpx.AsyncClient, is_so: Callable[[Any], bool]) -> Any:
    """Look at the cutover until that is so, and return it. The demo's end is the deadline."""
    while True:
        answer = await api.get(_PATH)
        answer.raise_for_status()
        cutover = orjson.loads(answer.content)
        if is_so(cutover):
            return cutover
        await trio.sleep(_LOOK_SECONDS)


async def _patch(api: httpx.AsyncClient, members: Mapping[str, Any]) -> None:
    (await _send_patch(api, members)).raise_for_status()


async def _try_core(api: httpx.AsyncClient) -> Any | None:
    """Ask for core reads. Return None if they are given, else the refusal by the gate."""
    answer = await _send_patch(api, {"read_owner": "core"})
    if answer.status_code == httpx.codes.CONFLICT:
        return orjson.loads(answer.content)
    answer.raise_for_status()
    return None


async def _send_patch(api: httpx.AsyncClient, members: Mapping[str, Any]) -> httpx.Response:
    return await api.patch(
        _PATH,
        content=orjson.dumps(members),
        headers={"content-type": "application/merge-patch+json", "if-match": "*"},
    )


async def _order_faults(simulator: httpx.AsyncClient, faults: str) -> None:
    order = {"tenant": WORKSPACE, "faults": faults}
    (await simulator.post("/sim/faults", content=orjson.dumps(order))).raise_for_status()


def _describe_gate(refusal: Mapping[str, Any]) -> str:
    view, gate = refusal.get("gate_view"), refusal.get("gate")
    if view is None or gate is None:
        return str(refusal.get("title"))
    return f"{view['comparable_cycles']} of {gate['cycles']} cycles compared"
