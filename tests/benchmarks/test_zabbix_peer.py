"""What Zabbix is given, and what is said where there is none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks import zabbix_peer
from benchmarks.fleet_streams import Taken
from benchmarks.load import Load, expect
from benchmarks.record import CannotBeMeasured
from benchmarks.rounds import Cost
from benchmarks.updates import Task
from benchmarks.verification import NotVerified
from benchmarks.zabbix_values import LEAST_OFFERED, FittingOffer, values_per_update


def test_no_item_gets_two_values_of_one_second() -> None:
    lines = zabbix_peer.lines_of(2 * zabbix_peer.ITEMS + 5, 1_000, Random(1)).splitlines()
    places = Counter(tuple(line.split()[:3]) for line in lines)
    assert len(places) == len(lines) == 2 * zabbix_peer.ITEMS + 5
    assert {line.split()[2] for line in lines} == {"1000", "1001", "1002"}


def test_the_peer_uses_the_benchmarks_own_server() -> None:
    dsn = "postgresql://postgres@/bench_3?host=/tmp/here&port=5432"
    found = zabbix_peer.configure(Path("there"), dsn, 20_001).splitlines()
    assert {"DBHost=/tmp/here", "DBName=bench_3", "DBUser=postgres"} < set(found)
    assert {"ListenPort=20001", "AllowUnsupportedDBVersions=1"} < set(found)


def test_without_zabbix_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LASTHEARD_NO_INSTALL", "1")
    with pytest.raises(CannotBeMeasured, match="zabbix-server-pgsql"):
        zabbix_peer.find_zabbix()


def test_values_that_are_no_news_do_not_count() -> None:
    load = Load(updates=4_000, devices=100)
    expected = expect(load)
    committed = sum(len(event.readings) for each in expected.events.values() for event in each)
    assert values_per_update(Task(load, expected)) == committed / load.updates < 5


class Streams:
    """Keeps all values up to a rate. What is offered beyond it supersedes as many."""

    def __init__(self, capacity: float) -> None:
        self.offers: list[float] = []
        self._capacity = capacity

    async def take(self, offered: float) -> Taken:
        self.offers.append(offered)
        return Taken(Cost(offered, 8.0, 4.0), [], [], min(offered, self._capacity))


async def test_streams_are_offered_less_until_it_fits() -> None:
    streams = Streams(capacity=450.0)
    fitting = FittingOffer(streams.take)
    assert await fitting.measure(1_000.0) == pytest.approx((429.8875, 8.0, 4.0))
    assert streams.offers == pytest.approx([700.0, 595.0, 505.75, 429.8875])
    await fitting.measure(1_000.0)  # from a step above
    assert streams.offers[4:] == pytest.approx([505.75, 429.8875])
    assert fitting.fitting == pytest.approx([0.4298875] * 2)


async def test_values_of_which_a_few_are_superseded_cost_more() -> None:
    cost = await FittingOffer(Streams(capacity=672.0).take).measure(1_000.0)
    assert cost == pytest.approx((672.0, 8 / 0.96, 4 / 0.96))


async def test_streams_that_always_supersede_are_no_figure() -> None:
    streams = Streams(capacity=1.0)
    with pytest.raises(NotVerified, match="superseded even at 10%"):
        await FittingOffer(streams.take).measure(1_000.0)
    assert min(streams.offers) >= LEAST_OFFERED * 1_000
