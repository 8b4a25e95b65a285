"""What the code itself says about commands, settings, paths, ports and the length of a shutdown.

Owns asking it; the checkers in image.py and stack.py compare. Nothing here reads a deployment file.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import typer.main

from api.app import ApiServices, declare_operations
from lastheard.cli import app
from lastheard.settings import CONFIG_VARIABLE, Settings
from runtime.logs import get_logger
from runtime.settings import FREE_NAMES, SettingsError, load_settings
from runtime.shutdown import ShutdownPlan
from simulator import control
from simulator.clock import SystemClock
from simulator.config import build_config
from simulator.exchange import Request
from simulator.server import Simulator
from tests.architecture.source import ROOT, pyproject, read_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "LASTHEARD_"
HTTP_PORT = int(Settings.model_fields["http_port"].default)
VERSION = str(pyproject()["project"]["version"])
CLOSING_SECONDS = 5.0  # after the last step: the database's connections, our own PostgreSQL's absence, the interpreter


def command_problems(argv: Sequence[str]) -> list[str]:
    """What the command line would refuse of these words, parsed by the command line itself and not run."""
    if not argv or argv[0] != "lastheard":
        return [f"not a command of ours: {' '.join(argv)}"]
    command: Any = typer.main.get_command(app)
    words = list(argv[1:])
    while commands := getattr(command, "commands", None):
        if not words or words[0] not in commands:
            return [f"no such command: {' '.join(argv)}"]
        command = commands[words.pop(0)]
    try:
        command.make_context(command.name, words)
    except Exception as refusal:
        return [f"{' '.join(argv)}: {refusal}"]
    return []


def setting_problems(variables: Mapping[str, str]) -> list[str]:
    """What the settings would refuse of these variables; one that merely starts like ours is refused too."""
    ours = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    try:
        load_settings(Settings, toml_path=None, env={f"{PREFIX}SHARD_ID": "any", **ours}, also_known=(CONFIG_VARIABLE,))
    except SettingsError as error:
        return list(error.problems)
    return []


def is_reference(variable: str, value: str) -> bool:
    """Whether a variable holds no secret itself: a path, a reference, or nothing that needs to be secret."""
    if variable.startswith(PREFIX + FREE_NAMES) or variable == f"{PREFIX}DSN":
        return False
    if variable.endswith(("_PASSWORD", "_SECRET", "_TOKEN")):
        return False
    return "://" not in value or "@" not in value


@cache
def open_paths() -> frozenset[str]:
    """Paths of the API that a probe may ask: GET, without a key."""
    nothing = cast("Any", None)
    services = ApiServices(
        registry=nothing,
        reads=nothing,
        keys=nothing,
        ingest=nothing,
        nudges=nothing,
        providers={},
        clock=nothing,
        runtime_report=dict,
        readiness=dict,
        cursor_key=bytes(32),
        log=get_logger("deployment"),
    )
    operations = declare_operations(services)
    return frozenset(each.path for each in operations if each.method == "GET" and each.scope is None)


def simulator_answers(path: str) -> bool:
    """Whether the simulator's control interface answers 200 to a GET of this path."""
    simulator = Simulator(build_config(devices=1), SystemClock(), "127.0.0.1", 0)
    bare = path.partition("?")[0]
    return control.answer(simulator, Request("GET", bare, {}, {})).status == 200


@cache
def shutdown_seconds() -> float:
    """All steps of the ordered end, the watchdog's margin, and what closes after it."""
    module = read_module(ROOT / "lastheard" / "service.py")
    budgets = [
        float(node.args[1].value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and module.name_of(node.func) == "plan.add"
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, int | float)
    ]
    if not budgets:
        raise AssertionError("lastheard/service.py has no plan.add(name, seconds, step) any more; read it differently")
    return sum(budgets) + ShutdownPlan().margin_seconds + CLOSING_SECONDS
