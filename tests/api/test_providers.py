"""Provider connections hold no secrets, and their provider judges their settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.harness import Harness

BODY: dict[str, Any] = {
    "provider_type": "spoken",
    "transport": "stream",
    "base_url": "https://provider.example/api",
    "credential": "env:LASTHEARD_SECRET_NORTH",
    "settings": {"tongue": "formal"},
    "expected_update_seconds": 900,
    "overrides": {"stale_after_seconds": 1800},
}


@pytest.fixture(autouse=True)
def readable_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that tests refer to; `tmp_path` is the harness's credentials folder."""
    for name in ("NORTH", "SOUTH", "ADMIN"):
        monkeypatch.setenv(f"LASTHEARD_SECRET_{name}", "hush-hush")
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text("hush-hush")
    (tmp_path / "key").write_text("hush-hush")


async def test_a_connection_is_stored_as_given_and_replaced_whole(harness: Harness) -> None:
    made = await harness.ask("PUT", "/workspaces/north/providers/second", json=BODY)
    assert (made.status, made.json) == (
        201,
        {
            **BODY,
            "workspace_id": "north",
            "provider_id": "second",
            "active": True,
            "expected_update_seconds": 900.0,
            "expected_update_source": "stated",
            "simulated": False,
            "overrides": {
                "delayed_after_seconds": None,
                "stale_after_seconds": 1800.0,
                "grace_seconds": None,
            },
            "archived_at": None,
            "warnings": [],
        },
    )
    assert await harness.get("/workspaces/north/providers/second") | {"warnings": []} == made.json
    bare = {name: BODY[name] for name in ("provider_type", "transport", "base_url")} | {
        "credential": None
    }
    changed = await harness.ask("PUT", "/workspaces/north/providers/second", json=bare)
    assert (changed.status, changed.json["settings"], changed.json["credential"]) == (200, {}, None)


DOCUMENTED: dict[str, Any] = {
    "provider_type": "murmured",
    "transport": "poll",
    "base_url": "https://maker.example/api",
}


async def period(harness: Harness, **changes: Any) -> tuple[float | None, str | None]:
    answer = await harness.ask(
        "PUT", "/workspaces/north/providers/maker", json=DOCUMENTED | changes
    )
    assert answer.status in (200, 201), answer.json
    return answer.json["expected_update_seconds"], answer.json["expected_update_source"]


async def test_a_new_connection_takes_the_documented_period(harness: Harness) -> None:
    assert await period(harness) == (3600.0, "documented")
    assert await period(harness, settings={"loudness": 9}) == (3600.0, "documented")
    assert await period(harness, expected_update_seconds=3600) == (3600.0, "documented")
    assert await period(harness, expected_update_seconds=900) == (900.0, "stated")
    assert await period(harness) == (None, None)


@pytest.mark.parametrize("change", [{"expected_update_seconds": None}, {"simulated": True}])
async def test_no_period_is_taken_where_none_is_wanted(
    harness: Harness, change: dict[str, Any]
) -> None:
    assert await period(harness, **change) == (None, None)
    assert await period(harness) == (None, None)  # documents never change one that exists


async def test_a_patch_keeps_the_documented_period(harness: Harness) -> None:
    await period(harness)
    path = "/workspaces/north/providers/maker"
    patched = await harness.ask("PATCH", path, json={"settings": {"loudness": 5}})
    assert patched.json["expected_update_source"] == "documented"
    patched = await harness.ask("PATCH", path, json={"expected_update_seconds": None})
    assert patched.json["expected_update_source"] is None


async def test_connections_are_listed_in_pages(harness: Harness) -> None:
    pages = await harness.walk("/workspaces/north/providers?limit=1")
    assert [page["items"][0]["provider_id"] for page in pages] == ["hourly", "live"]


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"credential": "sk_live_swordfish"}, ["/credential"]),
        ({"credential": "env:sk-live swordfish"}, ["/credential"]),
        ({"credential": "file:"}, ["/credential"]),
        ({"credential": "file:/etc/hostname"}, ["/credential"]),
        ({"credential": "file:/proc/self/environ"}, ["/credential"]),
        ({"credential": "file:/dev/zero"}, ["/credential"]),
        ({"credential": "file:../outside"}, ["/credential"]),
        ({"credential": "file:."}, ["/credential"]),
        ({"credential": "env:LASTHEARD_DSN"}, ["/credential"]),
        ({"credential": "env:HOME"}, ["/credential"]),
        ({"base_url": "https://user:pass@provider.example"}, ["/base_url"]),
        ({"base_url": "https://provider.example?apiKey=swordfish"}, ["/base_url"]),
        ({"base_url": "ftp://provider.example"}, ["/base_url"]),
        ({"base_url": "https://[provider"}, ["/base_url"]),
        ({"base_url": "https://[Acd2d27]"}, ["/base_url"]),
        ({"base_url": "http://169.254.169.254/latest"}, ["/base_url"]),
        ({"base_url": "http://[fd00:ec2::254]"}, ["/base_url"]),
        ({"base_url": "http://[fe80::1%25eth0]"}, ["/base_url"]),
        ({"base_url": "http://2852039166"}, ["/base_url"]),
        ({"base_url": "http://10.1.2.3:8080"}, ["/base_url"]),
        ({"settings": {"apiKey": "swordfish"}}, ["/settings/apiKey"]),
        (
            {"settings": {"deep": [{"client_secret": "swordfish"}]}},
            ["/settings/deep/0/client_secret"],
        ),
        ({"settings": {"tongue": "a\u0000b"}}, ["/settings/tongue"]),
        ({"settings": {"tongue": "rude"}}, ["/settings/tongue"]),
        ({"settings": {"volume": 11}}, ["/settings/volume"]),
        ({"provider_type": "carrier-pigeon"}, ["/provider_type"]),
        ({"transport": "fax"}, ["/transport"]),
        ({"expected_update_seconds": 0}, ["/expected_update_seconds"]),
        ({"overrides": {"grace_seconds": -1}}, ["/overrides/grace_seconds"]),
    ],
)
async def test_a_wrong_value_is_refused_by_its_field_and_not_repeated(
    harness: Harness, change: dict[str, Any], pointers: list[str]
) -> None:
    answer = await harness.ask("PUT", "/workspaces/north/providers/second", json=BODY | change)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", pointers)
    assert b"swordfish" not in answer.body
    assert (await harness.ask("GET", "/workspaces/north/providers/second")).status == 404


async def test_the_refusal_of_an_address_names_the_setting(
    harness: Harness,
) -> None:
    async def put(base_url: str) -> tuple[int, str]:
        answer = await harness.ask(
            "PUT", "/workspaces/north/providers/second", json=BODY | {"base_url": base_url}
        )
        return answer.status, answer.json["errors"][0]["detail"] if answer.status == 422 else ""

    for base_url in ("http://169.254.169.254", "http://192.168.1.1", "http://0xa.1.2.3"):
        status, detail = await put(base_url)
        assert (status, "LASTHEARD_OUTBOUND_ALLOW" in detail) == (422, True)
    for base_url in ("http://127.0.0.1:9100", "https://8.8.8.8", "http://depot.internal"):
        assert (await put(base_url))[0] in (200, 201)


async def test_the_refusal_of_a_reference_says_what_may_be_named(
    harness: Harness,
) -> None:
    said = set()
    for target in ("/etc/hostname", "/nowhere/at/all"):
        answer = await harness.ask("PUT", SECOND, json=BODY | {"credential": f"file:{target}"})
        assert (answer.status, answer.pointers) == (422, ["/credential"])
        said.add(answer.json["errors"][0]["detail"].replace(target, "…"))
    (detail,) = said  # the same for what exists and for what does not
    assert "variables named LASTHEARD_SECRET_…" in detail
    assert f"files in {harness.credentials_folder} (LASTHEARD_CREDENTIALS_DIR)" in detail


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        ("file:north/absent", "No such file or directory"),
        ("file:north/pipe", "is not a regular file"),
        ("file:north", "is not a regular file"),
        ("env:LASTHEARD_SECRET_ABSENT", "no such variable"),
    ],
)
async def test_a_secret_that_is_missing_is_accepted_with_a_warning(
    harness: Harness, credential: str, says: str
) -> None:
    os.mkfifo(harness.credentials_folder / "north" / "pipe")
    with trio.fail_after(5):
        answer = await harness.ask("PUT", SECOND, json=BODY | {"credential": credential})
    (warning,) = answer.json["warnings"]
    assert (answer.status, warning["pointer"]) == (201, "/credential")
    assert says in warning["detail"]
    assert credential in warning["detail"]
    assert "warnings" not in await harness.get(SECOND)


# --- Whose secret, and where it goes

SECOND = "/workspaces/north/providers/second"
ADMINS = "env:LASTHEARD_SECRET_ADMIN"
OWN = "file:north/key"
PRESENT: dict[str, Any] = {
    "provider_type": "spoken",
    "transport": "poll",
    "base_url": "https://good.example/api",
    "settings": {"tongue": "formal"},
}
UNNAMED, REFUSED, STORED = (422, "/credential"), (403, "/credential"), (200, "")
MOVES: tuple[dict[str, Any], ...] = (
    {"base_url": "https://evil.example/api"},
    {"base_url": "https://good.example/api/"},
    {"base_url": "http://good.example/api"},
    {"provider_type": "murmured"},
    {"transport": "stream"},
    {"settings": {"tongue": "plain"}},
    {"settings": {}},
)
STAYS: tuple[dict[str, Any], ...] = (
    {},
    {"settings": {"tongue": "formal", "loudness": 3}},
    {"active": False},
    {"expected_update_seconds": 60},
)


async def put_over(
    harness: Harness, stored: dict[str, Any] | None, key: str, sent: dict[str, Any]
) -> tuple[int, str]:
    """Put the body over what an admin stored; return the status and the pointer of the refusal."""
    if stored is not None:
        assert (await harness.ask("PUT", SECOND, json=stored)).status == 201
    before = await harness.ask("GET", SECOND)
    answer = await harness.ask("PUT", SECOND, key=key, json=sent)
    after = await harness.ask("GET", SECOND)
    if answer.status < 400:
        assert after.json["credential"] == sent.get("credential")
        return answer.status, ""
    assert (after.status, after.json.get("base_url")) == (
        before.status,
        before.json.get("base_url"),
    )
    return answer.status, answer.pointers[0]


@pytest.mark.parametrize("move", MOVES)
async def test_a_limited_key_moves_no_connection_with_another_secret(
    harness: Harness, move: dict[str, Any]
) -> None:
    stored = PRESENT | {"credential": ADMINS}
    assert await put_over(harness, stored, "north", stored | move) == REFUSED


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("key", ["all", "north"])
async def test_moving_a_connection_wants_its_credential_named_again(
    harness: Harness, key: str, move: dict[str, Any]
) -> None:
    assert await put_over(harness, PRESENT | {"credential": ADMINS}, key, PRESENT | move) == UNNAMED


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(
    ("key", "credential"),
    [("all", ADMINS), ("all", OWN), ("all", None), ("north", OWN), ("north", None)],
)
async def test_a_connection_moves_with_a_credential_of_the_key(
    harness: Harness, key: str, credential: str | None, move: dict[str, Any]
) -> None:
    stored = PRESENT | {"credential": ADMINS}
    assert (
        await put_over(harness, stored, key, PRESENT | {"credential": credential} | move) == STORED
    )


async def test_a_type_that_names_no_destination_moves_by_any_setting(
    harness: Harness,
) -> None:
    stored = PRESENT | {"provider_type": "murmured", "credential": ADMINS}
    change = {"settings": {"tongue": "formal", "loudness": 3}}
    assert await put_over(harness, stored, "north", stored | change) == REFUSED


@pytest.mark.parametrize("change", STAYS)
@pytest.mark.parametrize("key", ["all", "north"])
async def test_a_connection_that_stays_keeps_its_secret(
    harness: Harness, key: str, change: dict[str, Any]
) -> None:
    stored = PRESENT | {"credential": ADMINS}
    assert await put_over(harness, stored, key, stored | change) == STORED


async def test_a_limited_key_may_reactivate_a_connection_where_it_is(harness: Harness) -> None:
    stored = PRESENT | {"credential": ADMINS, "active": False}
    assert await put_over(harness, stored, "north", stored | {"active": True}) == STORED
    moved = stored | {"active": True, "base_url": "https://evil.example"}
    assert await put_over(harness, None, "north", moved) == REFUSED


@pytest.mark.parametrize(
    ("stored", "credential", "answer"),
    [
        (None, ADMINS, REFUSED),
        (None, "file:south/key", REFUSED),
        (None, "file:key", REFUSED),
        (None, "file:north/../south/key", REFUSED),
        (None, "file:south/north/key", REFUSED),
        (None, "env:LASTHEARD_DSN", REFUSED),
        (None, OWN, (201, "")),
        (None, None, (201, "")),
        (ADMINS, "env:LASTHEARD_SECRET_SOUTH", REFUSED),
        (OWN, ADMINS, REFUSED),
        (ADMINS, OWN, STORED),
    ],
)
async def test_a_limited_key_names_only_secrets_of_its_workspace(
    harness: Harness, stored: str | None, credential: str | None, answer: tuple[int, str]
) -> None:
    before = None if stored is None else PRESENT | {"credential": stored}
    assert await put_over(harness, before, "north", PRESENT | {"credential": credential}) == answer


async def test_a_secret_is_not_taken_along_in_two_steps(harness: Harness) -> None:
    """A connection that moved without its credential does not get the old one back."""
    stored, evil = PRESENT | {"credential": ADMINS}, {"base_url": "https://evil.example"}
    assert await put_over(harness, stored, "north", stored | evil | {"credential": None}) == STORED
    assert await put_over(harness, None, "north", stored | evil) == (403, "/credential")


async def test_a_key_that_may_not_name_a_secret_hears_which_it_may(harness: Harness) -> None:
    answer = await harness.ask(
        "PUT", SECOND, key="north", json=PRESENT | {"credential": "file:south/absent"}
    )
    assert (answer.status, answer.problem) == (403, "credential-not-allowed")
    assert "file:north/NAME" in answer.json["errors"][0]["detail"]


async def test_limits_that_contradict_each_other_are_refused(harness: Harness) -> None:
    body = BODY | {"overrides": {"delayed_after_seconds": 900, "stale_after_seconds": 900}}
    answer = await harness.ask("PUT", "/workspaces/north/providers/own", json=body)
    assert (answer.status, [fault["pointer"] for fault in answer.json["errors"]]) == (
        422,
        ["/overrides"],
    )
