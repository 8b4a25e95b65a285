"""The client against real servers: answers, credentials, deadlines, and what must not leak."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio
import trio.testing

from domain.parity import DeviceView
from lastheard.legacy_http import LegacyHttp
from legacy.client import LegacyClient
from ports.legacy import LegacyUnfit
from providers.http import HttpPool
from tests.legacy.clients import (
    REFERENCE,
    SECRET,
    answer_well,
    client_of,
    configured,
    resolve,
    unfit,
    unreachable,
)
from tests.legacy.shapes import STATE, changed, without
from tests.legacy.test_mapping import DEVICE, VIEW
from tests.providers.servers import Asked, Reply, http_server, loopback_dialler, tcp_server


@pytest.mark.parametrize(
    "shape", [changed("/registry/device_id", "id"), without("/registry/device_id")]
)
async def test_a_registry_answer_says_whose_ids_it_has(shape: dict[str, Any]) -> None:
    async with http_server(answer_well) as base, client_of() as client:
        registry = await client.load_registry("a", configured(f"{base}/v1/", shape=shape))
    assert registry.has_our_ids == ("device_id" in shape["registry"])


async def test_both_answers_are_read_with_the_credential() -> None:
    asked: list[Asked] = []

    def answer(one: Asked) -> Reply:
        asked.append(one)
        return answer_well(one)

    async with http_server(answer) as base, client_of() as client:
        registry = await client.load_registry("a/b", configured(f"{base}/v1/"))
        values = await client.load_values("a/b", configured(f"{base}/v1/"))
    assert (registry.devices, registry.unfit, registry.unfit_count) == ((DEVICE,), (), 0)
    assert (values.views, values.unfit, values.by_external_id) == ({"bus-1": VIEW}, (), {})
    assert [one.target for one in asked] == [
        "/v1/fleets/a%2Fb/vehicles",
        "/v1/fleets/a%2Fb/state",
    ]
    assert {one.headers["authorization"] for one in asked} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        ({"name": "X-API-Key", "form": "{secret}"}, ("x-api-key", SECRET)),
        (
            {"form": "Basic {secret_base64}"},
            ("authorization", "Basic czNjcmV0LXRva2VuLTk="),
        ),
    ],
)
async def test_the_credential_is_sent_in_its_form(
    header: dict[str, str], sent: tuple[str, str]
) -> None:
    found: list[tuple[str, str]] = []

    def answer(asked: Asked) -> Reply:
        found.extend(asked.headers.items())
        return answer_well(asked)

    async with http_server(answer) as base, client_of() as client:
        await client.load_values("north", configured(base, changed("/credential_header", header)))
    assert sent in found


async def test_without_a_credential_none_is_sent() -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(401) if "authorization" in asked.headers else answer_well(asked)

    async with http_server(answer) as base, client_of() as client:
        values = await client.load_values("north", configured(base, credential=None))
    assert values.views == {"bus-1": VIEW}


@pytest.mark.parametrize("status", [301, 307, 401, 404, 429, 500, 503])
async def test_an_error_status_is_named(status: int) -> None:
    headers = {"Location": "/elsewhere"}

    def answer(asked: Asked) -> Reply:
        return Reply(status, body=SECRET.encode(), headers=headers)

    async with http_server(answer) as base, client_of() as client:
        text = await unreachable(client, configured(base))
        again = await unreachable(client, configured(base))
    assert f"answered {status} at {base}/fleets/north/state" in text
    assert SECRET not in text
    assert again == text


async def test_a_secret_in_the_address_or_path_is_cut_out() -> None:
    """A careless base URL holds the credential; errors show it nowhere."""
    async with http_server(lambda _: Reply(500)) as base, client_of() as client:
        text = await unreachable(client, configured(f"{base}/{SECRET}?key={SECRET}"))
        gone = await unreachable(client, configured(f"http://127.0.0.1:1/{SECRET}/x"))
    assert "[redacted]" in text
    assert "[redacted]" in gone
    assert SECRET not in text + gone


@pytest.mark.parametrize(
    "body",
    [
        SECRET.encode(),
        orjson.dumps({"state": {"echo": SECRET}}),
        orjson.dumps({"error": f"unknown token {SECRET}"}),
        b"[" * 100_000,
    ],
)
async def test_an_answer_that_does_not_fit_has_a_clean_sample(body: bytes) -> None:
    async with http_server(lambda _: Reply(body=body)) as base, client_of() as client:
        fault = await unfit(client, configured(base))
    assert fault.sample
    assert len(fault.sample) <= 4096
    assert SECRET not in repr(fault.sample) + str(fault)


async def test_nan_costs_its_signal_only() -> None:
    body = orjson.dumps({"state": [STATE]}).replace(b'"soc":0.5', b'"soc":NaN')
    async with http_server(lambda _: Reply(body=body)) as base, client_of() as client:
        values = await client.load_values("north", configured(base))
    assert set(values.views["bus-1"].values) == set(VIEW.values) - {"soc_percent"}
    assert [one.expression for one in values.unfit] == ["/values/signals/soc_percent"]
    assert client.statistics().unfit_items == 1


@pytest.mark.parametrize(
    ("base", "part"),
    [
        ("http://127.0.0.1:1", "is unreachable"),
        ("http://10.1.2.3", "cannot be called"),
        ("ftp://127.0.0.1", "no http or https address"),
        ("http://", "no http or https address"),
        ("http://[::1", "no address"),
    ],
)
async def test_an_address_that_cannot_be_called_is_unreachable(base: str, part: str) -> None:
    async with client_of() as client:
        assert part in await unreachable(client, configured(base))


async def test_a_secret_that_is_missing_is_named_by_reference() -> None:
    async with client_of() as client:
        text = await unreachable(client, configured("http://127.0.0.1:1", credential="env:OTHER"))
    assert text == "the legacy system cannot be asked: the secret env:OTHER is missing"


async def test_a_secret_that_no_header_carries_is_not_sent() -> None:
    async def resolve_badly(_: str) -> str:
        return "two\r\nlines-of-secret"

    async with (
        HttpPool(loopback_dialler()) as pool,
        LegacyClient(LegacyHttp(pool), resolve_badly) as client,
    ):
        text = await unreachable(client, configured("http://127.0.0.1:1"))
    assert REFERENCE in text
    assert "lines-of-secret" not in text


async def test_a_body_without_end_is_cut_off() -> None:
    async def flood(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n[")
        while True:
            await stream.send_all(b" " * 65_536)

    async with (
        tcp_server(flood) as port,
        HttpPool(loopback_dialler(), max_response_bytes=100_000) as pool,
        LegacyClient(LegacyHttp(pool), resolve) as client,
    ):
        fault = await unfit(client, configured(f"http://127.0.0.1:{port}"))
    assert "more than 100000 bytes" in str(fault)
    assert "fewer devices" in str(fault)
    assert "poll" not in str(fault)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(302, "base_url"), (401, "`credential`"), (403, "`credential`"), (404, "the path in `shape`")],
)
async def test_a_refusal_says_what_to_check(status: int, remedy: str) -> None:
    async with http_server(lambda _: Reply(status)) as base, client_of() as client:
        text = await unreachable(client, configured(base))
    assert remedy in text


async def test_a_slow_system_is_unreachable_in_time() -> None:
    async def drip(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(0.05)

    async with tcp_server(drip) as port, client_of(deadline_seconds=0.5) as client:
        began = trio.current_time()
        text = await unreachable(client, configured(f"http://127.0.0.1:{port}"))
        took = trio.current_time() - began
    assert text == "the legacy system did not answer completely within 0.5 s"
    assert 0.4 < took < 3


async def test_the_deadline_is_that_of_all_pages() -> None:
    page = 0

    async def answer(asked: Asked) -> Reply:
        nonlocal page
        page += 1
        await trio.sleep(0.3)
        return Reply(body=orjson.dumps({"state": [STATE], "next": f"/state?page={page}"}))

    shape = changed("/values/paging", {"next_link": "next"})
    async with http_server(answer) as base, client_of(deadline_seconds=1.0) as client:
        text = await unreachable(client, configured(base, shape))
    assert "within 1 s" in text
    assert page <= 4


async def test_check_names_the_mistakes_and_does_no_call() -> None:
    async with client_of() as client:
        faults = client.check(configured("http://127.0.0.1:1", changed("/values/items", "a..b")))
        assert [fault.pointer for fault in faults] == ["/values/items"]
        assert client.check(configured("http://127.0.0.1:1")) == []


async def test_a_stored_shape_that_is_invalid_now_is_unfit() -> None:
    async with client_of() as client:
        fault = await unfit(client, configured("http://127.0.0.1:1", {"values": {}}))
    assert "/values/path: the member 'path' is missing" in str(fault)


async def test_a_registry_that_is_not_configured_is_unfit() -> None:
    async with client_of() as client:
        with pytest.raises(LegacyUnfit, match="no /registry"):
            await client.load_registry(
                "north", configured("http://127.0.0.1:1", without("/registry"))
            )


async def test_a_large_fleet_does_not_hold_the_loop() -> None:
    """5,000 devices are mapped while another task runs at least a hundred times."""
    body = orjson.dumps({"state": [{**STATE, "id": f"bus-{n}"} for n in range(5000)]})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with (
        http_server(lambda _: Reply(body=body)) as base,
        client_of(deadline_seconds=60) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(count)
        values = await client.load_values("north", configured(base))
        nursery.cancel_scope.cancel()
    assert len(values.views) == 5000
    assert isinstance(values.views["bus-0"], DeviceView)
    assert turns > 100
