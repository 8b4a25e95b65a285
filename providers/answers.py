"""Facts about an answer that was not expected. They are kept; its body never is. Pure.

A failed answer may repeat the request, with the credential in it in any form. So its body is
neither shown nor stored nor logged. Kept are the status, the media type, the length, and the error
code that the provider's wire.py reads out of the body. Media type and error code have strict
patterns, and pass the connection's scrubber like everything else (actors/scrubbing.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import orjson

from ports.providers import ProviderFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Read = TypeVar("Read")

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}/[a-z0-9][a-z0-9.+-]{0,60}")
# Words, then at most five digits: `invalid_client`, `RateExceeded`, `E1001`. A key hardly looks
# like this.
_ERROR_CODE: Final = re.compile(r"(?=.{2,40}\Z)[A-Za-z]+(?:[_.-][A-Za-z]+)*[_.-]?[0-9]{0,5}")


class Answer(NamedTuple):
    """A whole answer with a good status, its body unpacked.

    `coding` is a content coding that was ignored because it is not known.
    """

    status: int
    media_type: str | None
    body: bytes
    coding: str | None = None

    def read(
        self, reader: Callable[[bytes], Read], read_error_code: Callable[[bytes], str | None]
    ) -> Read:
        """Return what the reader makes of the body.

        If the reader raises ProviderFault, the facts of this answer are added to its message.
        """
        try:
            return reader(self.body)
        except ProviderFault as fault:
            code = read_error_code(self.body)
            facts = describe_answer(self.media_type, len(self.body), code, coding=self.coding)
            fault.args = (f"{fault} (answered {self.status}: {facts})",)
            raise


def describe_answer(
    media_type: str | None,
    length: int,
    error_code: str | None,
    *,
    is_cut: bool = False,
    coding: str | None = None,
) -> str:
    """Return the facts of an answer in words: `application/json, 57 bytes, error RateExceeded`."""
    size = f"more than {length} bytes" if is_cut else f"{length} bytes"
    return ", ".join(
        part
        for part in (
            media_type,
            size if length else "no body",
            coding and f"content coding {coding}",
            error_code and f"error {error_code}",
        )
        if part
    )


def media_type_of(headers: Mapping[str, str]) -> str | None:
    """Return the answer's media type without parameters; None if there is none or it is not valid.

    Header names are in lower case.
    """
    text = headers.get("content-type", "").partition(";")[0].strip().lower()
    return text if _MEDIA_TYPE.fullmatch(text) else None


def no_error_code(_: bytes) -> None:
    """Return None. For a provider whose errors have no codes."""


def error_code_of(value: object) -> str | None:
    """Return the value as an error code; None if it is not a short token or a small number."""
    if type(value) is int:
        return str(value) if abs(value) < 100_000 else None
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else None


def error_code_in(body: bytes, *names: str) -> str | None:
    """Return the error code of a JSON object: the first of these members that holds one.

    None if no member does, or the body is not a JSON object.
    """
    try:
        fields: Any = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    return next((code for name in names if (code := error_code_of(fields.get(name)))), None)
