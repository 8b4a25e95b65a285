"""Databases in the field have run the released migrations: their files never change again."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import storage.migrations

MIGRATIONS = Path(storage.migrations.__file__).parent
RELEASED: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("released_migrations.toml").read_text()
)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def test_released_migrations_never_change() -> None:
    recorded = {name: digest for release in RELEASED.values() for name, digest in release.items()}
    assert recorded
    assert {name: sha256_of(MIGRATIONS / "versions" / name) for name in recorded} == recorded


def test_every_release_of_the_changelog_is_recorded() -> None:
    changelog = (MIGRATIONS.parents[1] / "CHANGELOG.md").read_text()
    assert set(re.findall(r"^## (\d+\.\d+\.\d+) ", changelog, re.MULTILINE)) == RELEASED.keys()


def test_a_revision_has_one_file() -> None:
    files = sorted(path.name for path in (MIGRATIONS / "versions").glob("v*.py"))
    revisions = [
        re.search(
            r'^revision = "(\d+)"', (MIGRATIONS / "versions" / name).read_text(), re.MULTILINE
        )
        for name in files
    ]
    assert [found and found[1] for found in revisions] == [
        f"{number:04d}" for number in range(1, len(files) + 1)
    ]
