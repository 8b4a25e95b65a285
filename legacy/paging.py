"""The addresses of a legacy answer's pages. Pure.

Owns where a load begins, where it goes on and when it ends. Every address stays on the origin of
the configured base URL, because the credential goes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

from ports.legacy import LegacyUnfit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from legacy.mapping import Reader
    from legacy.shape import PageShape, RegistryShape, ValuesShape

MAX_LINK_LENGTH: Final = 8000  # the longest request line that servers must take (RFC 9112)
_PORTS: Final = {"http": 80, "https": 443}


class Pager:
    """The pages of one load, in order. `url` is the page to ask for; None after the last one."""

    def __init__(
        self, base_url: str, workspace_id: str, shape: RegistryShape | ValuesShape, pointer: str
    ) -> None:
        path = shape.path.replace("{workspace_id}", quote(workspace_id, safe=""))
        self._first = base_url.rstrip("/") + path
        self._shape = shape
        self._pointer = pointer
        self._pages = 1
        self._asked: set[str] = set()
        self._body = b""
        self.url: str | None = self._first
        if shape.paging is not None and shape.paging.next_link is None:
            self.url = self._numbered(shape.paging)

    def turn(self, document: Any, body: bytes, items: list[Any], reader: Reader) -> None:
        """Go on to the page after this one. Raises LegacyUnfit."""
        paging, asked = self._shape.paging, self.url or self._first
        if paging is None:
            self.url = None
            return
        self._asked.add(asked)
        self._pages += 1
        if paging.next_link is not None:
            self.url = self._linked(paging, document, asked, reader)
        else:
            self.url = self._numbered(paging) if items else None
            if self.url is not None and body == self._body:
                raise self._unfit(paging, "two pages are the same: does it read the page number?")
        self._body = body
        if self.url is not None and self._pages > paging.max_pages:
            raise self._unfit(paging, f"the answer has more than {paging.max_pages} pages")

    def _numbered(self, paging: PageShape) -> str:
        number = paging.first_page + self._pages - 1
        joint = "&" if "?" in self._first else "?"
        return f"{self._first}{joint}{paging.page_parameter}={number}"

    def _linked(self, paging: PageShape, document: Any, asked: str, reader: Reader) -> str | None:
        assert paging.next_link is not None  # noqa: S101 - the caller looked
        link = reader.evaluate_whole(
            document, paging.next_link, f"{self._pointer}/paging/next_link"
        )
        if link is None or link == "":
            return None
        if not isinstance(link, str):
            raise self._unfit(paging, "the link to the next page is no text")
        if len(link) > MAX_LINK_LENGTH:
            detail = f"the link to the next page has more than {MAX_LINK_LENGTH} characters"
            raise self._unfit(paging, detail)
        # JSON may have half of a surrogate pair or a control character, and no address can.
        if not link.isprintable():
            raise self._unfit(paging, "the link to the next page has unprintable characters")
        try:
            url = urljoin(asked, link)
            is_ours = _origin(urlsplit(url)) == _origin(urlsplit(self._first))
        except ValueError:
            raise self._unfit(paging, "the link to the next page is no address") from None
        if not is_ours:
            raise self._unfit(paging, "the link leads to another origin than base_url")
        if url in self._asked:
            raise self._unfit(paging, "the link leads back to an earlier page")
        return url

    def _unfit(self, paging: PageShape, detail: str) -> LegacyUnfit:
        expression = "" if paging.next_link is None else paging.next_link.text
        place = f"{self._pointer}/paging"
        return LegacyUnfit(
            expression, f"the legacy system's answer does not fit: {place}: {detail}"
        )


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port. Raises ValueError for a port that is none."""
    if url.username is not None or url.password is not None:
        raise ValueError("an address with a user part is none of ours")
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
