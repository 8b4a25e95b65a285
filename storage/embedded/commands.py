"""The commands that create a cluster and start its server, and advice for when they fail.

Owns the command lines, the server's settings and the creation of a cluster. It must never leave a
half-made cluster in the place of a whole one.
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
    # PostgreSQL's own collector outlives the postmaster by a moment, and so would outlive our stop.
    "logging_collector": "off",
    # Errors of statements stay out of the log: the client receives them, and a retry loop could
    # fill the disk that the data needs. In this setting, "log" ranks above "error".
    "log_min_messages": "log",
    "log_checkpoints": "off",
}

_INITDB_SECONDS: Final = 120.0
_BUILTIN_LOCALES_SINCE: Final = 17
_QUOTED_LINES: Final = 15
_ADVICE: Final = (
    ("No space left on device", "the disk is full: make room there and start again"),
    (
        "Permission denied",
        "the user who runs PostgreSQL may not go there: check owner and mode of that folder",
    ),
    (
        "could not look up effective user ID",
        "initdb needs a user with a name: add one, or set LASTHEARD_DSN",
    ),
)


def postgres_command(place: Premises, settings: Mapping[str, str]) -> list[str]:
    """Return the command that starts the server.

    Settings are on the command line rather than in postgresql.conf, so that a new version of
    Lastheard brings its own settings.
    """
    command = [str(place.binaries / "postgres"), "-D", str(place.cluster)]
    for name, value in {**settings, "unix_socket_directories": str(place.sockets)}.items():
        command += ["-c", f"{name}={value}"]
    return command


async def make_cluster(
    place: Premises, settings: Mapping[str, str], log: FilteringBoundLogger
) -> None:
    """Run initdb if there is no cluster yet. Raises EmbeddedUnavailable if it fails.

    The cluster is made beside its place and then renamed, so there is a whole one or none.
    """
    if not place.cluster.exists():
        fresh = place.home / f"cluster.{os.getpid()}.new"
        log.info("embedded_postgresql_initdb", home=str(place.home))
        try:
            command = _initdb_command(
                place, str(fresh), durable=settings.get("fsync", "on") == "on"
            )
            with trio.fail_after(_INITDB_SECONDS):
                status, printed = await run_tool(command, place)
            if status != 0:
                raise EmbeddedUnavailable(explain(f"initdb ended with status {status}", printed))
            fresh.rename(place.cluster)
        except trio.TooSlowError as slow:
            raise EmbeddedUnavailable(
                f"initdb in {place.home} took longer than {_INITDB_SECONDS:g} s"
            ) from slow
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def explain(what: str, words: str) -> str:
    """Return one message: what happened, what to do about it, and the program's last lines."""
    advice = "".join(f" ({advice})" for sign, advice in _ADVICE if sign in words)
    last_lines = "\n".join(words.strip().splitlines()[-_QUOTED_LINES:])
    return f"{what}{advice}: {last_lines}"


def _initdb_command(place: Premises, cluster: str, *, durable: bool) -> list[str]:
    """Return the command that runs initdb.

    It chooses locales that sort the same on every machine and that a new C library does not change,
    because indexes depend on the order.
    """
    command = [str(place.binaries / "initdb"), "-D", cluster, "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    if place.programs.major >= _BUILTIN_LOCALES_SINCE:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return command if durable else [*command, "--no-sync"]
