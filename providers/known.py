"""The table of provider types: a new one is added here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.push import Push
from providers.rfms import Rfms
from providers.viriciti import ViriCiti

if TYPE_CHECKING:
    from ports.providers import Provider
    from providers.http import HttpPool


def make_providers(http: HttpPool) -> dict[str, Provider]:
    """Return one object for each provider type, by its name."""
    known: tuple[Provider, ...] = (ViriCiti(http), Rfms(http), Push())
    return {provider.provider_type: provider for provider in known}
