"""A server that refuses the DSN's user: each command says what to mend, and none has a traceback.

The server has a password, and a database that another role owns, as on a first day.
"""

from __future__ import annotations

import pytest

from tests.processes.child import run_lastheard
from tests.processes.external import open_external

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

UNAVAILABLE = 69
# (what is wrong, user:password, database, commands, words of the answer)
MISTAKES = (
    ("the password", "fleet:wrong", "fleet", ("serve", "migrate"), "Check user and password"),
    ("the database", "fleet:right", "flete", ("serve", "migrate"), "CREATE DATABASE … OWNER …"),
    ("no schema", "fleet:right", "fleet", ("serve",), "run `lastheard migrate`"),
    ("the owner", "fleet:right", "theirs", ("migrate",), "ALTER DATABASE … OWNER TO …"),
)


async def test_every_refusal_of_the_server_says_what_to_mend() -> None:
    async with open_external() as server:
        await server.ask("CREATE ROLE fleet LOGIN PASSWORD 'right'")
        await server.ask("CREATE DATABASE fleet OWNER fleet")
        await server.ask("CREATE DATABASE theirs")
        for what, user, database, commands, words in MISTAKES:
            dsn = f"postgresql://{user}@127.0.0.1:{server.port}/{database}"
            for command in commands:
                child = await run_lastheard(command, environment={"LASTHEARD_DSN": dsn})
                assert child.exit_code == UNAVAILABLE, (what, child.tail())
                assert words in child.errors, (what, child.tail())
                assert "Traceback" not in child.errors, (what, child.tail())
