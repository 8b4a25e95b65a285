"""Read health checks: what a `python -c` probe asks, from which port, and for how long."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Probe(NamedTuple):
    """A GET over loopback."""

    host: str
    port: int
    path: str
    timeout_seconds: float


def read_probe(command: Sequence[str]) -> Probe | None:
    """Return the probe that `python -c <program>` makes.

    None if the program is something else, or if its exit code does not depend on the status.
    """
    if len(command) != 3 or command[:2] != ["python", "-c"]:
        return None
    try:
        tree = ast.parse(command[2])
    except SyntaxError:
        return None
    calls = {_called(node): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    connect, request = calls.get("HTTPConnection"), calls.get("request")
    if (
        connect is None
        or request is None
        or "raise SystemExit(" not in command[2]
        or "!= 200" not in command[2]
    ):
        return None
    host, port = (_value(argument) for argument in connect.args)
    method, path = (_value(argument) for argument in request.args)
    timeout = next(
        (_value(each.value) for each in connect.keywords if each.arg == "timeout"), "inf"
    )
    return Probe(host, int(port), path, float(timeout)) if method == "GET" else None


def probe_problems(
    command: Sequence[str],
    *,
    limit_seconds: float,
    port: int,
    paths: Collection[str],
) -> list[str]:
    """Compare a probe with the service. `limit_seconds` is the health check's own timeout."""
    probe = read_probe(command)
    if probe is None:
        return [f"a health check that nobody can read: {' '.join(command)[:60]}"]
    problems = []
    if probe.host != "127.0.0.1" or probe.port != port:
        problems.append(
            f"the health check asks {probe.host}:{probe.port}, the service answers probes on {port}"
        )
    if probe.path not in paths:
        problems.append(
            f"the health check asks {probe.path}, which is not a path that answers without a key"
        )
    if probe.timeout_seconds >= limit_seconds:
        problems.append(
            f"the health check is killed after {limit_seconds:g} s, "
            "before its own timeout can tell why"
        )
    return problems


def seconds(text: str) -> float:
    """Return the seconds of a duration as Docker writes it: 45s, 1m30s, 500ms."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not text:
        raise ValueError(f"{text!r} is not a duration")
    return sum(float(number) * units[unit] for number, unit in parts)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _value(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""
