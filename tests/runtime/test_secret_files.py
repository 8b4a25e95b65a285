"""The size of a secret file: as opened, and as read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runtime.secret_files import MAX_SECRET_BYTES, SecretFileFault, read_secret_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def grow_after_the_check(file: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file have so many bytes when its first part is read, after its size was checked."""
    read = os.read

    def grow(opened: int, count: int) -> bytes:
        monkeypatch.setattr(os, "read", read)
        file.write_bytes(b"x" * size)
        return read(opened, count)

    monkeypatch.setattr(os, "read", grow)


def test_a_secret_may_have_64_kib(file: Path) -> None:
    file.write_bytes(b"x" * MAX_SECRET_BYTES)
    assert read_secret_file(str(file)) == b"x" * MAX_SECRET_BYTES == b"x" * 65_536


def test_a_larger_file_is_refused_without_reading(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    monkeypatch.delattr(os, "read")
    with pytest.raises(SecretFileFault, match="is larger than 65536 bytes"):
        read_secret_file(str(file))


def test_a_file_that_grows_to_the_limit_is_read_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"x")
    grow_after_the_check(file, MAX_SECRET_BYTES, monkeypatch)
    assert read_secret_file(str(file)) == b"x" * MAX_SECRET_BYTES


def test_a_file_that_grows_past_the_limit_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"x")
    grow_after_the_check(file, MAX_SECRET_BYTES + 1, monkeypatch)
    with pytest.raises(SecretFileFault, match="is larger than 65536 bytes"):
        read_secret_file(str(file))


def test_a_file_read_in_parts_is_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may return less than was asked for."""
    file.write_bytes(b"fleet-key")
    read = os.read
    monkeypatch.setattr(os, "read", lambda opened, _count: read(opened, 2))
    assert read_secret_file(str(file)) == b"fleet-key"
