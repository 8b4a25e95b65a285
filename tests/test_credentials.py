"""What a provider connection may refer to, and what it may not."""

from pathlib import Path

import pytest

from lastheard.credentials import Credentials
from runtime.settings import SecretUnavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "acme").write_text("fleet-key\n")
    (tmp_path / "dsn").write_text("postgresql://u:p@h/d")
    return folder


def test_a_file_in_the_folder_is_read(folder: Path) -> None:
    assert Credentials(folder).resolve(f"file:{folder / 'acme'}") == "fleet-key"


def test_a_variable_named_for_the_purpose_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTHEARD_SECRET_ACME", "fleet-key")
    assert Credentials(folder).resolve("env:LASTHEARD_SECRET_ACME") == "fleet-key"


@pytest.mark.parametrize("target", ["../dsn", "link", "/etc/hostname"])
def test_a_file_outside_the_folder_is_out_of_bounds(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(folder.parent / "dsn")
    with pytest.raises(SecretUnavailable, match="out of bounds"):
        Credentials(folder).resolve(f"file:{folder / target}")


def test_the_dsn_in_the_environment_is_out_of_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTHEARD_DSN", "postgresql://u:p@h/d")
    with pytest.raises(SecretUnavailable, match="out of bounds"):
        Credentials(folder).resolve("env:LASTHEARD_DSN")
