"""FR-010: every module keeps the rules, and bad snippets prove that each rule can refuse."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from tests.architecture.code import (
    MAX_LINES,
    MAX_TEST_NAME,
    enters_over_the_bridge,
    long_test_name,
    no_docstring,
    reads_wall_clock,
    swallows_cancellation,
    too_long,
    waits_in_domain,
)
from tests.architecture.imports import (
    impure_import,
    library_out_of_place,
    twin_in_use,
    wrong_direction,
)
from tests.architecture.source import Module, all_modules, shipped_modules

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[Module], list[str]]

EVERYWHERE: tuple[Rule, ...] = (
    wrong_direction,
    twin_in_use,
    too_long,
    no_docstring,
    enters_over_the_bridge,
    long_test_name,
)
# These rules are for the service alone. Tests use a driver of their own beside the gateway, read
# the real clock to watch real processes, and end what they started whatever happens.
IN_THE_SERVICE: tuple[Rule, ...] = (
    library_out_of_place,
    impure_import,
    waits_in_domain,
    reads_wall_clock,
    swallows_cancellation,
)


def violations(rule: Rule, modules: tuple[Module, ...]) -> str:
    """Return the problems one a line, because pytest shortens lists."""
    return "\n".join(f"{module.path}:{problem}" for module in modules for problem in rule(module))


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_fr_010_every_module_keeps_the_rule(rule: Rule) -> None:
    assert violations(rule, all_modules()) == ""


@pytest.mark.parametrize("rule", IN_THE_SERVICE, ids=lambda rule: rule.__name__)
def test_every_module_of_the_service_keeps_the_rule(rule: Rule) -> None:
    assert violations(rule, shipped_modules()) == ""


BAD = [
    (wrong_direction, "domain/a.py", "import runtime.clock"),
    (wrong_direction, "domain/a.py", "from runtime import clock"),
    (wrong_direction, "domain/deep/a.py", "from ...runtime import clock"),
    (wrong_direction, "runtime/a.py", "from domain.model import Reading"),
    (wrong_direction, "storage/a.py", "from actors.ingest import IngestActor"),
    (wrong_direction, "storage/a.py", "from actors import ingest"),
    (wrong_direction, "storage/a.py", "import actors.portside"),
    (wrong_direction, "storage/a.py", "from providers.http import HttpPool"),
    (wrong_direction, "providers/a.py", "from storage.gateway import Database"),
    (wrong_direction, "actors/a.py", "if TYPE_CHECKING:\n    from storage.gateway import Database"),
    (wrong_direction, "actors/a.py", "def late():\n    from providers.rfms import Rfms"),
    (wrong_direction, "actors/a.py", "import importlib\nimportlib.import_module('api.app')"),
    (wrong_direction, "api/a.py", "from actors.shard import ShardActor"),
    (wrong_direction, "api/a.py", "from simulator.run import run"),
    (wrong_direction, "simulator/a.py", "from domain.model import Reading"),
    (wrong_direction, "lastheard/a.py", "from tests.postgres import running_postgres"),
    (library_out_of_place, "storage/reads.py", "import asyncpg"),
    (library_out_of_place, "actors/a.py", "from trio_asyncio import aio_as_trio"),
    (library_out_of_place, "api/a.py", "import asyncio.queues"),
    (library_out_of_place, "storage/upkeep.py", "from sqlalchemy import text"),
    (library_out_of_place, "lastheard/a.py", "from alembic import command"),
    (impure_import, "domain/a.py", "import trio"),
    (impure_import, "domain/a.py", "from pathlib import Path"),
    (impure_import, "domain/a.py", "import time"),
    (impure_import, "domain/a.py", "import sys"),
    (twin_in_use, "lastheard/service.py", "from storage.memory import MemoryDatabase"),
    (twin_in_use, "benchmarks/run.py", "from storage import memory"),
    (twin_in_use, "storage/reads.py", "import storage.memory.tables"),
    (waits_in_domain, "domain/a.py", "async def judge(): ..."),
    (waits_in_domain, "domain/a.py", "print('seen')"),
    (waits_in_domain, "domain/a.py", "text = open('limits').read()"),
    (
        reads_wall_clock,
        "actors/a.py",
        "from datetime import UTC, datetime\nnow = datetime.now(UTC)",
    ),
    (reads_wall_clock, "actors/a.py", "import datetime as dt\nnow = dt.datetime.now(dt.UTC)"),
    (reads_wall_clock, "actors/a.py", "from time import time\nnow = time()"),
    (reads_wall_clock, "actors/a.py", "import time\nmake_actor(clock=time.time)"),
    (reads_wall_clock, "simulator/server.py", "import time\nnow = time.time_ns()"),
    (
        enters_over_the_bridge,
        "storage/gateway.py",
        "async def a():\n async with aio_as_trio(pool.acquire()): ...",
    ),
    (
        enters_over_the_bridge,
        "storage/a.py",
        "async def a():\n async with trio_asyncio.aio_as_trio(x) as y: ...",
    ),
    (
        enters_over_the_bridge,
        "tests/a.py",
        "async def a():\n async for row in aio_as_trio(rows): ...",
    ),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept: ..."),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept BaseException as error:\n log(error)"),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept* BaseException: ..."),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept (ValueError, trio.Cancelled): ..."),
    (
        swallows_cancellation,
        "actors/a.py",
        "from trio import Cancelled\ntry: ...\nexcept Cancelled: ...",
    ),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept BaseException:\n if late:\n  raise"),
    (
        swallows_cancellation,
        "actors/a.py",
        "def a():\n try: ...\n except BaseException:\n  if x: return\n  raise",
    ),
    (swallows_cancellation, "actors/a.py", "with suppress(BaseException): ..."),
    (too_long, "actors/a.py", "x = 1\n" * (MAX_LINES + 1)),
    (no_docstring, "actors/a.py", "x = 1"),
    (no_docstring, "actors/a.py", ""),
    (no_docstring, "actors/__init__.py", "from actors import ingest"),
    (long_test_name, "tests/test_a.py", f"def test_{'a' * (MAX_TEST_NAME - 4)}(): ..."),
    (long_test_name, "tests/test_a.py", f"class A:\n async def test_{'a' * 56}(self): ..."),
    (long_test_name, "tests/test_a.py", f"def test_fr_001_d_002_{'a' * 56}(): ..."),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_the_rule_refuses(rule: Rule, path: str, text: str) -> None:
    assert rule(Module(PurePosixPath(path), text)) != []


GOOD = [
    (
        wrong_direction,
        "storage/a.py",
        "from ports.ingest import IngestStore\nfrom domain.model import Reading",
    ),
    (wrong_direction, "domain/deep/a.py", "from ..model import Reading"),
    (wrong_direction, "lastheard/a.py", "from simulator.run import run"),
    (library_out_of_place, "storage/gateway.py", "import trio_asyncio"),
    (library_out_of_place, "storage/connecting.py", "import asyncpg"),
    (library_out_of_place, "storage/migrations/versions/v1.py", "from alembic import op"),
    (impure_import, "actors/a.py", "import trio"),
    (impure_import, "domain/a.py", "from collections.abc import Iterable"),
    (twin_in_use, "tests/a.py", "from storage.memory import MemoryDatabase"),
    (
        reads_wall_clock,
        "runtime/clock.py",
        "from datetime import UTC, datetime\nnow = datetime.now(UTC)",
    ),
    (reads_wall_clock, "actors/a.py", "import time\nbegan = time.monotonic()\nthen = clock.now()"),
    (
        enters_over_the_bridge,
        "storage/gateway.py",
        "async def a():\n return await aio_as_trio(work)()",
    ),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept BaseException:\n undo()\n raise"),
    (swallows_cancellation, "actors/a.py", "try: ...\nexcept* Exception: ..."),
    (too_long, "actors/a.py", "x = 1\n" * MAX_LINES),
    (no_docstring, "tests/__init__.py", ""),
    (long_test_name, "tests/test_a.py", f"def test_{'a' * (MAX_TEST_NAME - 5)}(): ..."),
    (long_test_name, "tests/test_a.py", f"def test_fr_001_d_002_{'a' * 55}(): ..."),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_the_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert rule(Module(PurePosixPath(path), text)) == []


def test_every_rule_is_shown_to_refuse_something() -> None:
    assert {rule for rule, _, _ in BAD} == {*EVERYWHERE, *IN_THE_SERVICE}


def test_the_house_was_found() -> None:
    """Without this test, every rule would pass on nothing if the root were wrong."""
    assert {module.folder for module in shipped_modules()} == {
        "actors",
        "api",
        "domain",
        "lastheard",
        "legacy",
        "ports",
        "providers",
        "runtime",
        "simulator",
        "storage",
    }
