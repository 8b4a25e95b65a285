"""The settings of the two HTTP listeners: where they listen, and how much each caller may take.

A part of lastheard/settings.py. lastheard/http_limits.py turns them into limits.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from api.addresses import ForwardedHeader  # noqa: TC001 - pydantic needs it when the class is made
from api.settings_pages import SettingsPages


class HttpSettings(BaseModel):
    """Addresses, ports and limits of the API's listener and of the probes'."""

    http_host: Annotated[str, Field(description="address the API listens on")] = "127.0.0.1"
    http_port: Annotated[
        int, Field(ge=0, le=65535, description="port the API listens on; 0 picks a free one")
    ] = 8080
    probe_host: Annotated[
        str | None,
        Field(description="address the probes are answered on; that of the API when unset"),
    ] = None
    probe_port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            description="port the probes (/healthz, /readyz) are answered on; 0 picks a free one; "
            "each shard of one machine needs another",
        ),
    ] = 8081

    metrics_open: Annotated[
        bool,
        Field(
            description="answer /metrics, on the probes' port, without a key; else it needs one of "
            "scope read that is not limited to workspaces"
        ),
    ] = False
    settings_pages: Annotated[
        str,
        Field(
            description="workspaces that have a settings page (the flag "
            "`workspace-telematics-mvp-settings`): `*` for all, `*,!a` for all but a, `a,b` for "
            "these only, none when empty; an embedded database has all"
        ),
    ] = "*"

    http_max_connections: Annotated[
        int,
        Field(
            ge=10,
            le=50_000,
            description="open connections to the API; for one more, the one that has waited "
            "longest is closed",
        ),
    ] = 1000
    http_max_connections_per_address: Annotated[
        int,
        Field(
            ge=1,
            le=50_000,
            description="open connections to the API from one address; a trusted proxy has no such "
            "limit",
        ),
    ] = 200
    http_max_in_flight: Annotated[
        int, Field(ge=4, le=1000, description="requests in flight on the API")
    ] = 128
    http_max_in_flight_per_key: Annotated[
        int, Field(ge=1, le=1000, description="requests in flight that one key may have")
    ] = 64
    http_max_in_flight_without_key: Annotated[
        int, Field(ge=1, le=1000, description="requests in flight of everybody without a good key")
    ] = 32
    http_max_in_flight_per_address: Annotated[
        int,
        Field(ge=1, le=1000, description="requests in flight of one address without a good key"),
    ] = 8
    http_requests_per_second: Annotated[
        float,
        Field(
            gt=0,
            le=1_000_000,
            description="requests of one key, or of one address without a key; more get 429",
        ),
    ] = 1000.0
    http_wrong_keys_per_second: Annotated[
        float,
        Field(
            gt=0, le=1_000_000, description="wrong keys of one address that get 401; more get 429"
        ),
    ] = 10.0
    http_trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        Field(
            description="networks whose forwarding header is believed, as 10.0.0.0/8,192.0.2.7; "
            "none when empty"
        ),
    ] = ()
    http_forwarded_header: Annotated[
        ForwardedHeader,
        Field(description="the header in which trusted proxies write the client's address"),
    ] = "x-forwarded-for"

    @field_validator("settings_pages")
    @classmethod
    def _check_settings_pages(cls, value: str) -> str:
        SettingsPages.parse(value)
        return value

    @field_validator("http_trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        """Return a list of networks: from a variable's text with commas, or from a file's list."""
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return [_network(part) for part in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        same_host = self.probe_host in (None, self.http_host)
        if same_host and self.probe_port == self.http_port != 0:
            raise ValueError(
                f"LASTHEARD_HTTP_PORT and LASTHEARD_PROBE_PORT are both {self.http_port}: give "
                "each its own, or 0"
            )
        return self

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        """Refuse shares with which one key and all strangers could take every place.

        A share must not exceed the share that it is a part of.
        """
        if (
            self.http_max_in_flight_per_key + self.http_max_in_flight_without_key
            >= self.http_max_in_flight
        ):
            raise ValueError(
                "LASTHEARD_HTTP_MAX_IN_FLIGHT_PER_KEY and LASTHEARD_HTTP_MAX_IN_FLIGHT_WITHOUT_KEY "
                f"together must be below LASTHEARD_HTTP_MAX_IN_FLIGHT ({self.http_max_in_flight}), "
                "or one key and strangers could take all places: lower them, or raise it"
            )
        if self.http_max_in_flight_per_address > self.http_max_in_flight_without_key:
            raise ValueError(
                "LASTHEARD_HTTP_MAX_IN_FLIGHT_PER_ADDRESS is above "
                "LASTHEARD_HTTP_MAX_IN_FLIGHT_WITHOUT_KEY "
                f"({self.http_max_in_flight_without_key}), of which it is a part: lower it, or "
                "raise that"
            )
        return self


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(text))
    except ValueError as error:
        raise ValueError(
            f"{error}; a network is an address, or one with a prefix: 10.0.0.0/8"
        ) from None
