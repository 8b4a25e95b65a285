"""rFMS 4 on the wire: what stands around the list of statuses. Pure.

Owns where the list is, what the answer says about more pages, and errors beside the list. It must
never take a field for "no more pages" that it cannot read. Source: the rFMS 4.0.0 OpenAPI document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from providers.loose_types import read_flag, read_instant
from providers.rfms.errors import errors_beside
from providers.samples import malformed_answer
from runtime.damaged_json import Damaged

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

WRAPPER: Final = "vehicleStatusResponse"
LIST: Final = "vehicleStatuses"
_MORE: Final = "moreDataAvailable"
_LINK: Final = "moreDataAvailableLink"
_PAGING: Final = frozenset({_MORE, _LINK, "requestServerDateTime"})
_INNER: Final = _PAGING | {WRAPPER, LIST}  # what the standard has around a list
_ERRORS: Final = frozenset({"error", "errors", "error_description", "fault", "exception"})
_NO_LIST: Final = f"the answer has no {WRAPPER}.{LIST} (rFMS 4)"
_ERROR_BESIDE: Final = "the answer reports an error, and some vehicles may be missing from it"


class MorePages(NamedTuple):
    """What an answer says about more pages.

    `problem` says why it cannot be told whether there are more. `is_flagged` is False if the answer
    does not say so itself: then a link says that there are more.
    """

    has_more: bool = False
    is_flagged: bool = True
    link: str | None = None
    problem: str | None = None
    server_time: datetime | None = None


class OpenedAnswer(NamedTuple):
    """The statuses of an answer, None without a list, and what it says beside them.

    `errors` are those beside the list that name their vehicle, by vin.
    """

    statuses: list[Any] | None
    errors: dict[str, str]
    paging: MorePages


def open_answer(answer: Any, zone: tzinfo | None) -> OpenedAnswer:
    """Return the list of statuses, and what the answer says beside it.

    The standard wraps the list. A bare list, and one that is wrapped once less, say the same. Null,
    and an answer without a list, say that nothing is new, if it has a member of the standard, or
    none at all, and neither an error nor another list. Raises ProviderFault for any other answer,
    and for an error beside an empty list.
    """
    if isinstance(answer, list) and all(isinstance(status, dict | Damaged) for status in answer):
        return OpenedAnswer(answer, {}, MorePages(is_flagged=False))
    statuses, places = _find_list({} if answer is None else answer)
    errors, is_nameless = errors_beside(places)
    paging = _read_paging(_members_of_paging(*places), zone)
    if is_nameless and not statuses and not errors:
        raise malformed_answer(_ERROR_BESIDE)
    if is_nameless:
        paging = paging._replace(problem=_ERROR_BESIDE)
    return OpenedAnswer(statuses, errors, paging)


def _find_list(page: Any) -> tuple[list[Any] | None, tuple[dict[str, Any], ...]]:
    """Return the list, None if there is none, and the objects around it, the outer one first."""
    if not isinstance(page, dict):
        raise malformed_answer(_NO_LIST)
    page = {name: value for name, value in page.items() if value or name not in _ERRORS}
    wrapped = page.get(WRAPPER)
    if isinstance(wrapped, list):
        return wrapped, (page,)
    inner = page if wrapped is None else wrapped
    if not isinstance(inner, dict):
        raise malformed_answer(_NO_LIST)
    places = (page,) if inner is page else (page, inner)
    statuses = inner.get(LIST)
    if isinstance(statuses, list):
        return statuses, places
    is_known = not page or not _INNER.isdisjoint(page)
    has_error = any(place.get(name) for place in places for name in _ERRORS)
    rest = (inner[name] for name in inner.keys() - _INNER - _ERRORS)
    has_other = any(isinstance(value, list | dict) for value in rest)
    if statuses is not None or not is_known or has_error or has_other:
        raise malformed_answer(_NO_LIST)
    return None, places


def _members_of_paging(page: dict[str, Any], inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the members about paging, from both levels: null hides nothing, nor does false."""
    said = {**page, **{name: value for name, value in (inner or {}).items() if value is not None}}
    if read_flag(page.get(_MORE)):
        said[_MORE] = True
    return said


def _read_paging(fields: dict[str, Any], zone: tzinfo | None) -> MorePages:
    """Read what an answer says about more pages.

    By the standard there is a link when moreDataAvailable is true. So a link beside false says
    nothing. A link without moreDataAvailable says that there is more.
    """
    more, link = fields.get(_MORE), fields.get(_LINK)
    flag = read_flag(more)
    paging = MorePages(
        flag is True,
        is_flagged=more is not None,
        server_time=read_instant(fields.get("requestServerDateTime"), zone),
    )
    if more is not None and flag is None:
        return paging._replace(problem=f"{_MORE} is neither true nor false")
    if flag is False or link is None:
        return paging
    if not isinstance(link, str):
        return paging._replace(problem=f"{_LINK} is not text")
    return paging._replace(link=link.strip() or None)
