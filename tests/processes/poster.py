"""A client that posts canonical updates: one batch after the other, each until it has a verdict.

Owns the answers it got: every acknowledged update, every refusal. It sends a batch without a
verdict again unchanged, under the same trace id. The API says that this is safe, and the tests
check it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import trio

from tests.processes.fleets import DEPOT, DEPOT_PROVIDER
from tests.processes.history import Acknowledged
from tests.processes.shard import ANSWER_SECONDS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

BATCH_SIZE = 20
PAUSE_SECONDS = 0.002  # so short that a kill mostly meets a request in flight
RETRY_SECONDS = 0.1


class Poster:
    """Posts to `shard_port`, which may change."""

    def __init__(
        self,
        name: str,
        devices: Sequence[str],
        key: str,
        random: Random,
        *,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.shard_port: int | None = None
        self.acknowledged: list[Acknowledged] = []
        self.refusals: list[httpx.Response] = []
        self.broken_off = 0  # requests whose connection ended before the answer
        self.batches: dict[str, bool] = {}  # trace_id -> has its verdict
        self._name = name
        self._devices = devices
        self._key = key
        self._random = random
        self._pause_seconds = pause_seconds
        # Begin an hour ago and go on by a millisecond: each reading is new, none is in the future.
        self._observed_at = datetime.now(UTC) - timedelta(hours=1)
        self._answered = trio.Event()
        self._finishing = False
        self._ended = trio.Event()

    async def run(self) -> None:
        """Post until `finish`. The last batch is repeated until it has its verdict."""
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(
            headers=headers, timeout=ANSWER_SECONDS, trust_env=False
        ) as client:
            while not self._finishing:
                await self._post_until_verdict(
                    client, f"{self._name}-{len(self.batches)}", self._make_batch()
                )
                await trio.sleep(self._pause_seconds)
        self._ended.set()

    async def finish(self, seconds: float = 30.0) -> None:
        """Begin no more batches, and wait for the last verdict."""
        self._finishing = True
        with trio.fail_after(seconds):
            await self._ended.wait()

    async def wait_for_verdicts(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many more batches have their verdict."""
        target = sum(self.batches.values()) + count
        with trio.fail_after(seconds):
            while sum(self.batches.values()) < target:
                await self._answered.wait()

    async def wait_for_refusal(self, seconds: float = 30.0) -> httpx.Response:
        """Wait for the next answer that is no verdict, and return it."""
        known = len(self.refusals)
        with trio.fail_after(seconds):
            while len(self.refusals) == known:
                await self._answered.wait()
        return self.refusals[known]

    def expected_events(self) -> dict[str, set[int]]:
        """Return the numbers of events that each trace may have.

        All of its updates must be there. Without a verdict none may be there as well.
        """
        return {
            trace_id: {BATCH_SIZE} if known else {0, BATCH_SIZE}
            for trace_id, known in self.batches.items()
        }

    # --- one batch

    def _make_batch(self) -> list[dict[str, Any]]:
        return [self._make_update(self._random.choice(self._devices)) for _ in range(BATCH_SIZE)]

    def _make_update(self, device_id: str) -> dict[str, Any]:
        self._observed_at += timedelta(milliseconds=1)
        values = {
            "soc_percent": self._random.randint(1, 100),
            "odometer_km": self._random.randint(1, 10_000),
        }
        observed_at = self._observed_at.isoformat()
        readings = [
            {"signal": name, "value": value, "observed_at": observed_at}
            for name, value in values.items()
        ]
        return {
            "workspace_id": DEPOT,
            "provider_id": DEPOT_PROVIDER,
            "device_id": device_id,
            "readings": readings,
        }

    async def _post_until_verdict(
        self, client: httpx.AsyncClient, trace_id: str, batch: list[dict[str, Any]]
    ) -> None:
        self.batches[trace_id] = False
        while not self.batches[trace_id]:
            try:
                answer = await client.post(
                    f"http://127.0.0.1:{self.shard_port}{PREFIX}/ingest",
                    json={"updates": batch},
                    headers={"x-request-id": trace_id},
                )
            except httpx.ConnectError:
                pass  # no shard listens at the moment
            except httpx.TransportError:
                self.broken_off += 1
            else:
                self._take(trace_id, batch, answer)
            self._wake()
            if not self.batches[trace_id]:
                await trio.sleep(RETRY_SECONDS)

    def _take(self, trace_id: str, batch: list[dict[str, Any]], answer: httpx.Response) -> None:
        if answer.status_code != 200:
            self.refusals.append(answer)
            return
        results = answer.json()["results"]
        outcomes = {result["outcome"] for result in results}
        # An update is a duplicate if its batch was committed and the answer was lost. A batch is
        # committed as a whole.
        assert outcomes in ({"accepted"}, {"duplicate"}, {"stale", "duplicate"}), answer.text
        self.batches[trace_id] = True
        if outcomes == {"accepted"}:
            self.acknowledged += [
                Acknowledged(DEPOT, update["device_id"], result["version"], trace_id)
                for update, result in zip(batch, results, strict=True)
            ]

    def _wake(self) -> None:
        self._answered.set()
        self._answered = trio.Event()
