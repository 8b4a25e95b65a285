"""Settings: a fault is reported once, under both names, with a remedy and without secrets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

import pytest
from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.settings import SecretReference, SecretUnavailable, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Http(BaseModel):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535, description="the port to listen on")


class House(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LASTHEARD_", env_nested_delimiter="__")

    shard_id: str
    log_format: Literal["auto", "json", "console"] = "auto"
    http: Http = Http()
    hosts: list[str] = []
    labels: dict[str, str] = {}
    dsn: SecretReference | None = None

    @model_validator(mode="after")
    def _console_is_local(self) -> House:
        if self.log_format == "console" and self.http.host == "0.0.0.0":
            raise ValueError("console logs are for one machine only")
        return self


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "lastheard.toml"


def problems(toml_path: Path | None = None, /, **env: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            House,
            toml_path=toml_path,
            env={f"LASTHEARD_{name}": value for name, value in env.items()},
        )
    return caught.value.problems


def test_variables_win_over_the_file_and_the_file_over_defaults(toml: Path) -> None:
    toml.write_text('shard_id = "file"\nhosts = ["a"]\n[http]\nhost = "::1"\nport = 81\n')
    settings = load_settings(
        House, toml_path=toml, env={"LASTHEARD_HTTP__PORT": "82", "PATH": "/bin"}
    )
    assert settings == House.model_construct(
        shard_id="file",
        log_format="auto",
        http=Http(host="::1", port=82),
        hosts=["a"],
        labels={},
        dsn=None,
    )
    assert type(settings) is House


def test_lists_and_mappings_are_read_as_json_or_by_name() -> None:
    env = {
        "LASTHEARD_SHARD_ID": "s",
        "LASTHEARD_HOSTS": '["a", "b"]',
        "LASTHEARD_LABELS__ZONE": "eu",
    }
    settings = load_settings(House, toml_path=None, env=env)
    assert (settings.hosts, settings.labels) == (["a", "b"], {"zone": "eu"})


def test_the_real_environment_is_read_only_without_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LASTHEARD_SHARD_ID", "real")
    assert load_settings(House, toml_path=None).shard_id == "real"
    with pytest.raises(SettingsError):
        load_settings(House, toml_path=None, env={})


def test_a_wrong_value_is_named_with_variable_key_and_remedy() -> None:
    assert problems(SHARD_ID="s", HTTP__PORT="eighty") == (
        "LASTHEARD_HTTP__PORT (TOML key http.port): 'eighty' from the environment is wrong: "
        "Input should be a valid "
        "integer, unable to parse string as an integer - the port to listen on (default 8080)",
    )


def test_a_wrong_value_in_the_file_names_the_file(toml: Path) -> None:
    toml.write_text('shard_id = "s"\nlog_format = "xml"\n')
    assert problems(toml) == (
        f"LASTHEARD_LOG_FORMAT (TOML key log_format): 'xml' from {toml} is wrong: "
        "Input should be 'auto', 'json' or 'console' (default 'auto')",
    )


def test_a_missing_setting_says_so_under_both_names() -> None:
    assert problems() == (
        "LASTHEARD_SHARD_ID (TOML key shard_id): is required, "
        "and neither the environment nor the file has it",
    )


def test_every_problem_is_reported_at_once(toml: Path) -> None:
    toml.write_text("[http]\nport = 0\nprot = 1\n")
    found = problems(toml, LOG_FROMAT="json")
    assert [problem.split(":")[0].split(" (")[0] for problem in found] == [
        f"TOML key http.prot in {toml}",
        "LASTHEARD_LOG_FROMAT",
        "LASTHEARD_SHARD_ID",
        "LASTHEARD_HTTP__PORT",
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("SHARDID", "SHARD_ID"), ("HTTP__PROT", "HTTP__PORT"), ("HTTP_PORT", "HTTP__PORT")],
)
def test_an_unknown_variable_suggests_the_closest_known_one(variable: str, meant: str) -> None:
    found = problems(SHARD_ID="s", **{variable: "1"})
    assert found == (f"LASTHEARD_{variable}: no such setting; did you mean LASTHEARD_{meant}?",)


def test_an_unknown_key_unlike_every_known_one_suggests_nothing(toml: Path) -> None:
    toml.write_text('shard_id = "s"\nzzz = 1\n')
    assert problems(toml) == (f"TOML key zzz in {toml}: no such setting",)


def problems_of_retired(toml_path: Path | None, env: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(House, toml_path=toml_path, env=env, retired={"old": "It is measured."})
    return caught.value.problems


def test_a_setting_that_is_gone_is_said_to_be_gone(toml: Path) -> None:
    gone = "no longer a setting: remove it. It is measured."
    shard = {"LASTHEARD_SHARD_ID": "s"}
    toml.write_text("old = 1\n")
    assert problems_of_retired(toml, shard) == (f"TOML key old in {toml}: {gone}",)
    assert problems_of_retired(None, {**shard, "LASTHEARD_OLD": "1"}) == (f"LASTHEARD_OLD: {gone}",)


def test_secrets_that_references_name_are_not_settings() -> None:
    env = {
        "LASTHEARD_SHARD_ID": "s",
        "LASTHEARD_DSN": "env:LASTHEARD_MY_DSN",
        "LASTHEARD_MY_DSN": "postgres://…",
        "LASTHEARD_SECRET_VIRICITI": "x",
        "LASTHEARD_CONFIG": "lastheard.toml",
    }
    settings = load_settings(House, toml_path=None, env=env, also_known={"LASTHEARD_CONFIG"})
    assert settings.dsn == SecretReference("env:LASTHEARD_MY_DSN")


@pytest.mark.parametrize(
    "given", ["hunter2", "postgres://app:hunter2@db/fleet", "hunter2:", "env:"]
)
def test_a_secret_instead_of_a_reference_is_refused_unrepeated(given: str) -> None:
    (problem,) = problems(SHARD_ID="s", DSN=given)
    assert "LASTHEARD_DSN (TOML key dsn): [redacted] from the environment is wrong" in problem
    assert re.search("env:NAME.*file:PATH|file:PATH.*env:NAME", problem)
    assert "hunter2" not in problem


def test_the_error_carries_no_secret_in_its_context() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            House, toml_path=None, env={"LASTHEARD_SHARD_ID": "s", "LASTHEARD_DSN": "hunter2"}
        )
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_broken_json_in_a_variable_is_a_wrong_value() -> None:
    (problem,) = problems(SHARD_ID="s", HOSTS="a, b")
    assert problem.startswith(
        "LASTHEARD_HOSTS (TOML key hosts): 'a, b' from the environment is wrong: Input should be"
    )


def test_a_rule_over_several_settings_has_its_own_message() -> None:
    found = problems(SHARD_ID="s", LOG_FORMAT="console", HTTP__HOST="0.0.0.0")
    assert found == ("the settings together: console logs are for one machine only",)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"a = \n", "is not TOML"), (b"\xff\xfe", "not UTF-8 text")]
)
def test_a_file_that_is_not_toml_is_named(content: bytes, reason: str, toml: Path) -> None:
    toml.write_bytes(content)
    (problem,) = problems(toml)
    assert problem.startswith(f"the file {toml}")
    assert reason in problem


def test_a_missing_file_is_named(toml: Path) -> None:
    assert problems(toml) == (f"the file {toml} cannot be read: No such file or directory",)


def test_the_text_lists_every_problem() -> None:
    with pytest.raises(SettingsError, match="the settings have 2 problems:\n  - LASTHEARD_X"):
        load_settings(House, toml_path=None, env={"LASTHEARD_X": "1"})


def test_a_reference_reads_a_variable_or_a_file_less_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hunter2\n\n")
    assert SecretReference("env:KEY").resolve({"KEY": "abc\r\n"}) == "abc"
    assert SecretReference(f"file:{path}").resolve() == "hunter2\n"


def test_a_reference_reads_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    reference = SecretReference(f"file:{path}")
    values = []
    for value in ("old", "new"):
        path.write_text(value)
        values.append(reference.resolve())
    assert values == ["old", "new"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfehunter2", b"hunter2" * 10_000])
def test_an_unusable_secret_is_named_by_its_reference_only(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SecretUnavailable) as caught:
        SecretReference(f"file:{path}").resolve()
    assert f"file:{path}" in str(caught.value)
    assert "hunter2" not in repr(
        (caught.value, caught.value.__context__ and caught.value.__suppress_context__ is False)
    )


@pytest.mark.parametrize(
    ("reference", "permanent"), [("env:NOT_THERE", True), ("file:/nowhere/secret", False)]
)
def test_a_missing_secret_says_whether_waiting_can_help(reference: str, permanent: bool) -> None:
    with pytest.raises(SecretUnavailable, match=reference) as caught:
        SecretReference(reference).resolve({})
    assert caught.value.permanent is permanent


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_reference_of_a_setting_reads_a_regular_file_only(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    """Anywhere on the machine, but without waiting for somebody to write into it."""
    path = tmp_path / "secret"
    make(path)
    with pytest.raises(SecretUnavailable, match="is not a regular file"):
        SecretReference(f"file:{path}").resolve()


def test_a_secret_that_never_ends_is_refused() -> None:
    with pytest.raises(SecretUnavailable, match="is not a regular file"):
        SecretReference("file:/dev/zero").resolve()


def test_an_empty_variable_is_no_secret() -> None:
    with pytest.raises(SecretUnavailable, match="env:KEY is empty"):
        SecretReference("env:KEY").resolve({"KEY": "\n"})


def test_a_reference_shows_itself_and_does_not_change() -> None:
    reference = SecretReference("env:KEY")
    assert (str(reference), repr(reference)) == ("env:KEY", "SecretReference('env:KEY')")
    assert (reference == SecretReference("env:KEY"), hash(reference)) == (
        True,
        hash(SecretReference("env:KEY")),
    )
    with pytest.raises(AttributeError):
        reference.target = "OTHER"


def test_a_reference_travels_through_pydantic() -> None:
    class Connection(BaseModel):
        credential: SecretReference

    connection = Connection.model_validate_json('{"credential": "env:KEY"}')
    assert connection.model_dump(mode="json") == {"credential": "env:KEY"}
    assert Connection(credential=SecretReference("env:KEY")) == connection
    for mode in ("validation", "serialization"):
        assert (
            Connection.model_json_schema(mode=mode)["properties"]["credential"]["type"] == "string"
        )
