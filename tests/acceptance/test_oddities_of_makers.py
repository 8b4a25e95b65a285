"""Odd answers of polled providers: who is blamed, and what the ledger says.

One service polls one small fleet for each oddity: a vehicle with it, and one without.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trio

from tests.acceptance.harness import Harness, open_harness
from tests.acceptance.loose_vendor import now_ms
from tests.acceptance.maker import THRESHOLDS, record, said
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD: Final = "TESTVIN000000000A"
EVEN: Final = "TESTVIN000000000G"
SECONDS: Final = 90.0
SOC: Final = {"hybridBatteryPackRemainingCharge": 61.5}
UNKNOWN: Final = ("unknown_to_provider", "provider")
REFUSED: Final = ("updates_rejected", "provider")
REFUSED_VALUE: Final = ("updates_rejected", "device")
REPORTING: Final = ("reporting", "none")
SILENT: Final = ("device_silent", "device")
NEVER: Final = ("never_reported", "device")

Row = tuple[str, str, str | None]  # external id, reason, signal


class Oddity(NamedTuple):
    """An answer, the verdict on the odd vehicle, and the rows that the ledger must have.

    `answer` gets the request and how many came before it. The other vehicle reports, unless
    `other` is its verdict.
    """

    answer: Callable[[Asked, int], Reply]
    verdict: tuple[str, str]
    rows: set[Row] = set()  # noqa: RUF012 - never changed
    other: tuple[str, str] = REPORTING
    look_alikes: tuple[str, ...] = ()


def page(*records: dict[str, Any], **fields: Any) -> Reply:
    body = {
        "vehicleStatusResponse": {"vehicleStatuses": records},
        "moreDataAvailable": False,
        "requestServerDateTime": said(0),
        **fields,
    }
    return Reply(200, json.dumps(body).encode())


def even() -> dict[str, Any]:
    return record(1, {"hybridBatteryPackRemainingCharge": 40.0}, vin=EVEN)


def odd(snapshot: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return record(1, SOC if snapshot is None else snapshot, **{"vin": ODD, **fields})


def beside(**fields: Any) -> Reply:
    """Return a page of the even truck alone, with something beside the list."""
    return page(even(), **fields)


def without_flag(asked: Asked, _: int) -> Reply:
    return page(odd(), even(), moreDataAvailable=None, moreDataAvailableLink=asked.target)


def in_utf_16(_: Asked, __: int) -> Reply:
    body = page(odd(), even()).body.decode().encode("utf-16-le")
    return Reply(200, body, {"Content-Type": "application/json; charset=utf-16"})


def same_second(_: Asked, __: int) -> Reply:
    created = said(1)[:19] + "Z"
    records = (
        odd({"hybridBatteryPackRemainingCharge": percent}, createdDateTime=created)
        for percent in (61.5, 102.0)
    )
    return page(*records, even())


def then(first: Callable[[], Reply], later: Reply) -> Callable[[Asked, int], Reply]:
    return lambda _, count: later if count else first()


RFMS: Final[dict[str, Oddity]] = {
    "an error in place of a record": Oddity(
        lambda _, __: page({"vin": ODD, "error": {"code": 504}}, even()),
        UNKNOWN,
        {(ODD, "malformed", None)},
    ),
    "an error in a record without data": Oddity(
        lambda _, __: page(odd({}, error="timeout"), even()), UNKNOWN, {(ODD, "malformed", None)}
    ),
    "an error beside the list": Oddity(
        lambda _, __: beside(errors=[{"vin": ODD, "code": 504}]),
        UNKNOWN,
        {(ODD, "malformed", None)},
    ),
    "an error beside the list about nobody": Oddity(
        lambda _, __: beside(error={"code": 500}), ("provider_outage", "provider")
    ),
    "a line end in a vin": Oddity(lambda _, __: page(odd(vin=f"{ODD}\r\n"), even()), REPORTING),
    "a vin filled up with NUL": Oddity(lambda _, __: page(odd(vin=f"{ODD}\0"), even()), REPORTING),
    "a field outside of its object": Oddity(lambda _, __: page(odd({}, **SOC), even()), REPORTING),
    "a clock at the epoch": Oddity(
        lambda _, __: page(odd(createdDateTime="1970-01-01T00:00:00Z"), even()),
        REFUSED_VALUE,
        {(ODD, "invalid", "soc_percent")},
    ),
    "a word for no position": Oddity(
        lambda _, __: page(odd({"gnssPosition": {"latitude": 5, "longitude": "N/A"}}), even()),
        NEVER,
        {(ODD, "not_available", "latitude_deg"), (ODD, "not_available", "longitude_deg")},
    ),
    "an end of charging at the end of time": Oddity(
        lambda _, __: page(
            odd({**SOC, "estimatedTimeBatteryPackChargingCompleted": "9999-12-31T23:59:59Z"}),
            even(),
        ),
        REPORTING,
        {(ODD, "not_available", "charging_complete_at")},
    ),
    "a link beside false": Oddity(
        lambda asked, _: page(odd(), even(), moreDataAvailableLink=asked.target), REPORTING
    ),
    "a link to itself without a flag": Oddity(without_flag, REPORTING),
    "UTF-16 without a mark": Oddity(in_utf_16, REPORTING),
    "a code after a value of the same second": Oddity(
        same_second, REPORTING, {(ODD, "not_available", "soc_percent")}
    ),
    "nothing new by 205": Oddity(
        then(lambda: page(odd(), even()), Reply(205, b"")), SILENT, other=SILENT
    ),
    "nothing new by null": Oddity(
        then(lambda: page(odd(), even()), Reply(200, b"null")), SILENT, other=SILENT
    ),
}


def point(value: object, time: object = None) -> dict[str, Any]:
    return {"time": now_ms(-1) if time is None else time, "value": value}


def state(labels: object, vid: str = ODD, **fields: Any) -> Reply:
    body = {vid: labels, EVEN: {"soc": point(40.0)}, **fields}
    return Reply(200, json.dumps(body).encode())


def without_odd(**fields: Any) -> Reply:
    return Reply(200, json.dumps({EVEN: {"soc": point(40.0)}, **fields}).encode())


VIRICITI: Final[dict[str, Oddity]] = {
    "false in place of labels": Oddity(
        lambda _, __: state(False), UNKNOWN, {(ODD, "malformed", None)}
    ),
    "an error beside the buses": Oddity(
        lambda _, __: without_odd(errors={ODD: "gone"}), UNKNOWN, {(ODD, "malformed", None)}
    ),
    "labels one level too deep": Oddity(
        lambda _, __: state({"data": {"soc": point(61.5)}}), REFUSED, {(ODD, "malformed", None)}
    ),
    "time zero": Oddity(
        lambda _, __: state({"soc": point(61.5, time=0)}),
        REFUSED_VALUE,
        {(ODD, "invalid", "soc_percent")},
    ),
    "a word for no value": Oddity(
        lambda _, __: state({"soc": point("N/A")}), NEVER, {(ODD, "not_available", "soc_percent")}
    ),
    "half a position": Oddity(
        lambda _, __: state({"gps": point("52.1|")}),
        REFUSED,
        {(ODD, "malformed", "latitude_deg"), (ODD, "malformed", "longitude_deg")},
    ),
    "blanks around a vid": Oddity(
        lambda _, __: state({"soc": point(61.5)}, vid=f" {ODD}\n"), REPORTING
    ),
    "a vid in another case": Oddity(
        lambda _, __: state({"soc": point(61.5)}, vid=ODD.lower()),
        ("unknown_to_provider", "customer"),
        {(ODD.lower(), "unknown_device", None)},
        look_alikes=(ODD.lower(),),
    ),
    "nothing new by 204": Oddity(
        then(lambda: state({"soc": point(61.5)}), Reply(204, b"")), SILENT, other=SILENT
    ),
}


class Vendors:
    """The server of every fleet: the first part of a path is the fleet's name."""

    def __init__(self, oddities: dict[str, Oddity]) -> None:
        self._oddities = oddities
        self._counts = dict.fromkeys(oddities, 0)

    def answer(self, asked: Asked) -> Reply:
        name = asked.target.split("/")[1]
        if asked.target.endswith("/live"):
            return Reply(503)  # these fleets have no stream
        self._counts[name] += 1
        return self._oddities[name].answer(asked, self._counts[name] - 1)


async def find(harness: Harness, workspace: str) -> Oddity:
    """Return what is found of a fleet, in the form of what is expected."""
    items = (await harness.shard.health(workspace))["items"]
    verdicts = {item["device_id"]: (item["reason"], item["party"]) for item in items}
    look_alikes = {item["device_id"]: item["evidence"]["look_alike_ids"] for item in items}
    rows = await harness.shard.rejections(workspace)
    return Oddity(
        _no_answer,
        verdicts[ODD],
        {(row["external_id"], row["reason"], row["signal"]) for row in rows if row["reason"]},
        verdicts[EVEN],
        tuple(look_alikes[ODD]),
    )


def _no_answer(_: Asked, __: int) -> Reply:
    raise AssertionError


async def watch(dsn: str, folder: Path, provider_type: str, oddities: dict[str, Oddity]) -> None:
    """Run one service over all fleets, and compare verdicts and ledgers."""
    fleets = {name.replace(" ", "-"): oddity for name, oddity in oddities.items()}
    secret = folder / "key.secret"
    secret.write_text("some-key-for-all")
    async with (
        http_server(Vendors(fleets).answer) as url,
        open_harness(dsn, folder, seconds=240.0) as harness,
    ):
        for name in fleets:
            await harness.shard.add_workspace(name, interval=4, thresholds=THRESHOLDS, active=False)
            await harness.shard.add_provider(
                name,
                "maker",
                provider_type=provider_type,
                transport="poll" if provider_type == "rfms" else "stream",
                base_url=f"{url}/{name}",
                credential=f"file:{secret}",
            )
            await harness.shard.add_devices(name, "maker", [ODD, EVEN])
            await harness.shard.add_workspace(name, interval=4, thresholds=THRESHOLDS)
        waiting = {name: each._replace(answer=_no_answer) for name, each in fleets.items()}
        with trio.move_on_after(SECONDS):
            while waiting:
                for name in tuple(waiting):
                    if await find(harness, name) == waiting[name]:
                        del waiting[name]
                await trio.sleep(0.5)
        assert {name: await find(harness, name) for name in waiting} == waiting


@pytest.mark.timeout(300)
async def test_odd_pages_of_a_maker_blame_the_right_party(dsn: str, tmp_path: Path) -> None:
    await watch(dsn, tmp_path, "rfms", RFMS)


@pytest.mark.timeout(300)
async def test_odd_state_answers_blame_the_right_party(dsn: str, tmp_path: Path) -> None:
    await watch(dsn, tmp_path, "viriciti", VIRICITI)
