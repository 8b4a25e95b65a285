"""compose.yaml and deploy/new-secrets against the code, and the checker against broken files.

Nothing is started.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import yaml

from lastheard.settings import Settings
from runtime.settings import load_settings
from tests.architecture.source import ROOT
from tests.deployment import facts
from tests.deployment.probes import seconds
from tests.deployment.schemas import compose_refusals
from tests.deployment.stack import stack_problems

if TYPE_CHECKING:
    from pathlib import Path

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def test_the_compose_file_fits_the_code() -> None:
    assert stack_problems(COMPOSE) == []


def test_the_compose_file_has_the_form_of_the_specification() -> None:
    assert compose_refusals(COMPOSE) == []


# What is replaced, by what, and a word of the schema's refusal.
MALFORMED = [
    ("stop_grace_period: 60s", "stop_grace: 60s", "'stop_grace'"),
    ("read_only: true", "readonly: true", "'readonly'"),
    ("retries: 20", "retry: 20", "'retry'"),
    ("condition: service_healthy", "condition: service_alive", "'service_alive'"),
    ("profiles: [shards]", "profiles: shards", "'shards' is not of type 'array'"),
    ("cap_drop: [ALL]", "cap_drop: ALL", "'ALL' is not of type 'array'"),
    ("services:\n", "service:\n", "'service'"),
    ("file: .lastheard/secrets/postgres_password", "content: hunter2", "'content'"),
]


@pytest.mark.parametrize(("found", "put", "refusal"), MALFORMED)
def test_a_malformed_compose_file_is_refused(found: str, put: str, refusal: str) -> None:
    assert found in COMPOSE
    assert refusal in "\n".join(compose_refusals(COMPOSE.replace(found, put)))


# What is replaced, by what, and a word of the refusal.
BROKEN = [
    ("postgres:18-bookworm", "postgres:latest", "no fixed tag"),
    ("postgres:18-bookworm", "postgres", "no fixed tag"),
    ("image: lastheard:0.2.0.dev0", "image: lastheard:0.0.9", "not of this release"),
    ('["lastheard", "serve"]', '["lastheard", "run"]', "no such command"),
    ('["lastheard", "serve"]', '["lastheard", "serve", "--workers", "4"]', "--workers"),
    ('["lastheard", "migrate"]', '["lastheard", "migrate", "--yes"]', "--yes"),
    (
        '["lastheard", "migrate"]',
        '["lastheard", "config", "check"]',
        "nobody runs `lastheard migrate`",
    ),
    ('"--rfms-tenants"', '"--rfms"', "--rfms"),
    ('"--devices", "200"', '"--devices", "many"', "--devices"),
    ("LASTHEARD_SHARD_ID:", "LASTHEARD_SHARD:", "no such setting"),
    ("LASTHEARD_SHARD_ID: shard-1", "LASTHEARD_SHARD_ID: -1", "LASTHEARD_SHARD_ID"),
    ("LASTHEARD_SHARD_ID: shard-1", "LASTHEARD_POOL_SIZE: 8", "new shard"),
    (
        "LASTHEARD_SHARD_ID: shard-1",
        "LASTHEARD_DSN: postgresql://u:p@database/l",
        "secret in the file",
    ),
    ("LASTHEARD_SHARD_ID: shard-1", "LASTHEARD_SECRET_FLEET: hunter2", "secret in the file"),
    (
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
        "POSTGRES_PASSWORD: x",
        "secret in the file",
    ),
    ("stop_grace_period: 30s", "stop_grace_period: 20s", "killed after 20 s"),
    ("    stop_grace_period: 30s\n", "", "killed after 10 s"),
    ("'/readyz'", "'/ready'", "/ready"),
    ("'127.0.0.1', 8081", "'127.0.0.1', 8080", "asks 127.0.0.1:8080"),
    ("'127.0.0.1', 8081, timeout=4", "'127.0.0.1', 8081, timeout=9", "killed after 6 s"),
    ("127.0.0.1:8080:8080", "127.0.0.1:8080:80", "listens on 8080"),
    (
        "LASTHEARD_SHARD_ID: shard-2",
        "LASTHEARD_SHARD_ID: shard-1",
        "one id for several shards: shard-1",
    ),
    (
        "127.0.0.1:8081:8080",
        "127.0.0.1:8080:8080",
        "one address for several shards: 127.0.0.1:8080",
    ),
    ("LASTHEARD_SHARD_ID: shard-3", "LASTHEARD_DRAIN_SECONDS: 10", "may take 39.6 s"),
    ("/sim/statistics", "/sim/status", "/sim/status"),
    ('"--port", "9100"', '"--port", "9200"', "9200"),
    ("service_completed_successfully", "service_started", "does not wait"),
    ("      migrate: {", "      migrations: {", "does not exist: migrations"),
    (
        "      migrate: { condition: service_completed_successfully }",
        "      database: { condition: service_healthy }",
        "schema",
    ),
    ('restart: "no"', "restart: always", "again and again"),
    ("read_only: true", "read_only: false", "may write"),
    ("    secrets: [lastheard_settings]\n", "", "not granted"),
    ("secrets: [postgres_password]", "secrets: [postgres_passwort]", "no such secret"),
    (
        "    file: .lastheard/secrets/postgres_password",
        "    environment: PASSWORD",
        "neither a file nor external",
    ),
]


@pytest.mark.parametrize(("found", "put", "refusal"), BROKEN)
def test_a_broken_compose_file_is_refused(found: str, put: str, refusal: str) -> None:
    assert found in COMPOSE
    assert refusal in "\n".join(stack_problems(COMPOSE.replace(found, put)))


def test_the_grace_period_is_compared_with_what_service_py_says() -> None:
    """Six steps, the watchdog's margin and closing. This sum and the files follow the budgets."""
    assert facts.shutdown_seconds() == pytest.approx(19.6 + 5 + 5)
    assert facts.shutdown_seconds(drain_seconds=7.5) == pytest.approx(7.5 + 19.6 + 5 + 5)


def test_the_profile_makes_it_three_shards_on_one_database() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    shards = {
        name: service
        for name, service in services.items()
        if service.get("command", ["", ""])[1] == "serve"
    }
    assert {
        name: service["environment"]["LASTHEARD_SHARD_ID"] for name, service in shards.items()
    } == {name: name for name in ("shard-1", "shard-2", "shard-3")}
    assert [service.get("profiles") for service in shards.values()] == [
        None,
        ["shards"],
        ["shards"],
    ]
    own = ("profiles", "environment", "ports")
    alike = [
        {key: value for key, value in service.items() if key not in own}
        for service in shards.values()
    ]
    assert alike == alike[:1] * 3


def test_a_duration_is_read_as_docker_writes_it() -> None:
    assert [seconds("45s"), seconds("1m30s"), seconds("500ms")] == [45.0, 90.0, 0.5]
    with pytest.raises(ValueError, match="not a duration"):
        seconds("45")


def test_new_secrets_writes_what_the_compose_file_mounts(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert run_new_secrets(folder) == 0
    password = (folder / "postgres_password").read_text().strip()
    settings = load_settings(Settings, toml_path=folder / "lastheard.toml", env={})
    dsn = urlsplit(settings.dsn or "")

    assert len(password) == 48
    assert dsn.password == password
    database = yaml.safe_load(COMPOSE)["services"]["database"]["environment"]
    assert (dsn.username, dsn.path) == (database["POSTGRES_USER"], f"/{database['POSTGRES_DB']}")
    assert (dsn.hostname, dsn.port) == ("database", 5432)
    assert folder.stat().st_mode & 0o777 == 0o700
    # In the container another user reads it.
    assert (folder / "lastheard.toml").stat().st_mode & 0o777 == 0o644
    named = {
        secret["file"].rpartition("/")[2] for secret in yaml.safe_load(COMPOSE)["secrets"].values()
    }
    assert {path.name for path in folder.iterdir()} == named


def test_new_secrets_never_replaces_the_password_of_a_database(tmp_path: Path) -> None:
    run_new_secrets(tmp_path)
    before = (tmp_path / "postgres_password").read_text()
    assert run_new_secrets(tmp_path) == 1
    assert (tmp_path / "postgres_password").read_text() == before


def run_new_secrets(folder: Path) -> int:
    script = ROOT / "deploy" / "new-secrets"
    return subprocess.run([script, folder], capture_output=True, check=False, timeout=30).returncode
