"""`lastheard` with a wrong setting: it ends with a message that has the remedy, no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tests.postgres import public_folder
from tests.processes.census import Census
from tests.processes.child import Child, run_lastheard
from tests.processes.fleets import make_key
from tests.processes.shard import PREFIX, open_shard

if TYPE_CHECKING:
    from tests.conftest import Stores

pytestmark = [pytest.mark.processes, pytest.mark.postgres]

NOWHERE = "postgresql://postgres@127.0.0.1:1/lastheard"
REFUSED, USAGE, UNAVAILABLE = 1, 2, 69


def assert_says(child: Child, code: int, *words: str) -> None:
    assert child.exit_code == code, child.tail()
    said = " ".join(child.errors.split())
    assert [word for word in words if word not in said] == []
    assert "Traceback" not in said


async def run_with(*arguments: str, **settings: str) -> Child:
    return await run_lastheard(
        *arguments,
        environment={f"LASTHEARD_{name.upper()}": value for name, value in settings.items()},
    )


async def test_every_wrong_setting_is_named_with_what_would_be_right() -> None:
    child = await run_with(
        "serve", dsn="mysql://x", http_port="99999", log_level="loud", http_prot="8080"
    )
    assert_says(
        child,
        USAGE,
        "the settings have 4 problems",
        "LASTHEARD_DSN (TOML key dsn)",
        "a DSN begins with postgresql://",
        "LASTHEARD_HTTP_PORT (TOML key http_port): '99999' from the environment is wrong",
        "less than or equal to 65535",
        "LASTHEARD_LOG_LEVEL",
        "'debug', 'info', 'warning' or 'error'",
        "LASTHEARD_HTTP_PROT: no such setting; did you mean LASTHEARD_HTTP_PORT?",
    )


@pytest.mark.parametrize(
    "command", [["serve"], ["migrate"], ["migrate", "--check"], ["token", "create", "x"]]
)
async def test_without_a_database_it_says_which_two_ways_there_are(command: list[str]) -> None:
    child = await run_with(*command)
    assert_says(
        child, USAGE, "no database is configured", "LASTHEARD_DSN=postgresql://", "--embedded"
    )


@pytest.mark.parametrize(
    "command", [["serve"], ["migrate"], ["migrate", "--check"], ["token", "create", "x"]]
)
async def test_a_database_that_does_not_answer_is_said_in_a_sentence(command: list[str]) -> None:
    assert_says(
        await run_with(*command, dsn=NOWHERE),
        UNAVAILABLE,
        "PostgreSQL does not answer",
        "127.0.0.1",
        "LASTHEARD_DSN",
    )


async def test_a_secret_that_is_not_there_is_named() -> None:
    child = await run_with("worklist", key="env:NO_SUCH_SECRET")
    assert_says(child, UNAVAILABLE, "the secret env:NO_SUCH_SECRET is missing")


@pytest.mark.parametrize("command", [["serve"], ["token", "create", "x"]])
async def test_a_missing_schema_is_refused_with_the_command_to_run(
    empty_dsn: str, command: list[str]
) -> None:
    assert_says(
        await run_with(*command, dsn=empty_dsn),
        UNAVAILABLE,
        "no Lastheard schema",
        "lastheard migrate",
    )


async def test_migrating_can_be_asked_for_and_repeated(empty_dsn: str) -> None:
    before = await run_with("migrate", "--check", dsn=empty_dsn)
    first = await run_with("migrate", dsn=empty_dsn)
    second = await run_with("migrate", dsn=empty_dsn)
    after = await run_with("migrate", "--check", dsn=empty_dsn)
    assert [child.exit_code for child in (before, first, second, after)] == [REFUSED, 0, 0, 0]
    assert before.out.startswith("schema none, this version of Lastheard expects ")
    assert first.out == second.out == after.out


async def test_checking_an_embedded_database_changes_nothing_either() -> None:
    with public_folder("lastheard-check-") as folder:
        census = Census(folder)
        arguments = ("migrate", "--check", "--embedded", "--data-dir", str(folder))
        child = await run_lastheard(*arguments, environment=census.environment)
        assert census.living() == []
    assert (child.exit_code, child.out.split(",")[0]) == (REFUSED, "schema none")


async def test_settings_can_be_checked_without_showing_the_password() -> None:
    good = await run_with("config", "check", dsn="postgresql://lastheard:hush-hush@db/lastheard")
    bad = await run_with("config", "check", pool_size="1")
    assert good.exit_code == 0
    assert "LASTHEARD_DSN = (set)" in good.out
    assert "LASTHEARD_HTTP_PORT = 8080" in good.out
    assert "hush-hush" not in good.out + good.errors
    assert_says(bad, USAGE, "LASTHEARD_POOL_SIZE", "greater than or equal to 4", "default 10")


async def test_an_api_that_leaves_no_connection_to_collect_is_refused() -> None:
    child = await run_with("config", "check", pool_size="8", api_pool_size="6")
    assert_says(
        child,
        USAGE,
        "LASTHEARD_API_POOL_SIZE=6 leaves nothing of LASTHEARD_POOL_SIZE=8",
        "at most 5",
    )


async def test_a_token_is_the_only_thing_on_standard_output(dsn: str) -> None:
    child = await run_with(
        "token", "create", "scripts", "--scope", "read", "--scope", "ingest", dsn=dsn
    )
    assert child.exit_code == 0
    (line,) = child.out.splitlines()
    assert line.startswith("lh_")
    async with open_shard(dsn, line) as shard:
        assert (await shard.get(f"{PREFIX}/worklist")).status_code == 200


async def test_a_scope_that_does_not_exist_makes_no_token(dsn: str) -> None:
    child = await run_with("token", "create", "scripts", "--scope", "reed", dsn=dsn)
    assert_says(child, USAGE, "no such scope: reed", "read, ingest, follow_up, control, admin")
    assert child.out == ""


async def test_a_port_in_use_ends_only_the_second_process(
    dsn: str, postgres_stores: Stores
) -> None:
    """The second process may have the same shard_id: it must not end the first one's session."""
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key) as shard:
        await shard.wait_ready()
        child = await run_with("serve", dsn=dsn, http_port=str(shard.port), shard_id="shard-1")
        assert_says(child, UNAVAILABLE, f"port {shard.port}", "--port")
        assert child.events("session_begun") == []
        assert psutil.pid_exists(shard.child.pid)
        assert (await shard.runtime())["shard"]["epoch"] == 1


async def test_a_probe_port_in_use_ends_the_process_naming_the_setting(
    dsn: str, postgres_stores: Stores
) -> None:
    key = await make_key(postgres_stores)
    async with open_shard(dsn, key) as shard:
        taken = (await shard.child.wait_for_record("service_started"))["probe_port"]
        child = await run_with(
            "serve", dsn=dsn, http_port="0", probe_port=str(taken), shard_id="shard-2"
        )
        assert_says(
            child,
            UNAVAILABLE,
            f"port {taken}",
            "LASTHEARD_PROBE_PORT",
            "each shard of one machine another",
        )
        assert child.events("session_begun") == []


async def test_one_port_for_the_api_and_its_probes_is_refused() -> None:
    child = await run_with("serve", dsn=NOWHERE, http_port="8085", probe_port="8085")
    assert_says(
        child,
        USAGE,
        "LASTHEARD_HTTP_PORT and LASTHEARD_PROBE_PORT are both 8085",
        "give each its own",
    )
