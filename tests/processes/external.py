"""A PostgreSQL server as an operator has one: on a port, with a password for every role but one.

Owns the server and its folder. The role `postgres` is the administrator, and needs no password.
LASTHEARD_TEST_PG_MAJOR chooses the version, as in tests/postgres.py.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from storage.embedded.commands import SETTINGS, make_cluster
from tests.postgres import MAJOR, find_binaries
from tests.processes.replication import Server, find_free_ports, open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ACCESS: Final = """\
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


@asynccontextmanager
async def open_external() -> AsyncIterator[Server]:
    """Run an empty server during the block, and delete it at the end."""
    (port,) = find_free_ports(1)
    async with open_server(port, find_binaries(MAJOR)) as server:
        await make_cluster(server.place, {**SETTINGS, "fsync": "off"}, structlog.get_logger("pair"))
        (server.place.cluster / "pg_hba.conf").write_text(_ACCESS)
        await server.start()
        yield server
