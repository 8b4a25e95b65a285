"""The commands' client of the API: address and key, requests, errors in plain words.

Owns the HTTP side of `lastheard health`, `worklist`, `runtime`, `provider try`, `apply` and
`export`; tables.py prints. It blocks, since it is for the terminal.
"""

from __future__ import annotations

import re
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from runtime.secret_references import SecretReference, SecretUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lastheard.settings import Settings

PREFIX = "/api/telematics-mvp"
CLIENT_FILE = "client.json"
TIMEOUT_SECONDS = 30.0
TOO_MANY_REQUESTS = 429
MAX_ATTEMPTS = 5
KEY_HINT = "set LASTHEARD_KEY=env:NAME or file:PATH (`lastheard token create` makes one)"


class ClientError(Exception):
    """A request that failed. The text says what to do about it.

    `status` is that of the answer, None without one; `faults` are the faulty parts that it names.
    """

    def __init__(
        self, text: str, status: int | None = None, faults: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.faults = faults


def save_access(data_dir: Path, address: str, key: str) -> Path:
    """Write address and key for the reading commands, which use them when no key is set."""
    path = data_dir / CLIENT_FILE
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps({"address": address, "key": key}))
    return path


class ApiClient:
    """Sends requests to one address with one key. Every error becomes a ClientError.

    `is_direct`: the address is on this machine, so the environment's proxy is not used.
    """

    def __init__(self, address: str, key: str) -> None:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise _no_address(str(error)) from error
        if url.scheme not in ("http", "https") or not url.host:
            raise _no_address(f"{address} does not begin with http:// or https://")
        self.address = address
        self.is_direct = _is_on_this_machine(url)
        self._client = httpx.Client(
            base_url=address + PREFIX,
            headers={"authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=not self.is_direct,
        )

    def close(self) -> None:
        """Close the connections that are kept open. A command that ends need not call it."""
        self._client.close()

    def get(self, path: str, **params: Any) -> httpx.Response:
        """Return one answer of the API. Raises ClientError with the problem's own words."""
        # {} would remove path's query
        return self._send(self._client.build_request("GET", path, params=params or None))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON document that answers a POST. Raises ClientError."""
        return self.document_of(self.send("POST", path, body))

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Return the answer to a command. Raises ClientError."""
        options: dict[str, Any] = {} if body is None else {"json": body}
        return self._send(
            self._client.build_request(method, path, headers=dict(headers or {}), **options)
        )

    def _send(self, request: httpx.Request) -> httpx.Response:
        """Return the answer. Raises ClientError.

        A request that was not begun, because the key sends too many (429), is sent again: up to
        MAX_ATTEMPTS times in all, each after a longer pause.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            answer = self._send_once(request)
            if answer.status_code != TOO_MANY_REQUESTS or attempt == MAX_ATTEMPTS:
                break
            time.sleep(attempt)
        if answer.status_code >= 400:
            raise _error_of(answer)
        return answer

    def _send_once(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._client.send(request)
        except httpx.HTTPError as error:
            raise ClientError(
                f"no answer from {self.address}: {_why(error)}. Is `lastheard serve` running there?"
            ) from error

    def read(self, path: str, **params: Any) -> dict[str, Any]:
        """Return one JSON document of the API. Raises ClientError."""
        return self.document_of(self.get(path, **params))

    def document_of(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the JSON document of an answer. Raises ClientError."""
        try:
            document = orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise ClientError(self._no_api(answer)) from error
        if not isinstance(document, dict):
            raise ClientError(self._no_api(answer))
        return document

    def csv_parts(self, path: str, **params: Any) -> Iterator[str]:
        """Yield a list as CSV text, page by page, with one header at the beginning."""
        answer = self._get_csv(path, **params, format="csv")
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
        return (
            f"{answer.status_code} from {answer.url}, and not in the API's words. "
            f"Is Lastheard at {self.address}?"
        )

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield every page of a list."""
        cursor: str | None = None
        while True:
            page = self.read(path, **params, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def connect(settings: Settings) -> ApiClient:
    """Return a client from the settings, or from the address and key that `lastheard demo` stored.

    The stored key is sent to the stored address only. Raises ClientError when the settings name
    another address and no key.
    """
    address = settings.address.rstrip("/")
    if settings.key is not None:
        return ApiClient(address, _resolve(settings.key))
    path = settings.data_dir / CLIENT_FILE
    try:
        stored = orjson.loads(path.read_bytes())
        stored_address, stored_key = str(stored["address"]), str(stored["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClientError(
            f"no API key: {KEY_HINT}, or run `lastheard demo`, which writes {path}"
        ) from error
    if "address" in settings.model_fields_set and address != stored_address.rstrip("/"):
        raise ClientError(
            f"no API key for {address}: {KEY_HINT}. The one in {path} is for {stored_address}"
        )
    return ApiClient(stored_address, stored_key)


def _is_on_this_machine(url: httpx.URL) -> bool:
    """Return whether the URL leads to this machine.

    HTTP_PROXY is for other machines, and NO_PROXY is often not set.
    """
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost" or url.host.endswith(".localhost")


def _no_address(why: str) -> ClientError:
    return ClientError(
        f"LASTHEARD_ADDRESS (or --url) is not an address: {why}. http://host:port is one"
    )


def _resolve(key: SecretReference) -> str:
    """Return the key. Raises ClientError, which names the setting, if it cannot be read."""
    try:
        return key.resolve()
    except SecretUnavailable as fault:
        raise ClientError(f"LASTHEARD_KEY: {fault}. Put a key there, or {KEY_HINT}") from fault


def _why(error: httpx.HTTPError) -> str:
    """Return the error in words, without the number that the system gives it."""
    if isinstance(error, httpx.TimeoutException):
        return f"none within {TIMEOUT_SECONDS:.0f} s"
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _remedy(status: int, detail: str) -> str:
    """Return what the person at the terminal can do about a refusal that does not say it."""
    match status:
        case 401:
            return f"\nFor another key, {KEY_HINT}."
        case 403 if "scope" in detail:
            return "\n`lastheard token create NAME --scope …` makes a key; give --scope for each."
        case 503 if not detail:
            return "\nTry again. The shard's /readyz and its log say what is away."
        case _:
            return ""


def _error_of(answer: httpx.Response) -> ClientError:
    """Return the error for a refusal, in the words of its problem if it has one."""
    status = answer.status_code
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return ClientError(f"{status} from {answer.url}", status)
    faults = [part for part in problem.get("errors", ()) if isinstance(part, dict)]
    title, detail = (str(problem.get(name) or "") for name in ("title", "detail"))
    text = f"{status} {': '.join(filter(None, (title, detail)))}" + "".join(
        f"\n  {part.get('pointer') or part.get('parameter', '')}: {part.get('detail', '')}"
        for part in faults
    )
    text += _remedy(status, detail)
    return ClientError(text, status, faults)
