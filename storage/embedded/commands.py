"""What initdb and postgres are told, and what their failures mean to a person.

Owns the command lines, the server's settings and the making of a cluster. It must never leave a half-made cluster
in the place of a whole one.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Final

import trio
from structlog.typing import FilteringBoundLogger

from storage.embedded.files import Premises
from storage.embedded.owner import EmbeddedUnavailable
from storage.embedded.process import run_tool

SETTINGS: Final[Mapping[str, str]] = {
    "port": "5432",  # names the socket; nothing listens on the network
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # No collector of its own: it outlives the postmaster by a moment, and so would outlive our stop.
    "logging_collector": "off",
    # Errors of statements stay out of the log: their sender hears of them, and a retry loop could fill the disk
    # that the data needs. "log" ranks above "error" in this setting.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}

_INITDB_SECONDS: Final = 120.0
_BUILTIN_LOCALES_SINCE: Final = 17
_QUOTED_LINES: Final = 15
_ADVICE: Final = (
    ("No space left on device", "the disk is full: make room there and start again"),
    ("Permission denied", "the user who runs PostgreSQL may not go there: check owner and mode of that folder"),
    ("could not look up effective user ID", "initdb needs a user with a name: add one, or set LASTHEARD_DSN"),
)


def postgres_command(place: Premises, settings: Mapping[str, str]) -> list[str]:
    """On the command line rather than in postgresql.conf, so that a new version brings its settings along."""
    command = [str(place.binaries / "postgres"), "-D", str(place.cluster)]
    for name, value in {**settings, "unix_socket_directories": str(place.sockets)}.items():
        command += ["-c", f"{name}={value}"]
    return command


async def make_cluster(place: Premises, settings: Mapping[str, str], log: FilteringBoundLogger) -> None:
    """Run initdb where there is no cluster yet. It is made beside its place and renamed: a whole one or none."""
    if not place.cluster.exists():
        fresh = place.home / f"cluster.{os.getpid()}.new"
        log.info("embedded_postgresql_initdb", home=str(place.home))
        try:
            command = _initdb_command(place, str(fresh), durable=settings.get("fsync", "on") == "on")
            with trio.fail_after(_INITDB_SECONDS):
                status, printed = await run_tool(command, place)
            if status != 0:
                raise EmbeddedUnavailable(explain(f"initdb ended with status {status}", printed))
            fresh.rename(place.cluster)
        except trio.TooSlowError as slow:
            raise EmbeddedUnavailable(f"initdb in {place.home} took longer than {_INITDB_SECONDS:g} s") from slow
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def explain(what: str, words: str) -> str:
    """One message: what happened, what to do about it, and the program's own last lines."""
    advice = "".join(f" ({advice})" for sign, advice in _ADVICE if sign in words)
    last_lines = "\n".join(words.strip().splitlines()[-_QUOTED_LINES:])
    return f"{what}{advice}: {last_lines}"


def _initdb_command(place: Premises, cluster: str, *, durable: bool) -> list[str]:
    """Locales that sort the same on every machine, and that a new C library does not change: indexes depend on it."""
    command = [str(place.binaries / "initdb"), "-D", cluster, "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    if place.programs.major >= _BUILTIN_LOCALES_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return command if durable else [*command, "--no-sync"]
