"""The reading commands' way to the API: address and key, requests, errors in plain words.

Owns `lastheard health`, `worklist` and their kind as far as HTTP goes; tables.py prints. Blocking, for the terminal.
"""

from __future__ import annotations

from ipaddress import ip_address
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
KEY_HINT = "set LASTHEARD_KEY=env:NAME or file:PATH (`lastheard token create` makes one)"


class ClientError(Exception):
    """A request that did not succeed; the text says what to do about it."""


def remember(data_dir: Path, address: str, key: str) -> Path:
    """Write address and key where the reading commands look when no key is set."""
    path = data_dir / CLIENT_FILE
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps({"address": address, "key": key}))
    return path


class ApiClient:
    """GETs against one address with one key. Every error becomes a ClientError.

    `is_direct`: on this machine, so that no proxy of the environment is asked.
    """

    def __init__(self, address: str, key: str) -> None:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise ClientError(f"LASTHEARD_ADDRESS is not an address ({error}): http://host:port is one") from error
        self.address = address
        self.is_direct = _is_on_this_machine(url)
        self._client = httpx.Client(
            base_url=address + PREFIX,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=not self.is_direct,
        )

    def get(self, path: str, **params: Any) -> httpx.Response:
        """One answer of the API. Raises ClientError with the problem's own words."""
        try:
            answer = self._client.get(path, params=params or None)  # empty ones would cut off what `path` has
        except httpx.HTTPError as error:
            raise ClientError(f"no answer from {self.address}: {error}. Is `lastheard serve` running there?") from error
        if answer.status_code >= 400:
            raise ClientError(_explain(answer))
        return answer

    def read(self, path: str, **params: Any) -> dict[str, Any]:
        """One JSON document of the API."""
        answer = self.get(path, **params)
        try:
            document = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise ClientError(self._no_api(answer)) from error
        if not isinstance(document, dict):
            raise ClientError(self._no_api(answer))
        return document

    def csv_parts(self, path: str) -> Iterator[str]:
        """A list that the API knows as CSV: the header, then every row, in as many answers as it takes."""
        answer = self._get_csv(path, format="csv")
        yield answer.text
        while following := answer.links.get("next", {}).get("url"):
            answer = self._get_csv(str(answer.url.join(following)))
            yield answer.text.partition("\r\n")[2]

    def _get_csv(self, path: str, **params: Any) -> httpx.Response:
        answer = self.get(path, **params)
        if not answer.headers.get("content-type", "").startswith("text/csv"):
            raise ClientError(self._no_api(answer))
        return answer

    def _no_api(self, answer: httpx.Response) -> str:
        return f"{answer.status_code} from {answer.url}, and not in the API's words. Is Lastheard at {self.address}?"

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list."""
        cursor: str | None = None
        while True:
            page = self.read(path, **params, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def connect(settings: Settings) -> ApiClient:
    """A client from the settings, or from what `lastheard demo` left in the data folder.

    A key that was left there is for the server that it was made by: who names another address is not asked elsewhere.
    """
    address = settings.address.rstrip("/")
    if settings.key is not None:
        return ApiClient(address, settings.key.resolve())
    path = settings.data_dir / CLIENT_FILE
    try:
        stored = orjson.loads(path.read_bytes())
        stored_address, stored_key = str(stored["address"]), str(stored["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClientError(f"no API key: {KEY_HINT}, or run `lastheard demo`, which writes {path}") from error
    if "address" in settings.model_fields_set and address != stored_address.rstrip("/"):
        raise ClientError(f"no API key for {address}: {KEY_HINT}. The one in {path} is for {stored_address}")
    return ApiClient(stored_address, stored_key)


def _is_on_this_machine(url: httpx.URL) -> bool:
    """HTTP_PROXY is for the world outside, and NO_PROXY is often not set."""
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost" or url.host.endswith(".localhost")


def _explain(answer: httpx.Response) -> str:
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return f"{answer.status_code} from {answer.url}"
    text = f"{answer.status_code} {problem.get('title', '')}: {problem.get('detail', '')}"
    return text + "".join(f"\n  {e.get('pointer', '')}: {e.get('detail', '')}" for e in problem.get("errors", ()))
