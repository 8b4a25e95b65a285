"""External ids as they arrive, written as they were configured.

Owns no rule: domain/identity.py says which spellings mean the same unit. A provider may write a VIN
in another case, or with spaces at its ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.identity import external_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ports.providers import Page


class Spelling:
    """The configured spelling of one connection's external ids."""

    def __init__(self, configured: Iterable[str], *, is_vin: bool) -> None:
        self._is_vin = is_vin
        self._by_key = {external_key(name, is_vin=is_vin): name for name in configured}

    def of(self, arriving: str) -> str:
        """Return the id as it was configured. An unknown id only loses the spaces at its ends."""
        return self._by_key.get(external_key(arriving, is_vin=self._is_vin), arriving.strip())

    def of_page(self, page: Page) -> Page:
        """Return the page with every id as it was configured."""
        return page._replace(
            samples=tuple(
                sample._replace(external_id=self.of(sample.external_id)) for sample in page.samples
            ),
            answered=frozenset(map(self.of, page.answered)),
            malformed=tuple(
                record
                if record.external_id is None
                else record._replace(external_id=self.of(record.external_id))
                for record in page.malformed
            ),
            errors={self.of(name): why for name, why in page.errors.items()},
        )
