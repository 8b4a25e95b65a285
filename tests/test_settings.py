"""The service's settings: what a DSN and the credentials' folder must be."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from lastheard.settings import Settings, load
from runtime.settings import SettingsError
from storage.dsn import UNUSABLE, check_dsn
from storage.faults import DatabaseRefused
from storage.gateway import Database, open_bridge
from storage.hosts import each_host
from tests.broken_dsns import BROKEN, LEFT, RIGHT, repeated

if TYPE_CHECKING:
    from pathlib import Path

    from storage.gateway import Connection

broken = pytest.mark.parametrize(
    ("dsn", "says"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)


@broken
def test_a_dsn_that_cannot_be_read_is_explained_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, dsn: str, says: str
) -> None:
    monkeypatch.setenv("LASTHEARD_DSN", dsn)
    with pytest.raises(SettingsError) as caught:
        load()
    (problem,) = caught.value.problems
    assert problem.startswith(
        "LASTHEARD_DSN (TOML key dsn): [redacted] from the environment is wrong: "
    )
    assert says in problem
    assert (
        repeated(
            f"{caught.value!r} {caught.value} {''.join(traceback.format_exception(caught.value))}"
        )
        == set()
    )


@broken
def test_a_dsn_in_a_file_is_explained_like_one_in_a_variable(
    tmp_path: Path, dsn: str, says: str
) -> None:
    file = tmp_path / "lastheard.toml"
    file.write_text(f"dsn = '''{dsn}'''\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert says in str(caught.value)
    assert repeated(str(caught.value)) == set()


@pytest.mark.parametrize(
    "document",
    [
        f"dsn = postgresql://app:{LEFT}{RIGHT}@h/d",
        f'dsn = "postgresql://app:{LEFT}\\{RIGHT}@h/d"',
        f'dsn = ["postgresql://app:{LEFT}{RIGHT}@h/d"]',
        f'dsn = {{ url = "postgresql://app:{LEFT}{RIGHT}@h/d" }}',
        f'dns = "postgresql://app:{LEFT}{RIGHT}@h/d"',
        f'key = "postgresql://app:{LEFT}{RIGHT}@h/d"',
    ],
)
def test_a_dsn_misplaced_in_a_file_is_not_repeated(tmp_path: Path, document: str) -> None:
    file = tmp_path / "lastheard.toml"
    file.write_text(document)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert repeated("".join(traceback.format_exception(caught.value))) == set()


@broken
def test_settings_made_by_hand_do_not_repeat_a_dsn_either(dsn: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(dsn=dsn)
    assert repeated(str(caught.value)) == set()
    assert repeated(repr(Settings(dsn=f"postgresql://app:{LEFT}{RIGHT}@h/d"))) == set()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:p%2Fw%40%3F%23%25%20@h/d",
        "postgres://app:a:b,c!$&'()*+;=~@h/d",
        "POSTGRESQL://h/d",
        "postgresql://app:pässword@h/d",
        "postgresql:///d",
        "postgresql://app@/d?host=/var/run/postgresql&port=5432",
        "postgresql://app:pw@%2Fvar%2Frun%2Fpostgresql/d",
        "postgresql://app:pw@[::1]:5432,db-2.example:5433,10.0.0.3/d"
        "?target_session_attrs=read-write",
        "postgresql://app@/d?host=h1,h2&port=1,2&sslmode=verify-full&application_name=x",
        "postgresql://h/d?options=-c%20statement_timeout%3D3000&password=a%26b",
        "postgresql://h",
        "postgresql://h/",
    ],
)
def test_a_dsn_that_the_driver_reads_is_taken(dsn: str) -> None:
    check_dsn(dsn)
    assert Settings(dsn=dsn).dsn == dsn


@pytest.mark.parametrize(
    "dsn",
    [
        *(
            row[1]
            for row in BROKEN
            if row[0] in ("brackets", "both brackets", "folded by NFKC", "bad port")
        ),
        f"postgresql://app:{LEFT}/{RIGHT}@127.0.0.1:1/fleet",
        f"postgresql://{'x' * 64}.example:1/fleet?sslmode={LEFT}",
        f"postgresql://127.0.0.1:1/fleet?password={LEFT}&{RIGHT}",
        f"postgresql://127.0.0.1:1/fleet?ssl_min_protocol_version={LEFT}",
    ],
)
async def test_a_dsn_that_reaches_the_driver_unchecked_is_not_repeated(dsn: str) -> None:
    """The driver refuses the DSN here, because the settings have not looked at it."""

    async def work(connection: Connection) -> None:
        raise AssertionError("there is no such server")

    async with open_bridge():
        database = Database(dsn)
        with pytest.raises(DatabaseRefused) as caught:
            await database.run(work)
        assert repeated(str(database.statistics())) == set()
        await database.aclose()
    assert str(caught.value) == f"dsn: {UNUSABLE}"
    assert repeated("".join(traceback.format_exception(caught.value))) == set()


def test_hosts_of_a_dsn_that_is_none_are_refused_without_it() -> None:
    with pytest.raises(ValueError, match="cannot be used as it is") as caught:
        each_host(f"postgresql://app:{LEFT}[{RIGHT}@h1,h2/d")
    assert repeated("".join(traceback.format_exception(caught.value))) == set()


@pytest.mark.parametrize("folder", ["/", "//", "/.", "/etc/.."])
def test_the_credentials_folder_is_not_the_whole_machine(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("LASTHEARD_CREDENTIALS_DIR", folder)
    with pytest.raises(SettingsError, match="a folder that holds nothing but credentials"):
        load()


def test_a_key_itself_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LASTHEARD_KEY", "lh_0123_hunter2")
    for given in (None, "lh_0123_hunter2"):
        with pytest.raises(SettingsError, match="put it into a file and write file:PATH") as caught:
            load(key=given)
        assert "LASTHEARD_KEY" in str(caught.value)
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("LASTHEARD_KEY", "")
    with pytest.raises(SettingsError, match="it is empty: write env:NAME or file:PATH"):
        load()


def test_settings_pages_are_named_or_all_there_in_development() -> None:
    named = load(settings_pages="north")
    assert not named.settings_pages_flag.has("south")
    assert load(settings_pages="north", embedded=True).settings_pages_flag.has("south")


def test_a_flag_of_the_settings_pages_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"LASTHEARD_SETTINGS_PAGES.* does not fit"):
        load(settings_pages="*,north")


@pytest.mark.parametrize(
    ("pool_size", "api_pool_size", "api", "writers", "collecting"),
    [(10, "", 3, 3, 3), (9, "", 3, 3, 2), (7, "", 2, 2, 2), (4, "", 1, 1, 1), (8, "5", 5, 1, 1)],
)
def test_a_small_pool_has_fewer_writers(
    monkeypatch: pytest.MonkeyPatch,
    pool_size: int,
    api_pool_size: str,
    api: int,
    writers: int,
    collecting: int,
) -> None:
    monkeypatch.setenv("LASTHEARD_POOL_SIZE", str(pool_size))
    if api_pool_size:
        monkeypatch.setenv("LASTHEARD_API_POOL_SIZE", api_pool_size)
    settings = load()
    shared_out = (settings.api_connections, settings.writers, settings.collecting_connections)
    assert shared_out == (api, writers, collecting)
    assert sum(shared_out) + 1 == pool_size
