"""The reading commands' way to the API: address and key, requests, errors in plain words.

Owns `lastheard health`, `worklist` and their kind as far as HTTP goes; tables.py prints. Blocking, for the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lastheard.settings import Settings

PREFIX = "/api/telematics-mvp"
CLIENT_FILE = "client.json"
TIMEOUT_SECONDS = 30.0


class ClientError(Exception):
    """A request that did not succeed; the text says what to do about it."""


def remember(data_dir: Path, address: str, key: str) -> Path:
    """Write address and key where the reading commands look when no key is set."""
    path = data_dir / CLIENT_FILE
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps({"address": address, "key": key}))
    return path


class ApiClient:
    """GETs against one address with one key. Every error becomes a ClientError."""

    def __init__(self, address: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=address + PREFIX, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS
        )
        self._address = address

    def get(self, path: str, **params: Any) -> httpx.Response:
        """One answer of the API. Raises ClientError with the problem's own words."""
        try:
            answer = self._client.get(path, params=params)
        except httpx.HTTPError as error:
            raise ClientError(
                f"no answer from {self._address}: {error}. Is `lastheard serve` running there?"
            ) from error
        if answer.status_code >= 400:
            raise ClientError(_explain(answer))
        return answer

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list."""
        cursor: str | None = None
        while True:
            page = orjson.loads(self.get(path, **params, **({"cursor": cursor} if cursor else {})).content)
            yield page
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def connect(settings: Settings) -> ApiClient:
    """A client from the settings, or from what `lastheard demo` left in the data folder."""
    if settings.key is not None:
        return ApiClient(settings.address.rstrip("/"), settings.key.resolve())
    path = settings.data_dir / CLIENT_FILE
    try:
        stored = orjson.loads(path.read_bytes())
        return ApiClient(stored["address"], stored["key"])
    except (OSError, ValueError, KeyError) as error:
        raise ClientError(
            f"no API key: set LASTHEARD_KEY=env:NAME or file:PATH (`lastheard token create` makes one), "
            f"or run `lastheard demo`, which writes {path}"
        ) from error


def _explain(answer: httpx.Response) -> str:
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return f"{answer.status_code} from {answer.url}"
    text = f"{answer.status_code} {problem.get('title', '')}: {problem.get('detail', '')}"
    return text + "".join(f"\n  {e.get('pointer', '')}: {e.get('detail', '')}" for e in problem.get("errors", ()))
