"""Rules about imports. Each takes one module and returns what is wrong, as `line: sentence`.

Imports run downwards only. A lower floor knows nothing of the floors above, so the rules of the
domain can be read, tested and trusted alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.architecture.source import BESIDE, HOUSE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.architecture.source import Module

# ports/ has protocols, their values and their exceptions, and no behaviour. Code that fulfils or
# calls them needs nothing else of the other folders.
MAY_IMPORT: Final[Mapping[str, tuple[str, ...]]] = {
    "domain": ("domain",),
    "runtime": ("runtime",),
    "ports": ("ports", "domain", "runtime"),
    "storage": ("storage", "ports", "domain", "runtime"),
    "providers": ("providers", "ports", "domain", "runtime"),
    "legacy": ("legacy", "ports", "domain", "runtime"),
    "actors": ("actors", "ports", "domain", "runtime"),
    "api": ("api", "ports", "domain", "runtime"),
    "simulator": ("simulator",),
    "lastheard": HOUSE,
    "tests": (*HOUSE, *BESIDE),
    "benchmarks": (*HOUSE, *BESIDE),
}

GATEWAY: Final = ("storage/gateway.py",)
DRIVER: Final = ("storage/connecting.py", "storage/driver_errors.py")
LOOP: Final = ("storage/connection_pool.py", "storage/transactions.py", "storage/listening.py")
BRIDGE: Final = ("storage/bridge.py",)
METRICS: Final = (
    "api/exposition.py",
    *("lastheard/metrics.py", "lastheard/measuring.py", "lastheard/families.py"),
)
MIGRATIONS: Final = ("storage/migrations/",)
ONLY_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "asyncpg": DRIVER,
    "trio_asyncio": GATEWAY,
    # SQLAlchemy's asyncpg dialect needs its own asyncio loop, in a thread, before the tree starts.
    "asyncio": (*LOOP, *BRIDGE, *MIGRATIONS),
    "prometheus_client": METRICS,
    "alembic": MIGRATIONS,
    "sqlalchemy": MIGRATIONS,
}

# Standard modules that can neither wait nor do I/O. Add another such one when domain/ needs it.
PURE: Final = (
    *(
        "__future__",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "heapq",
    ),
    *(
        "itertools",
        "math",
        "operator",
        "random",
        "re",
        "statistics",
        "sys.float_info",
        "types",
        "typing",
    ),
)


def wrong_direction(module: Module) -> list[str]:
    """Find imports of a folder that this one may not know."""
    return [
        f"{line}: {module.folder}/ must not import {name}"
        for line, name in module.imports()
        if _goes_up(module, name)
    ]


def runtime_imports_upwards(module: Module) -> list[int]:
    """Return the lines that import, at run time, from a folder above this one or beside it."""
    lines = [line for line, name in module.runtime_imports() if _goes_up(module, name)]
    return sorted(set(lines))


def _goes_up(module: Module, name: str) -> bool:
    is_ours = name.partition(".")[0] in (*HOUSE, *BESIDE)
    return is_ours and not _is_below(name, MAY_IMPORT[module.folder])


def library_out_of_place(module: Module) -> list[str]:
    """Find imports of a library that only one module may use."""
    return [
        f"{line}: only {' and '.join(homes)} may import {library}"
        for line, name in module.imports()
        for library, homes in ONLY_IN.items()
        if _is_below(name, (library,)) and not str(module.path).startswith(homes)
    ]


def impure_import(module: Module) -> list[str]:
    """Find imports in domain/ other than the pure modules of the standard library."""
    if module.folder != "domain":
        return []
    return [
        f"{line}: domain/ computes; {name} is neither pure nor ours"
        for line, name in module.imports()
        # wrong_direction judges imports of our own folders.
        if not _is_below(name, (*PURE, *HOUSE, *BESIDE))
    ]


def twin_in_use(module: Module) -> list[str]:
    """Find imports of the in-memory twin by anything but tests and the twin itself (FR-013)."""
    if module.folder == "tests" or str(module.path).startswith("storage/memory"):
        return []
    return [
        f"{line}: the in-memory twin is for tests only"
        for line, name in module.imports()
        if name.startswith("storage.memory")
    ]


def _is_below(name: str, tops: tuple[str, ...]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)
