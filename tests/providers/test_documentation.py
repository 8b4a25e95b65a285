"""The README of each provider names its settings, labels and signals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from providers.rfms.settings import RfmsSettings
from providers.viriciti.settings import ViriCitiSettings
from providers.viriciti.wire import LABELS

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]


def text_of(provider: str) -> str:
    return (ROOT / "providers" / provider / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("provider", "settings"), [("rfms", RfmsSettings), ("viriciti", ViriCitiSettings)]
)
def test_the_readme_names_every_setting(provider: str, settings: type[BaseModel]) -> None:
    _, _, section = text_of(provider).partition("## Settings")
    missing = [name for name in settings.model_fields if f"`{name}`" not in section]
    assert missing == [], f"name them under Settings in providers/{provider}/README.md"


def test_the_readme_names_every_label_and_its_signal() -> None:
    named = text_of("viriciti")
    missing = [word for pair in LABELS.items() for word in pair if f"`{word}`" not in named]
    assert missing == [], "name them in the table of providers/viriciti/README.md"
