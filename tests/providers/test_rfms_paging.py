"""Where an rFMS run begins, how it goes on, and when it must stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.configuration import parse_base_url
from providers.rfms.paging import RunPlanner, Step
from providers.rfms.record_order import RecordOrder
from providers.rfms.settings import RfmsSettings
from providers.rfms.spans import Span
from providers.rfms.wire import StatusPage

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 3, 15, 12, 0, 0, tzinfo=UTC)
BASE = "https://maker.example/rfms4"
LATEST = "/rfms4/vehiclestatuses?latestOnly=true"
SINCE_TEN = "/rfms4/vehiclestatuses?starttime=2026-03-15T10%3A00%3A00Z&datetype=received"
PAGE = StatusPage()
MORE = PAGE._replace(has_more=True)


def _paging(base: str = BASE, settings: RfmsSettings | None = None) -> RunPlanner:
    return RunPlanner(parse_base_url(base), settings or RfmsSettings())


def _records(
    newest: datetime, *, oldest: datetime | None = None, in_order: bool = True
) -> StatusPage:
    """A page that announces more after records of these times of reception."""
    order = RecordOrder(newest, oldest or newest, newest, None, in_order)
    return MORE._replace(order=order)


def _at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return NOW.replace(hour=hour, minute=minute, second=second, microsecond=400_000)


def _since(second: str) -> str:
    return str(httpx.QueryParams({"starttime": f"2026-03-15T{second}Z", "datetype": "received"}))


@pytest.mark.parametrize(
    ("cursor", "target"),
    [
        (None, LATEST),
        ("nonsense", LATEST),
        ("2026-03-15T10:00:00", LATEST),  # without a zone it says nothing
        ("2026-03-15T10:00:00Z", SINCE_TEN),
        ("2026-03-15T11:00:00.999+01:00", SINCE_TEN),
        (
            "2026-03-01T12:00:00Z",
            "/rfms4/vehiclestatuses?starttime=2026-03-01T12%3A00%3A00Z&datetype=received",
        ),
        (
            "2026-03-01T11:59:59Z",
            LATEST,
        ),  # older than two weeks: the maker may have dropped what came after it
        ("2026-03-15T13:00:01Z", LATEST),  # from the future: some clock was wrong
    ],
)
def test_a_run_begins_at_its_cursor_or_with_the_latest(cursor: str | None, target: str) -> None:
    assert _paging().first_step(cursor, NOW).target == target


def test_a_content_filter_goes_with_every_request() -> None:
    paging = _paging(settings=RfmsSettings(content_filter="SNAPSHOT,ACCUMULATED"))
    target = paging.first_step(None, NOW).target
    assert target == "/rfms4/vehiclestatuses?latestOnly=true&contentFilter=SNAPSHOT%2CACCUMULATED"


def test_a_base_without_a_path_is_fine() -> None:
    assert (
        _paging("https://maker.example").first_step(None, NOW).target
        == "/vehiclestatuses?latestOnly=true"
    )


def test_a_page_without_more_ends_the_run() -> None:
    paging = _paging()
    assert paging.next_step(paging.first_step(None, NOW), PAGE) is None


def test_latest_statuses_go_on_after_the_last_vin() -> None:
    paging = _paging()
    step = paging.next_step(paging.first_step(None, NOW), MORE._replace(last_vin="VIN&7"))
    assert step is not None
    assert step.target == f"{LATEST}&lastVin=VIN%267"


def test_without_a_link_the_last_second_is_asked_for_again() -> None:
    paging = _paging()
    first = paging.first_step("2026-03-15T10:00:00Z", NOW)
    second = paging.next_step(first, _records(_at(10, 5, 9)))
    assert second is not None
    assert second.target.endswith(_since("10:05:09"))


def test_records_from_before_the_starttime_are_a_circle() -> None:
    paging = _paging()
    first = paging.first_step("2026-03-15T10:00:00Z", NOW)
    second = paging.next_step(first, _records(_at(9)))
    assert second is not None
    with pytest.raises(ProviderFault, match="before the starttime"):
        second.check(max_pages=200)


@pytest.mark.parametrize("newest", [_at(10, 0, 0)])
def test_a_page_that_leads_nowhere_is_left_by_one_second(newest: datetime) -> None:
    paging = _paging()
    first = paging.first_step("2026-03-15T10:00:00Z", NOW)
    second = paging.next_step(first, _records(newest))
    assert second is not None
    assert second.target.endswith(_since("10:00:01"))


@pytest.mark.parametrize("mode", ["latest", "since"])
@pytest.mark.parametrize(
    ("link", "target"),
    [
        (
            "/rfms/vehiclestatuses?starttime=a&x=1",
            "/rfms/vehiclestatuses?starttime=a&x=1",
        ),  # not /rfms4/rfms/…
        ("vehiclestatuses?page=2", "/vehiclestatuses?page=2"),
        ("https://maker.example/next?page=2", "/next?page=2"),
        ("https://maker.example:443/next", "/next"),
    ],
)
def test_a_link_is_followed_from_the_host_not_the_base(mode: str, link: str, target: str) -> None:
    paging = _paging()
    first = paging.first_step(None if mode == "latest" else "2026-03-15T10:00:00Z", NOW)
    step = paging.next_step(first, _records(_at(10))._replace(link=link, last_vin="V"))
    assert step is not None
    assert (step.target, step.problem) == (target, None)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/rfms/vehiclestatuses",
        "//evil.example/rfms/vehiclestatuses",
        "http://maker.example/rfms/vehiclestatuses",
        "https://maker.example:8443/rfms/vehiclestatuses",
        "https://maker.example@evil.example/",
        "https://user:pw@maker.example/",
        "https://sub.maker.example/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "https://maker.example:99999999/",
        "/" + "x" * 5000,
    ],
)
def test_a_link_never_takes_the_credential_elsewhere(link: str) -> None:
    paging = _paging()
    step = paging.next_step(paging.first_step(None, NOW), MORE._replace(link=link))
    assert step is not None
    with pytest.raises(ProviderFault, match="moreDataAvailableLink") as caught:
        step.check(max_pages=200)
    assert caught.value.fault is FaultClass.PROTOCOL


def test_a_link_of_a_query_alone_is_about_the_same_path() -> None:
    paging = _paging()
    step = paging.next_step(paging.first_step(None, NOW), MORE._replace(link="?page=2"))
    assert step is not None
    assert (step.target, step.problem) == ("/rfms4/vehiclestatuses?page=2", None)


def test_the_same_link_twice_is_a_circle() -> None:
    paging = _paging()
    page = MORE._replace(link="/rfms/vehiclestatuses?page=2")
    second = paging.next_step(paging.first_step(None, NOW), page)
    assert second is not None
    second.check(max_pages=200)
    third = paging.next_step(second, page)
    assert third is not None
    with pytest.raises(ProviderFault, match="circle"):
        third.check(max_pages=200)


def test_a_link_to_the_page_itself_is_the_end_without_the_flag() -> None:
    paging = _paging()
    step = paging.first_step(None, NOW)
    own, unsaid = PAGE._replace(link=LATEST), PAGE._replace(link=LATEST, is_flagged=False)
    assert paging.without_self_link(step, unsaid) == unsaid._replace(link=None)
    assert paging.without_self_link(step, own) == own
    other = unsaid._replace(link="/rfms/vehiclestatuses?page=2")
    assert paging.without_self_link(step, other) == other


def test_the_same_vin_twice_is_a_circle() -> None:
    paging = _paging()
    page = MORE._replace(last_vin="V")
    second = paging.next_step(paging.first_step(None, NOW), page)
    assert second is not None
    third = paging.next_step(second, page)
    assert third is not None
    with pytest.raises(ProviderFault, match="circle"):
        third.check(max_pages=200)


def test_the_same_page_again_after_a_failure_is_no_circle() -> None:
    step = _paging().first_step(None, NOW)
    step.check(max_pages=200)
    step.check(max_pages=200)


def test_a_run_has_no_more_than_its_pages() -> None:
    step = Step(mode="latest", target="/x", pages=199)
    step.check(max_pages=200)
    with pytest.raises(ProviderFault, match="page cap"):
        replace(step, pages=200).check(max_pages=200)


@pytest.mark.parametrize("cursor", [None, "2026-03-15T10:00:00Z"])
def test_more_without_a_way_on_is_a_fault(cursor: str | None) -> None:
    paging = _paging()
    step = paging.next_step(paging.first_step(cursor, NOW), MORE)
    assert step is not None
    with pytest.raises(ProviderFault, match="more data is announced"):
        step.check(max_pages=200)


def test_the_next_run_begins_at_the_first_pages_server_time() -> None:
    paging = _paging()
    first = paging.first_step(None, NOW)
    page = MORE._replace(last_vin="V", server_time=_at(11, 59, 58))
    second = paging.next_step(first, page)
    assert second is not None
    assert paging.cursor_after(first, page) is None  # who has not been named yet would be left out
    assert (
        paging.cursor_after(second, PAGE._replace(server_time=_at(12, 5))) == "2026-03-15T11:59:58Z"
    )


@pytest.mark.parametrize(
    ("page", "cursor"),
    [
        (_records(_at(10, 5, 9)), "2026-03-15T10:05:09Z"),
        (
            _records(_at(10, 5, 9))._replace(server_time=_at(11)),
            "2026-03-15T10:05:09Z",
        ),
        (
            _records(_at(10, 5, 9))._replace(server_time=_at(10, 5, 8)),
            "2026-03-15T10:05:08Z",
        ),
        (_records(_at(10)), None),  # the second at which the run began
        (_records(_at(9)), None),
        (_records(_at(10, 5))._replace(server_time=_at(9)), None),
        (_records(_at(10, 5), in_order=False), None),
        (MORE, None),
    ],
)
def test_a_run_since_its_cursor_moves_with_pages_in_order(
    page: StatusPage, cursor: str | None
) -> None:
    paging = _paging()
    first = paging.first_step("2026-03-15T10:00:00Z", NOW)
    assert paging.cursor_after(first, page) == cursor


def test_a_run_along_links_counts_a_page_once_the_next_goes_on() -> None:
    pages = [
        _records(_at(10, 10), oldest=_at(10, 0)),
        _records(_at(10, 20), oldest=_at(10, 10)),
        _records(_at(10, 30), oldest=_at(10, 21)),
    ]
    assert _cursors_along_links(pages) == [None, "2026-03-15T10:10:00Z", "2026-03-15T10:20:00Z"]


@pytest.mark.parametrize(
    "second",
    [
        _records(_at(10, 30), in_order=False),
        _records(_at(10, 9)),  # before the page that came before it
        _records(_at(10, 30), oldest=_at(10)),  # vehicle by vehicle, say
    ],
)
def test_linked_pages_in_another_order_do_not_move_a_run(second: StatusPage) -> None:
    assert _cursors_along_links([_records(_at(10, 10)), second, MORE, second]) == [None] * 4


def _cursors_along_links(pages: Sequence[StatusPage]) -> list[str | None]:
    """What each page moves a run to that began at ten."""
    paging = _paging()
    step = paging.first_step("2026-03-15T10:00:00Z", NOW)
    cursors = []
    for number, page in enumerate(pages):
        linked = page._replace(link=f"/rfms/vehiclestatuses?page={number}")
        cursors.append(paging.cursor_after(step, linked))
        following = paging.next_step(step, linked)
        assert following is not None
        step = following
    return cursors


@pytest.mark.parametrize(
    ("newest", "cursor"),
    [(_at(10, 5), "2026-03-15T10:05:00Z"), (_at(10), "latest")],
    ids=["has moved", "one second is longer than the run"],
)
def test_a_run_since_its_cursor_ends_at_its_page_cap(newest: datetime, cursor: str) -> None:
    paging = _paging(settings=RfmsSettings(max_pages=1))
    first = paging.first_step("2026-03-15T10:00:00Z", NOW)
    page = _records(newest)
    assert paging.next_step(first, page) is None
    assert (paging.cursor_after(first, page), paging.is_complete(first, page)) == (cursor, False)
    assert paging.first_step("latest", NOW).target == LATEST


def test_a_server_that_does_not_say_its_time_moves_no_cursor() -> None:
    paging = _paging()
    assert paging.cursor_after(paging.first_step("2026-03-15T10:00:00Z", NOW), PAGE) is None


def test_a_token_carries_a_step_over() -> None:
    step = Step(
        mode="since", target="/x?y", pages=3, span=Span(7, 5, 9), cursor="c", seen=("a", "b")
    )
    assert Step.decode(step.encode()) == step
