"""The settings of this service: names, meanings, defaults. runtime/settings.py loads them.

Every setting is a variable `LASTHEARD_…` or a key of a TOML file (`LASTHEARD_CONFIG`, or
`--config`). Secrets are given by reference (`env:NAME`, `file:PATH`). The database's password may
also be in the DSN, which is never logged.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.settings_pages import EVERYWHERE, SettingsPages
from lastheard.http_settings import HttpSettings
from lastheard.jwt_settings import JwtSettings
from lastheard.trace_settings import TraceSettings
from ports.ingest import WRITERS
from providers.http import MAX_ANSWER_BYTES
from runtime.outbound import Allowance
from runtime.settings import SecretReference, load_settings
from storage.dsn import check_dsn

CONFIG_VARIABLE = "LASTHEARD_CONFIG"
RETIRED = {"cursor_key": "The key that signs page cursors is in the database."}
HEARTBEAT_CONNECTIONS = 1  # of pool_size (storage/pools.py)
SHARD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

Days = Annotated[int, Field(ge=1, le=3650)]


class ProcessSettings(BaseSettings):
    """The settings that are about neither HTTP, nor JWTs, nor traces."""

    model_config = SettingsConfigDict(
        env_prefix="LASTHEARD_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    dsn: Annotated[
        str | None,
        Field(
            repr=False,
            description="PostgreSQL to use: postgresql://user:password@host[,host]/database",
        ),
    ] = None
    embedded: Annotated[
        bool,
        Field(
            description="without a dsn, run a PostgreSQL of our own inside data_dir (laptops and "
            "demos)"
        ),
    ] = False
    data_dir: Annotated[
        Path, Field(description="where the embedded PostgreSQL and the demo's key live")
    ] = Path(".lastheard")
    credentials_dir: Annotated[
        Path | None,
        Field(
            description="the folder whose files provider connections may refer to; "
            "data_dir/credentials when unset"
        ),
    ] = None
    shard_id: Annotated[
        str,
        Field(
            default_factory=socket.gethostname,
            description="stable name of this process among the shards of one database; the host's "
            "name when unset",
        ),
    ]
    paused: bool = Field(
        False,
        description="collect nothing: no cycles, streams or calls of its own; clients may send",
    )

    log_format: Annotated[
        Literal["auto", "json", "console"],
        Field(description="auto: colours on a terminal, JSON elsewhere"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="the lowest level that is written"),
    ] = "info"

    pool_size: Annotated[
        int,
        Field(
            ge=4,
            le=100,
            description="database connections of this process, besides one that listens for "
            "notices",
        ),
    ] = 10
    api_pool_size: Annotated[
        int | None,
        Field(
            ge=1,
            description="how many of pool_size are for requests; when unset, "
            "(pool_size - 3) // 2, but at least 1",
        ),
    ] = None
    stream_window_seconds: Annotated[
        float,
        Field(
            ge=0.05,
            le=60.0,
            description="how long a stream's values are coalesced before they are stored",
        ),
    ] = 1.0
    min_poll_interval_seconds: Annotated[
        int,
        Field(
            ge=2,
            le=3600,
            description="shortest poll interval a workspace may have; demos and tests use 2",
        ),
    ] = 60
    roster_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="age of the newest answer that names every vehicle of an account, past "
            "which a poll asks for another; 0: not because of its age",
        ),
    ] = 43_200.0
    roster_while_silent_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="the same while a device is stale or was never heard; 0: not because of it",
        ),
    ] = 1800.0
    event_days: Days = Field(90, description="days for which events and quarantine are kept")
    edge_days: Days = Field(90, description="days for which edges, changes of a fact, are kept")
    cycle_days: Days = Field(30, description="days for which poll cycles are kept one by one")
    rejection_days: Days = Field(30, description="days for which the ledger is kept hour by hour")
    span_days: Days = Field(90, description="days for which spans of cycles and refusals are kept")
    ttl_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=120,
            description="how long a heartbeat is valid; then others take over a silent shard's "
            "work",
        ),
    ] = 15.0
    drain_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=60,
            description="how long readiness is off before the listener closes, for load balancers",
        ),
    ] = 0.0
    max_provider_connections: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="concurrent HTTP calls to providers; one workspace has a quarter of them "
            "at most",
        ),
    ] = 100
    max_answer_bytes: Annotated[
        int,
        Field(
            ge=65_536,
            le=1_073_741_824,
            description="largest answer of a provider over HTTP, unpacked; it is held in memory",
        ),
    ] = MAX_ANSWER_BYTES

    outbound_allow: Annotated[
        str,
        Field(
            description="private hosts and networks that connections may lead to, with commas "
            "between: names, addresses, CIDR; link-local and metadata addresses stay closed"
        ),
    ] = ""

    address: Annotated[
        str,
        Field(
            description="where the commands that ask the API (health, apply, …) find it, or --url"
        ),
    ] = "http://127.0.0.1:8080"
    key: Annotated[
        SecretReference | None,
        Field(description="API key of these commands, by reference (env:NAME, file:PATH)"),
    ] = None

    @property
    def credentials_folder(self) -> Path:
        """The folder that `file:` references of provider connections must be in."""
        return self.credentials_dir or self.data_dir / "credentials"

    @property
    def allowance(self) -> Allowance:
        """`outbound_allow` as the dialler reads it."""
        return Allowance.parse(self.outbound_allow)

    @field_validator("outbound_allow")
    @classmethod
    def _check_outbound_allow(cls, value: str) -> str:
        Allowance.parse(value)
        return value

    @field_validator("shard_id")
    @classmethod
    def _check_shard_id(cls, value: str) -> str:
        if not SHARD_ID.fullmatch(value):
            raise ValueError(
                "use 1 to 63 letters, digits, dots, dashes and underscores, beginning with a "
                "letter or digit"
            )
        return value

    @field_validator("credentials_dir")
    @classmethod
    def _check_credentials_dir(cls, value: Path | None) -> Path | None:
        """Refuse `/`: every file of the machine is in it, those of /proc too."""
        if value is not None and not os.path.abspath(value).strip("/"):
            raise ValueError("give a folder that holds nothing but credentials, not /")
        return value

    @field_validator("dsn")
    @classmethod
    def _check_dsn(cls, value: str | None) -> str | None:
        """Return None for an empty DSN, so that a variable can unset the DSN of a file."""
        if value == "":
            return None
        if value is not None:
            check_dsn(value)
        return value

    @property
    def api_connections(self) -> int:
        """The number of database connections that requests may hold."""
        first = HEARTBEAT_CONNECTIONS + 2  # writers
        return self.api_pool_size or max(1, (self.pool_size - first) // 2)

    @property
    def writers(self) -> int:
        """The number of units in flight, each on a connection of its own.

        In a small pool there are fewer: writing gets half of what is left, and collecting the rest.
        """
        left = self.pool_size - HEARTBEAT_CONNECTIONS - self.api_connections
        return max(1, min(WRITERS, (left + 1) // 2))

    @property
    def collecting_connections(self) -> int:
        """The number of database connections for cycles, leases and configuration."""
        return self.pool_size - HEARTBEAT_CONNECTIONS - self.writers - self.api_connections

    @model_validator(mode="after")
    def _check_connections(self) -> Self:
        if self.collecting_connections < 1:
            raise ValueError(
                f"LASTHEARD_API_POOL_SIZE={self.api_pool_size} leaves nothing of "
                f"LASTHEARD_POOL_SIZE={self.pool_size} for collecting: at most "
                f"{self.pool_size - HEARTBEAT_CONNECTIONS - 2}, or a larger pool"
            )
        return self

    @model_validator(mode="after")
    def _check_database(self) -> Self:
        if self.dsn is not None and self.embedded:
            raise ValueError(
                "LASTHEARD_DSN and LASTHEARD_EMBEDDED exclude each other: unset one of them"
            )
        return self


class Settings(TraceSettings, JwtSettings, HttpSettings, ProcessSettings):
    """The settings of one process. Immutable once loaded."""

    @property
    def settings_pages_flag(self) -> SettingsPages:
        """`settings_pages` as the pages read it. In development it is always on."""
        return EVERYWHERE if self.embedded else SettingsPages.parse(self.settings_pages)

    @model_validator(mode="after")
    def _check_jwt_urls(self) -> Self:
        self.check_jwt_urls(self.allowance)
        return self


def load(config: Path | None = None, **overrides: object) -> Settings:
    """Return the settings from file, environment and command line; a later source wins.

    Raises SettingsError that names every fault.
    """
    env = dict(os.environ)
    path = config or (Path(env[CONFIG_VARIABLE]) if env.get(CONFIG_VARIABLE) else None)
    for name, value in overrides.items():
        if value is not None:
            env[f"LASTHEARD_{name.upper()}"] = str(value)
    known = (CONFIG_VARIABLE, "LASTHEARD_TEST_DSN")
    return load_settings(Settings, toml_path=path, env=env, also_known=known, retired=RETIRED)
