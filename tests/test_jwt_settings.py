"""The settings of JWTs: what is refused, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lastheard.settings import Settings, load
from runtime.settings import SettingsError
from tests.api.issuer import COGNITO, KEYCLOAK

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD = {
    "LASTHEARD_JWT_ISSUER": "https://issuer.example/realms/fleet",
    "LASTHEARD_JWT_JWKS_URL": "https://issuer.example/realms/fleet/certs",
    "LASTHEARD_JWT_AUDIENCES": "lastheard",
}
ON_LOOPBACK = {
    "LASTHEARD_JWT_ISSUER": "http://localhost:8088/realms/fleet",
    "LASTHEARD_JWT_JWKS_URL": "http://127.0.0.1:8088/certs",
    "LASTHEARD_OUTBOUND_ALLOW": "localhost, 127.0.0.1",
}


def check(monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str]) -> Settings:
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.setenv(name, value)
    return load()


def test_a_whole_issuer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "LASTHEARD_JWT_AUDIENCES": "lastheard, 1234",
        "LASTHEARD_JWT_ALGORITHMS": "ES384 ,PS256",
        "LASTHEARD_JWT_ALL_WORKSPACES": "*",
    }
    found = check(monkeypatch, changes)
    assert found.jwt_audience_list == {"lastheard", "1234"}
    assert found.jwt_algorithm_list == {"ES384", "PS256"}


def test_plain_http_to_an_allowed_loopback_address_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check(monkeypatch, ON_LOOPBACK).jwt_issuer == ON_LOOPBACK["LASTHEARD_JWT_ISSUER"]


def test_by_default_no_issuer_is_configured() -> None:
    assert Settings().jwt_issuer is None


@pytest.mark.parametrize("settings", [COGNITO, KEYCLOAK], ids=["cognito", "keycloak"])
def test_the_settings_of_the_examples_are_taken(settings: Mapping[str, Any]) -> None:
    assert Settings(jwt_jwks_url="https://issuer.example/keys", **settings).jwt_issuer


WRONG = {
    "an issuer over HTTP": (
        {"LASTHEARD_JWT_ISSUER": "http://issuer.example"},
        "LASTHEARD_JWT_ISSUER must begin with https://",
    ),
    "keys over HTTP": (
        {"LASTHEARD_JWT_JWKS_URL": "http://issuer.example/certs"},
        "LASTHEARD_JWT_JWKS_URL must begin with https://",
    ),
    "loopback that is not allowed": (
        {**ON_LOOPBACK, "LASTHEARD_OUTBOUND_ALLOW": ""},
        "must begin with https://",
    ),
    "an address that is not allowed": (
        {"LASTHEARD_JWT_JWKS_URL": "https://10.0.0.7/certs"},
        "LASTHEARD_JWT_JWKS_URL cannot be used: 10.0.0.7 is a private or loopback address",
    ),
    "plain HTTP to an allowed private address": (
        {
            "LASTHEARD_JWT_JWKS_URL": "http://10.0.0.7/certs",
            "LASTHEARD_OUTBOUND_ALLOW": "10.0.0.0/8",
        },
        "must begin with https://",
    ),
    "an address of metadata": (
        {"LASTHEARD_JWT_JWKS_URL": "https://169.254.169.254/keys"},
        "never dialled",
    ),
    "no URL": ({"LASTHEARD_JWT_ISSUER": "keycloak"}, "LASTHEARD_JWT_ISSUER is not a URL"),
    "half a bracket": ({"LASTHEARD_JWT_JWKS_URL": "https://[::1/x"}, "is not a URL"),
    "a user": ({"LASTHEARD_JWT_JWKS_URL": "https://me@issuer.example/"}, "has a user"),
    "HS256": (
        {"LASTHEARD_JWT_ALGORITHMS": "RS256,HS256"},
        "HS256 is symmetric: whoever verifies its tokens can make them too",
    ),
    "none": ({"LASTHEARD_JWT_ALGORITHMS": "none"}, "not signed are never taken"),
    "an unknown algorithm": ({"LASTHEARD_JWT_ALGORITHMS": "RS265"}, "RS265 is not known"),
    "no algorithm": ({"LASTHEARD_JWT_ALGORITHMS": " , "}, "name at least one algorithm"),
    "no audience": (
        {"LASTHEARD_JWT_AUDIENCES": ""},
        "set LASTHEARD_JWT_AUDIENCES too, or none of them",
    ),
    "an audience alone": (
        {"LASTHEARD_JWT_ISSUER": "", "LASTHEARD_JWT_JWKS_URL": ""},
        "set LASTHEARD_JWT_ISSUER and LASTHEARD_JWT_JWKS_URL too",
    ),
    "a word for all that is an id": (
        {"LASTHEARD_JWT_ALL_WORKSPACES": "all"},
        "it could be the id of a workspace",
    ),
    "two words for all": ({"LASTHEARD_JWT_ALL_WORKSPACES": "* *"}, "a word has no spaces"),
    "kept for less than an age": (
        {"LASTHEARD_JWT_KEYS_SECONDS": "600", "LASTHEARD_JWT_KEYS_KEPT_SECONDS": "300"},
        "LASTHEARD_JWT_KEYS_KEPT_SECONDS is below",
    ),
}


@pytest.mark.parametrize(("changes", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check(monkeypatch, changes)
    (problem,) = caught.value.problems
    assert says in problem
    assert problem.startswith(("LASTHEARD_JWT_", "the settings together: "))
