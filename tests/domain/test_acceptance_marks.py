"""What acceptance notes about a device for health: refused whole, only old data, held back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.acceptance import judge
from domain.model import CanonicalUpdate, Outcome
from tests.domain.fixtures import NOW, ago, fold, reading, update

if TYPE_CHECKING:
    from domain.acceptance import DeviceFold

NEWS = update(reading("soc_percent", 60))
REPEAT = update(reading("soc_percent", 50, ago(minutes=5)))
OLD = update(reading("soc_percent", 40, ago(hours=1)))
PARTLY_OLD = update(
    reading("soc_percent", 40, ago(hours=1)), reading("speed_kmh", 5, ago(minutes=5))
)
CONFLICT = update(reading("soc_percent", 55, ago(minutes=5)))
REFUSED = update(reading("soc_percent", 200))
PARTLY_REFUSED = update(reading("soc_percent", 200), reading("odometer_km", 7))
CODE = update(reading("soc_percent", 102.0))


def known() -> DeviceFold:
    at = ago(minutes=5)
    return fold(document={"soc_percent": (50, at), "speed_kmh": (5, at)}, version=1)


def marks(device: DeviceFold) -> tuple[bool, bool]:
    """Whether the device is marked as refused, and as outdated, at NOW."""
    return device.last_rejected_at == NOW, device.last_outdated_at == NOW


@pytest.mark.parametrize(
    ("sent", "refused", "outdated"),
    [
        ([NEWS], False, False),
        ([REPEAT], False, False),
        ([OLD], False, True),
        ([PARTLY_OLD], False, False),
        ([CONFLICT], False, False),
        ([REFUSED], True, False),
        ([PARTLY_REFUSED], False, False),
        ([CODE], False, False),
        # The last of one arrival decides.
        ([REFUSED, NEWS], False, False),
        ([NEWS, REFUSED], True, False),
        ([REFUSED, REPEAT], False, False),
        ([REFUSED, OLD], False, True),
        ([OLD, REFUSED], True, False),
        ([OLD, REPEAT], False, False),
        ([OLD, NEWS], False, False),
        ([REFUSED, CODE], True, False),
    ],
)
def test_the_last_update_of_an_arrival_marks_the_device(
    sent: list[CanonicalUpdate], *, refused: bool, outdated: bool
) -> None:
    device = known()
    for one in sent:
        judge(one, device)
    assert marks(device) == (refused, outdated)


def test_a_later_arrival_leaves_an_earlier_mark() -> None:
    device = known()
    judge(REFUSED._replace(received_at=ago(minutes=1)), device)
    judge(OLD._replace(received_at=ago(minutes=2)), device)
    judge(NEWS, device)
    assert (device.last_rejected_at, device.last_outdated_at) == (ago(minutes=1), ago(minutes=2))


@pytest.mark.parametrize(
    ("sent", "reception", "is_marked"),
    [
        (OLD, ago(minutes=6), False),  # the provider had it before what is held
        (OLD, ago(minutes=5), False),  # of the same delivery as what is held
        (OLD, ago(minutes=4), True),  # a clock that was set back
        (OLD, None, True),
        (REFUSED, ago(minutes=6), False),
        (REFUSED, ago(minutes=4), True),
    ],
)
def test_what_was_overtaken_at_the_provider_leaves_no_mark(
    sent: CanonicalUpdate, reception: datetime | None, *, is_marked: bool
) -> None:
    device = fold()
    held = update(
        reading("soc_percent", 50, ago(minutes=6)),
        received_at=ago(minutes=4),
        reception_at=ago(minutes=5),
    )
    judge(held, device)
    judge(sent._replace(reception_at=reception), device)
    assert any(marks(device)) is is_marked


@pytest.mark.parametrize(
    ("sent", "reception", "is_marked"),
    [
        (REFUSED, ago(minutes=3), False),
        (REFUSED, ago(minutes=4), False),
        (REFUSED, ago(minutes=2), True),
        (REFUSED, None, True),
        (OLD, ago(minutes=3), False),
        (OLD, ago(minutes=2), True),
    ],
    ids=["again", "older", "newer", "no reception", "outdated again", "outdated, newer"],
)
@pytest.mark.parametrize("first", [REFUSED, OLD], ids=["after a refusal", "after outdated data"])
def test_what_was_not_accepted_before_is_no_news(
    first: CanonicalUpdate, sent: CanonicalUpdate, reception: datetime | None, *, is_marked: bool
) -> None:
    """A roster repeats the newest record of each vehicle, with its reception of then."""
    device = known()
    judge(first._replace(received_at=ago(minutes=1), reception_at=ago(minutes=3)), device)
    assert any(marks(device)) is False
    judge(sent._replace(reception_at=reception), device)
    assert any(marks(device)) is is_marked


@pytest.mark.parametrize("reception", [ago(minutes=3), ago(minutes=2)])
def test_of_one_arrival_the_last_decides_at_one_reception_too(reception: datetime) -> None:
    device = known()
    judge(REFUSED._replace(reception_at=ago(minutes=2)), device)
    judge(OLD._replace(reception_at=reception), device)
    assert marks(device) == (False, True)


@pytest.mark.parametrize(
    ("facts", "reception", "seconds"),
    [
        ({}, None, None),
        ({}, ago(minutes=10), 600.0),
        ({}, NOW + timedelta(seconds=3), 0.0),
        ({"answered_begun_at": ago(minutes=2)}, None, 180.0),
        ({"answered_begun_at": ago(minutes=7)}, None, None),
        ({"answered_begun_at": ago(minutes=2)}, ago(minutes=1), 60.0),
    ],
)
def test_data_is_held_back_as_long_as_is_proven(
    facts: dict[str, Any], reception: datetime | None, seconds: float | None
) -> None:
    device = fold(**facts)
    sent = update(reading("soc_percent", 50, ago(minutes=5)), reception_at=reception)
    assert judge(sent, device).outcome is Outcome.ACCEPTED
    assert device.held_back_seconds == seconds


def test_older_data_does_not_change_how_long_the_newest_was_held() -> None:
    device = fold(last_update_received_at=NOW, held_back_seconds=7.0)
    sent = update(reading("soc_percent", 50, ago(minutes=5)), received_at=ago(minutes=1))
    judge(sent._replace(reception_at=ago(minutes=3)), device)
    assert device.held_back_seconds == 7.0


def test_a_fast_clock_is_not_observed_in_the_future() -> None:
    device = fold()
    judge(update(reading("soc_percent", 50, NOW + timedelta(minutes=4))), device)
    assert device.last_observed_at == NOW
