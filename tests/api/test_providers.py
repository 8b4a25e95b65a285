"""Provider connections: secrets stay out, settings are the provider's to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.house import House

BODY: dict[str, Any] = {
    "provider_type": "spoken",
    "transport": "stream",
    "base_url": "https://provider.example/api",
    "credential": "env:NORTH_KEY",
    "settings": {"tongue": "formal"},
    "expected_update_seconds": 900,
    "overrides": {"stale_after_seconds": 1800},
}


async def test_a_connection_is_stored_as_given_and_replaced_whole(house: House) -> None:
    made = await house.ask("PUT", "/workspaces/north/providers/second", json=BODY)
    assert (made.status, made.json) == (
        201,
        {
            **BODY,
            "workspace_id": "north",
            "provider_id": "second",
            "active": True,
            "expected_update_seconds": 900.0,
            "overrides": {"delayed_after_seconds": None, "stale_after_seconds": 1800.0, "grace_seconds": None},
        },
    )
    assert await house.get("/workspaces/north/providers/second") == made.json
    bare = {name: BODY[name] for name in ("provider_type", "transport", "base_url")}
    changed = await house.ask("PUT", "/workspaces/north/providers/second", json=bare)
    assert (changed.status, changed.json["settings"], changed.json["credential"]) == (200, {}, None)


async def test_connections_are_listed_in_pages(house: House) -> None:
    pages = await house.walk("/workspaces/north/providers?limit=1")
    assert [page["items"][0]["provider_id"] for page in pages] == ["hourly", "live"]


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"credential": "sk_live_4242"}, ["/credential"]),
        ({"credential": "env:sk-live 4242"}, ["/credential"]),
        ({"credential": "file:"}, ["/credential"]),
        ({"base_url": "https://user:pass@provider.example"}, ["/base_url"]),
        ({"base_url": "https://provider.example?apiKey=4242"}, ["/base_url"]),
        ({"base_url": "ftp://provider.example"}, ["/base_url"]),
        ({"base_url": "https://[provider"}, ["/base_url"]),
        ({"base_url": "http://169.254.169.254/latest"}, ["/base_url"]),
        ({"base_url": "http://[fd00:ec2::254]"}, ["/base_url"]),
        ({"base_url": "http://[fe80::1%25eth0]"}, ["/base_url"]),
        ({"base_url": "http://2852039166"}, ["/base_url"]),
        ({"base_url": "http://10.1.2.3:8080"}, ["/base_url"]),
        ({"settings": {"apiKey": "4242"}}, ["/settings/apiKey"]),
        ({"settings": {"deep": [{"client_secret": "4242"}]}}, ["/settings/deep/0/client_secret"]),
        ({"settings": {"tongue": "a\u0000b"}}, ["/settings/tongue"]),
        ({"settings": {"tongue": "rude"}}, ["/settings/tongue"]),
        ({"settings": {"volume": 11}}, ["/settings/volume"]),
        ({"provider_type": "carrier-pigeon"}, ["/provider_type"]),
        ({"transport": "fax"}, ["/transport"]),
        ({"expected_update_seconds": 0}, ["/expected_update_seconds"]),
        ({"overrides": {"grace_seconds": -1}}, ["/overrides/grace_seconds"]),
    ],
)
async def test_what_is_wrong_is_refused_at_its_place_and_never_repeated(
    house: House, change: dict[str, Any], pointers: list[str]
) -> None:
    answer = await house.ask("PUT", "/workspaces/north/providers/second", json=BODY | change)
    assert (answer.status, answer.problem, answer.pointers) == (422, "invalid-body", pointers)
    assert b"4242" not in answer.body
    assert (await house.ask("GET", "/workspaces/north/providers/second")).status == 404


async def test_a_forbidden_address_is_refused_with_the_setting_that_says_so(house: House) -> None:
    async def put(base_url: str) -> tuple[int, str]:
        answer = await house.ask("PUT", "/workspaces/north/providers/second", json=BODY | {"base_url": base_url})
        return answer.status, answer.json["errors"][0]["detail"] if answer.status == 422 else ""

    for base_url in ("http://169.254.169.254", "http://192.168.1.1", "http://0xa.1.2.3"):
        status, detail = await put(base_url)
        assert (status, "LASTHEARD_OUTBOUND_ALLOW" in detail) == (422, True)
    for base_url in ("http://127.0.0.1:9100", "https://8.8.8.8", "http://depot.internal"):
        assert (await put(base_url))[0] in (200, 201)


async def test_a_limited_key_reaches_no_secret_of_another_workspace(house: House) -> None:
    async def put(key: str, credential: str) -> tuple[int, list[str]]:
        answer = await house.ask(
            "PUT", "/workspaces/north/providers/own", key=key, json=BODY | {"credential": credential}
        )
        return answer.status, [fault["pointer"] for fault in answer.json.get("errors", ())]

    refused = (422, ["/credential"])
    for foreign in ("env:LASTHEARD_SECRET_SOUTH", "file:south/key", "file:key", "file:north/../south/north"):
        assert await put("north", foreign) == refused
    assert await put("north", "file:north/key") == (201, [])
    assert await put("all", "env:LASTHEARD_SECRET_NORTH") == (200, [])
    assert await put("north", "env:LASTHEARD_SECRET_NORTH") == (200, [])
    assert await put("north", "env:LASTHEARD_SECRET_SOUTH") == refused


async def test_limits_that_contradict_each_other_are_refused(house: House) -> None:
    body = BODY | {"overrides": {"delayed_after_seconds": 900, "stale_after_seconds": 900}}
    answer = await house.ask("PUT", "/workspaces/north/providers/own", json=body)
    assert (answer.status, [fault["pointer"] for fault in answer.json["errors"]]) == (422, ["/overrides"])
