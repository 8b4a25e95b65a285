"""How the reading commands find their server, and what they say when it is not one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from lastheard.client import ApiClient, ClientError, connect, save_access
from lastheard.settings import Settings
from tests.processes.child import run_lastheard
from tests.providers.servers import Asked, Reply, http_server

if TYPE_CHECKING:
    from pathlib import Path

STORED = "http://127.0.0.1:8081"
ELSEWHERE = "http://telematics.example:8080"


def settings_of(folder: Path, **given: Any) -> Settings:
    return Settings.model_validate({"shard_id": "any", "data_dir": folder, **given})


def test_what_the_demo_left_is_used_when_nothing_else_is_named(tmp_path: Path) -> None:
    save_access(tmp_path, STORED, "lh_demo")
    assert connect(settings_of(tmp_path)).address == STORED
    assert connect(settings_of(tmp_path, address=f"{STORED}/")).address == STORED


def test_a_server_that_was_named_is_never_silently_another(tmp_path: Path) -> None:
    """Also when it is named as the default says it."""
    save_access(tmp_path, STORED, "lh_demo")
    for address in (ELSEWHERE, "http://127.0.0.1:8080"):
        with pytest.raises(ClientError, match=f"no API key for {address}"):
            connect(settings_of(tmp_path, address=address))


@pytest.mark.parametrize("left", [None, b"", b"[]", b'"x"', b'{"address":"http://a"}'])
def test_without_a_key_it_says_where_one_comes_from(tmp_path: Path, left: bytes | None) -> None:
    if left is not None:
        (tmp_path / "client.json").write_bytes(left)
    with pytest.raises(ClientError, match="LASTHEARD_KEY=env:NAME"):
        connect(settings_of(tmp_path))


@pytest.mark.parametrize("address", ["http://host:port", "127.0.0.1:8080", "localhost:8080", "h"])
def test_an_address_that_is_none_is_said(address: str) -> None:
    with pytest.raises(ClientError, match=r"LASTHEARD_ADDRESS \(or --url\) is not an address"):
        ApiClient(address, "lh_x")


def test_nobody_listens_is_said_without_a_number_of_the_system() -> None:
    with pytest.raises(ClientError, match="9: Connection refused"):
        ApiClient("http://127.0.0.1:9", "lh_x").read("/runtime")


def test_a_key_that_cannot_be_read_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="LASTHEARD_KEY: the secret file:/gone cannot be read"):
        connect(settings_of(tmp_path, key="file:/gone"))


@pytest.mark.parametrize(
    ("address", "direct"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://10.0.0.1:8080", False),
        (ELSEWHERE, False),
    ],
)
def test_a_proxy_of_the_environment_is_for_the_world_outside(address: str, direct: bool) -> None:
    assert ApiClient(address, "lh_x").is_direct == direct


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "reply", "said"),
    [
        (["runtime"], Reply(200, b"<html>"), "200 from http://127.0.0.1"),
        (
            ["health", "a/b"],
            Reply(200, b"[]"),
            "/workspaces/a%2Fb/health, and not in the API's words",
        ),
        (["worklist", "--csv"], Reply(200, b"<html>"), "Is Lastheard at http://127.0.0.1"),
        (["worklist"], Reply(502, b"[]"), "502 from http://127.0.0.1"),
        (
            ["worklist"],
            Reply(403, b'{"title":"Forbidden","detail":"no scope"}'),
            "403 Forbidden: no scope\n`lastheard token create NAME --scope …` makes a key",
        ),
        (["worklist"], Reply(401, b'{"title":"No"}'), "401 No\nFor another key, set LASTHEARD_KEY"),
        (["worklist"], Reply(503, b'{"title":"Away"}'), "503 Away\nTry again."),
    ],
)
async def test_an_answer_that_is_not_the_apis_is_said_in_a_sentence(
    words: list[str], reply: Reply, said: str
) -> None:
    async with http_server(lambda _: reply) as address:
        child = await run_lastheard(*words, environment=_environment(address))
    assert (child.exit_code, child.out) == (69, "")
    assert said in child.errors
    assert "Traceback" not in child.errors


@pytest.mark.processes
@pytest.mark.parametrize(
    "words",
    [["health", "depot"], ["worklist"], ["runtime"], ["provider", "try", "depot", "maker"]],
    ids=" ".join,
)
async def test_address_and_key_may_be_given_as_options(words: list[str]) -> None:
    keys = []

    def answer(asked: Asked) -> Reply:
        keys.append(asked.headers["authorization"])
        return Reply(404, b'{"title":"Asked"}')

    async with http_server(answer) as address:
        child = await run_lastheard(
            *(*words, "--url", address, "--key", "env:OTHER"),
            environment={**_environment("http://127.0.0.1:9"), "OTHER": "lh_other"},
        )
    assert (child.exit_code, child.errors) == (69, "lastheard: 404 Asked\n")
    assert keys == ["Bearer lh_other"]


@pytest.mark.processes
async def test_a_csv_in_several_answers_has_one_header() -> None:
    link = {"Link": '<?format=csv&cursor=two>; rel="next"'}

    def answer(asked: Asked) -> Reply:
        is_second = "cursor=two" in asked.target
        body = b"device_id,state\r\nbus-%d,stale\r\n" % (2 if is_second else 1)
        return Reply(
            200, body, {"Content-Type": "text/csv; charset=utf-8", **({} if is_second else link)}
        )

    async with http_server(answer) as address:
        child = await run_lastheard("worklist", "--csv", environment=_environment(address))
    assert child.out.split() == ["device_id,state", "bus-1,stale", "bus-2,stale"]


@pytest.mark.processes
async def test_a_list_in_several_pages_is_one_table() -> None:
    item = {
        "workspace_id": "depot",
        "vehicle_name": "Bus",
        "state": "stale",
        "reason": "device_silent",
    }

    def answer(asked: Asked) -> Reply:
        is_second = "cursor=two" in asked.target
        page = {
            "items": [{**item, "device_id": f"bus-{1 + is_second}"}],
            "next_cursor": None if is_second else "two",
        }
        return Reply(200, orjson.dumps(page))

    async with http_server(answer) as address:
        child = await run_lastheard("worklist", environment=_environment(address))
    assert "Worklist: 2 devices" in child.out
    assert child.out.index("bus-1") < child.out.index("bus-2")


def _environment(address: str) -> dict[str, str]:
    return {
        "LASTHEARD_ADDRESS": address,
        "LASTHEARD_KEY": "env:SECRET_OF_TEST",
        "SECRET_OF_TEST": "lh_x",
    }
