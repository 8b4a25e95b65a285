"""The settings of the listeners and their limits: impossible ones are refused with a remedy."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from lastheard.http_limits import make_gate_limits, make_proxies
from lastheard.settings import load
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"http_max_in_flight_per_key": 100},
            "LASTHEARD_HTTP_MAX_IN_FLIGHT (128), or one key and strangers",
        ),
        ({"http_max_in_flight": 96}, "lower them, or raise it"),
        (
            {"http_max_in_flight_per_address": 40},
            "LASTHEARD_HTTP_MAX_IN_FLIGHT_WITHOUT_KEY (32), of which it is a part",
        ),
        ({"http_trusted_proxies": "10.0.0.0/8, proxy.example"}, "LASTHEARD_HTTP_TRUSTED_PROXIES"),
        ({"http_trusted_proxies": "10.0.0.1/8"}, "host bits set"),
        ({"http_forwarded_header": "x-real-ip"}, "'x-forwarded-for' or 'forwarded'"),
        ({"http_requests_per_second": 0}, "greater than 0"),
        ({"http_port": 8081}, "LASTHEARD_HTTP_PORT and LASTHEARD_PROBE_PORT are both 8081"),
    ],
)
def test_limits_that_cannot_work_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**given)
    assert says in str(caught.value)


def test_one_port_on_two_hosts_and_free_ones_are_fine() -> None:
    assert load(http_port=8081, probe_host="127.0.0.2").probe_port == 8081
    assert load(http_port=0, probe_port=0).http_port == 0


def test_networks_are_read_from_a_variable_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lastheard.toml"
    file.write_text('http_trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]\n', encoding="utf-8")
    wanted = (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"))
    assert load(file).http_trusted_proxies == wanted
    assert load(http_trusted_proxies="10.0.0.0/8, 192.0.2.7").http_trusted_proxies == wanted
    assert load(http_trusted_proxies="").http_trusted_proxies == ()


def test_every_limit_reaches_the_gate() -> None:
    settings = load(
        http_max_in_flight=20,
        http_max_in_flight_per_key=10,
        http_max_in_flight_without_key=5,
        http_max_in_flight_per_address=2,
        http_requests_per_second=7,
        http_wrong_keys_per_second=3,
        http_trusted_proxies="192.0.2.7",
        http_forwarded_header="forwarded",
    )
    limits = make_gate_limits(settings)
    places = limits.places
    assert (places.total, places.per_key, places.without_key, places.per_address) == (20, 10, 5, 2)
    assert (limits.requests_per_second, limits.wrong_keys_per_second) == (7, 3)
    headers = [(b"forwarded", b"for=198.51.100.7")]
    assert make_proxies(settings).find_client("192.0.2.7", headers) == "198.51.100.7"
