"""The runner of the benchmarks: what it runs, writes, prints and ends with."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import pytest
import trio

from benchmarks import run as runner
from benchmarks.figure import Figure
from benchmarks.record import CannotBeMeasured
from benchmarks.suite import Benchmark
from benchmarks.table import as_markdown
from benchmarks.verification import NotVerified
from benchmarks.workers import WorkerFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from benchmarks.place import Place
    from benchmarks.suite import Measure

    Bench = Callable[..., tuple[int, Any]]

FAST = Figure("B1", 1.3, 1.2, seen={"frames a second": 30_000.0})
SLOW = Figure("B1 core time", 0.9, 0.8, at_most=True)


def gives(*figures: Figure) -> Measure:
    async def measure(place: Place, quick: bool) -> list[Figure]:
        return list(figures)

    return measure


def fails(error: BaseException) -> Measure:
    async def measure(place: Place, quick: bool) -> NoReturn:
        raise error

    return measure


class IdlePlace:
    """The place of a benchmark that touches no database."""

    async def check_durable(self) -> None:
        pass


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """Run `make bench` over benchmarks that are given by id; return its code and its file."""

    @asynccontextmanager
    async def open_idle_place() -> AsyncIterator[IdlePlace]:
        yield IdlePlace()

    def bench(flags: str = "", **suite: Measure) -> tuple[int, Any]:
        table = {name: Benchmark(name, each, name == "B1") for name, each in suite.items()}
        monkeypatch.setattr(runner, "SUITE", table)
        monkeypatch.setattr(runner, "open_place", open_idle_place)
        path = tmp_path / "bench.json"
        code = runner.main([*flags.split(), "--out", str(path)])
        return code, orjson.loads(path.read_bytes()) if path.exists() else None

    return bench


def test_a_run_that_keeps_every_bound_ends_with_0(bench: Bench) -> None:
    code, found = bench(B1=gives(FAST))
    entry = found["B1"]
    assert code == 0
    assert (entry["ratio"], entry["must"], entry["verified"]) == (1.3, 1.2, True)
    assert entry["frames a second"] == 30_000


def test_one_figure_below_its_bound_ends_with_1(bench: Bench) -> None:
    code, found = bench(B1=gives(FAST, SLOW), B2=gives(Figure("B2", 1, 0.85)))
    assert code == 1
    assert {name: entry["met"] for name, entry in found.items()} == {
        "B1": True,
        "B1 core time": False,
        "B2": True,
    }


FAULTS = [
    (NotVerified("rows: two are missing", "fence: open"), ["rows: two are missing", "fence: open"]),
    (WorkerFailed("the sender ended"), ["failed: the sender ended"]),
    (ZeroDivisionError("no frames"), ["failed: ZeroDivisionError: no frames"]),
    (ExceptionGroup("", [NotVerified("history: gap")]), ["history: gap"]),
]


@pytest.mark.parametrize(("error", "faults"), FAULTS, ids=[str(fault[1][0]) for fault in FAULTS])
def test_a_benchmark_that_fails_does_not_stop_the_others(
    bench: Bench, error: Exception, faults: list[str]
) -> None:
    code, found = bench(B1=fails(error), B2=gives(Figure("B2", 0.5, 0.85)))
    assert code == 3
    assert (found["B1"]["verified"], found["B1"]["faults"]) == (False, faults)
    assert found["B2"]["met"] is False


def test_what_the_machine_lacks_is_skipped_unless_required(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = fails(CannotBeMeasured("no zabbix_server: install it"))
    monkeypatch.delenv("LASTHEARD_NO_SKIP", raising=False)
    code, found = bench(B10=lacking)
    assert (code, found["B10"]["skipped"]) == (0, "no zabbix_server: install it")
    monkeypatch.setenv("LASTHEARD_NO_SKIP", "1")
    code, found = bench(B10=lacking)
    assert (code, found["B10"]["faults"]) == (3, ["failed: no zabbix_server: install it"])


def test_ctrl_c_ends_the_run_and_keeps_what_was_found(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = bench(B1=gives(FAST), B2=fails(KeyboardInterrupt()), B3=gives(Figure("B3", 1, 1)))
    assert (code, list(found)) == (130, ["B1"])
    assert "stopped" in capsys.readouterr().err


def test_only_leaves_the_entries_of_the_others(bench: Bench) -> None:
    bench(B1=gives(FAST, SLOW), B2=gives(Figure("B2", 1, 0.85)), B10=gives(Figure("B10", 1, 0.65)))
    code, found = bench("--only B1", B1=gives(FAST), B2=fails(NotVerified("never run")))
    assert (code, list(found)) == (0, ["B1", "B2", "B10"])


def test_quick_runs_what_is_marked_quick(bench: Bench) -> None:
    code, found = bench("--quick", B1=gives(FAST), B2=fails(NotVerified("not quick")))
    assert (code, list(found), found["B1"]["quick"]) == (0, ["B1"], True)


@pytest.mark.parametrize(
    "figures", [(), (FAST, FAST), (FAST, Figure("B10", 1, 1))], ids=["none", "twice", "foreign"]
)
def test_figures_whose_names_are_no_keys_are_refused(
    bench: Bench, figures: tuple[Figure, ...]
) -> None:
    code, found = bench(B1=gives(*figures))
    assert (code, found["B1"]["verified"]) == (3, False)


def test_a_benchmark_that_hangs_is_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(place: Place, quick: bool) -> NoReturn:
        await trio.sleep_forever()

    monkeypatch.setattr(runner, "MAX_QUICK_SECONDS", 0.01)
    code, found = bench("--quick", B1=hang)
    assert (code, found["B1"]["faults"]) == (3, ["not ended within 0.01 s"])


def test_the_list_names_every_benchmark_in_order(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("--list", B10=gives(), B1=gives()) == (0, None)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["B1", "quick", "B1"],
        ["B10", "B10"],
    ]


def test_the_table_shows_ratios_first_and_says_what_failed(bench: Bench) -> None:
    _, found = bench(B1=gives(FAST, SLOW), B2=fails(NotVerified("rows: gone")))
    lines = as_markdown(found).splitlines()
    assert lines[2] == "| B1 | 1.3 | at least 1.2 | met | frames a second 30,000 |"
    assert lines[3] == "| B1 core time | 0.9 | at most 0.8 | **missed** |  |"
    assert lines[4] == "| B2 | | | **not verified** | rows: gone |"
    assert [line.split(" | ")[0] for line in lines[8:]] == ["| B1", "| B2"]
