"""What the code itself says about commands, settings, paths, ports and the length of a shutdown.

Owns asking the code; image.py, stack.py and cluster.py compare. Reads no deployment file.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import typer.main

from api.app import ApiServices, declare_probe_operations
from lastheard.cli import app
from lastheard.process_model import PROCESS_MODEL
from lastheard.settings import CONFIG_VARIABLE, Settings
from runtime.logs import get_logger
from runtime.outbound import Allowance
from runtime.settings import FREE_NAMES, SettingsError, load_settings
from runtime.shutdown import ShutdownPlan
from simulator import control
from simulator.clock import MachineClock
from simulator.config import build_config
from simulator.exchange import Request
from simulator.server import Simulator
from tests.architecture.source import ROOT, pyproject, read_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "LASTHEARD_"
HTTP_PORT = int(Settings.model_fields["http_port"].default)
PROBE_PORT = int(Settings.model_fields["probe_port"].default)
VERSION = str(pyproject()["project"]["version"])
# After the last step: database connections, the wait for an embedded PostgreSQL, the interpreter.
CLOSING_SECONDS = 5.0


def command_problems(argv: Sequence[str]) -> list[str]:
    """Return what the command line refuses of these words. They are parsed and not run."""
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
    """Return what the settings refuse of these variables, unknown names with our prefix too."""
    ours = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    try:
        load_settings(
            Settings,
            toml_path=None,
            env={f"{PREFIX}SHARD_ID": "any", **ours},
            also_known=(CONFIG_VARIABLE,),
        )
    except SettingsError as error:
        return list(error.problems)
    return []


def drain_seconds(variables: Mapping[str, str]) -> float:
    """Return LASTHEARD_DRAIN_SECONDS under these variables; 0 if it is no number (then refused)."""
    try:
        return float(
            variables.get(f"{PREFIX}DRAIN_SECONDS", Settings.model_fields["drain_seconds"].default)
        )
    except ValueError:
        return 0.0


def secret_problems(variables: Mapping[str, str], place: str) -> list[str]:
    """Name the variables that hold a secret themselves, not a path or a reference."""
    found = [name for name, value in variables.items() if _is_secret(name, value)]
    return [f"a secret in {place}: {name}" for name in found]


def _is_secret(variable: str, value: str) -> bool:
    return (
        variable.startswith(PREFIX + FREE_NAMES)
        or variable == f"{PREFIX}DSN"
        or variable.endswith(("_PASSWORD", "_SECRET", "_TOKEN"))
        or ("://" in value and "@" in value)
    )


@cache
def open_paths() -> frozenset[str]:
    """Return the paths that the listener for probes answers to a GET without a key."""
    operations = declare_probe_operations(_services())
    return frozenset(
        each.path for each in operations if each.method == "GET" and each.scope is None
    )


def _services() -> ApiServices:
    nothing = cast("Any", None)
    return ApiServices(
        registry=nothing,
        reads=nothing,
        indicators=nothing,
        changes=nothing,
        cutovers=nothing,
        parity=nothing,
        legacy=nothing,
        legacy_syncs=nothing,
        registry_syncs=nothing,
        quarantine=nothing,
        keys=nothing,
        key_uses=nothing,
        sign_ins=nothing,
        ingest=nothing,
        nudges=nothing,
        providers={},
        outbound=Allowance(),
        credentials=nothing,
        trials=nothing,
        clock=nothing,
        runtime_report=dict,
        process_model=PROCESS_MODEL,
        readiness=dict,
        cursor_key=bytes(32),
        log=get_logger("deployment"),
    )


def simulator_answers(path: str) -> bool:
    """Whether the simulator's control interface answers 200 to a GET of this path."""
    simulator = Simulator(build_config(devices=1), MachineClock(), "127.0.0.1", 0)
    bare = path.partition("?")[0]
    return control.answer(simulator, Request("GET", bare, {}, {})).status == 200


@cache
def shutdown_seconds(drain_seconds: float = 0.0) -> float:
    """Return the longest time of an ordered end.

    It is the sum of all steps, the watchdog's margin, and what closes last.
    """
    module = read_module(ROOT / "lastheard" / "service.py")
    budgets = [
        _budget(node.args[1], drain_seconds)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and module.name_of(node.func) == "plan.add"
    ]
    if not budgets:
        raise AssertionError(
            "lastheard/service.py has no plan.add(name, seconds, step) any more; "
            "change how this reads it"
        )
    return sum(budgets) + ShutdownPlan().margin_seconds + CLOSING_SECONDS


def _budget(node: ast.expr, drain_seconds: float) -> float:
    """Return a step's seconds, given as a number, the drain's setting, or a sum of such."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Attribute(attr="drain_seconds"):
            return drain_seconds
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _budget(left, drain_seconds) + _budget(right, drain_seconds)
    raise AssertionError(f"a budget of the shutdown in a form unknown here: {ast.unparse(node)}")
