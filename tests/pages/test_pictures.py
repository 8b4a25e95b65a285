"""The pictures of a workspace, as numbers: the map and the small lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages.map_picture import HEIGHT, WIDTH, Spot, draw_map
from api.pages.sparklines import draw_line, draw_presence

places = st.tuples(st.floats(-85, 85), st.floats(-180, 180))


def spot(latitude: float, longitude: float, name: str = "b", rank: int = 0) -> Spot:
    return Spot(name, name, "stale", rank, latitude, longitude, is_old=False)


@given(st.lists(places, min_size=1, max_size=60))
def test_every_device_is_inside_the_picture_once(found: list[tuple[float, float]]) -> None:
    picture = draw_map(spot(*place, name=str(n)) for n, place in enumerate(found))
    assert picture is not None
    names = [each.name for cluster in picture.clusters for each in cluster.spots]
    assert sorted(names) == sorted(str(n) for n in range(len(found)))
    for cluster in picture.clusters:
        assert 0 <= cluster.x <= WIDTH
        assert 0 <= cluster.y <= HEIGHT
    assert 0 < picture.scale_width <= WIDTH / 2
    for line in picture.meridians:
        assert -1 <= line.at <= WIDTH + 1


def test_devices_in_one_yard_are_one_cluster_of_its_worst_state() -> None:
    picture = draw_map([spot(52.5, 13.4, "a", rank=3), spot(52.5, 13.4, "b", rank=1)])
    assert picture is not None
    (cluster,) = picture.clusters
    assert [each.name for each in cluster.spots] == ["b", "a"]


def test_north_is_up_and_east_is_right() -> None:
    picture = draw_map([spot(50, 10, "sw"), spot(51, 11, "ne")])
    assert picture is not None
    at = {cluster.spots[0].name: cluster for cluster in picture.clusters}
    assert at["ne"].x > at["sw"].x
    assert at["ne"].y < at["sw"].y


def test_a_fleet_on_both_sides_of_the_date_line_stays_together() -> None:
    picture = draw_map([spot(0, 179.9, "w"), spot(0, -179.9, "e")])
    assert picture is not None
    at = {cluster.spots[0].name: cluster for cluster in picture.clusters}
    assert at["e"].x > at["w"].x
    assert "180°E" in {line.label for line in picture.meridians}


def test_no_position_makes_no_map() -> None:
    assert draw_map([]) is None


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([None, None], ""),
        ([0, 100], "M0 18.0h4L8 2.0"),
        ([50, None, 50], "M0 10.0h4M8 10.0h4"),
        ([150], "M0 2.0h4"),
    ],
)
def test_a_line_breaks_where_nothing_came(values: list[float | None], path: str) -> None:
    assert draw_line(values, (0, 100), "%").path == path


def test_presence_names_the_hours_with_news() -> None:
    assert draw_presence([None, "x", None, "y"]) == ([1, 3], "news in 2 of the last 4 hours")
