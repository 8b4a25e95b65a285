"""Answers in forms that HTTP and the vendors' documents allow, and that few servers use. Pure.

Owns the forms. None of them changes what an answer says.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.exchange import Request, VendorAnswer

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LIST: Final = "vehicleStatuses"
_WRAPPER: Final = "vehicleStatusResponse"


class Form(StrEnum):
    """One rare form of an answer."""

    NO_CONTENT = "no_content"
    NULL_LIST = "null_list"
    NO_LIST = "no_list"
    BYTE_ORDER_MARK = "byte_order_mark"
    GZIP_MEMBERS = "gzip_members"
    CODING_CHARSET = "coding_charset"
    CODING_BLANK = "coding_blank"


_FOR_NOTHING_NEW: Final = (Form.NO_CONTENT, Form.NULL_LIST, Form.NO_LIST)
_FOR_ANY: Final = (
    Form.BYTE_ORDER_MARK,
    Form.CODING_CHARSET,
    Form.GZIP_MEMBERS,
    Form.CODING_BLANK,
)


def choose_form(answer: VendorAnswer, request: Request, turn: int) -> Form:
    """Return the form of the `turn`-th answer. One without news may say so in its own ways."""
    if _is_without_news(answer.body) and turn % 2:
        return _FOR_NOTHING_NEW[turn // 2 % len(_FOR_NOTHING_NEW)]
    form = _FOR_ANY[turn // 2 % len(_FOR_ANY)]
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    return form if form is not Form.GZIP_MEMBERS or takes_gzip else Form.BYTE_ORDER_MARK


def dress(answer: VendorAnswer, form: Form) -> VendorAnswer:
    """Return the same answer in this form."""
    match form:
        case Form.NO_CONTENT:
            return replace(answer, status=204, body=b"")
        case Form.NULL_LIST:
            return _with_response(answer, {_LIST: None})
        case Form.NO_LIST:
            return _with_response(answer, {})
        case Form.BYTE_ORDER_MARK:
            return replace(answer, body=_BYTE_ORDER_MARK + answer.body)
        case Form.GZIP_MEMBERS:
            half = len(answer.body) // 2
            body = gzip.compress(answer.body[:half]) + gzip.compress(answer.body[half:])
            return _coded(replace(answer, body=body), "gzip")
        case Form.CODING_CHARSET:
            return _coded(answer, "UTF-8")
        case Form.CODING_BLANK:
            return _coded(answer, "")


def unwrap(body: dict[str, object]) -> dict[str, object]:
    """Return an rFMS answer without the object around its list of statuses."""
    response = body.pop(_WRAPPER)
    return {**response, **body} if isinstance(response, dict) else body


def _coded(answer: VendorAnswer, coding: str) -> VendorAnswer:
    return replace(answer, headers={**answer.headers, "Content-Encoding": coding})


def _with_response(answer: VendorAnswer, response: Mapping[str, object]) -> VendorAnswer:
    body = {**orjson.loads(answer.body), _WRAPPER: response}
    return replace(answer, body=orjson.dumps(body))


def _is_without_news(body: bytes) -> bool:
    """Return whether it is the last page of an rFMS answer, without any status."""
    if not body.startswith(b'{"vehicleStatusResponse":{"vehicleStatuses":[]}'):
        return False
    return b'"moreDataAvailable":false' in body
