"""A map without tiles: positions on a plain projection, fitted to the fleet.

Equirectangular, with degrees of longitude shortened for the middle latitude, so distances are true
at the scale of a fleet. Devices that would overlap stand as one cluster. Pure.
"""

from __future__ import annotations

from math import cos, floor, log10, radians
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WIDTH: Final = 720.0
HEIGHT: Final = 420.0
_MARGIN: Final = 36.0
_CELL: Final = 22.0  # devices within a cell of so many units stand as one
_KM_OF_A_DEGREE: Final = 111.32
_LEAST_DEGREES: Final = 0.01  # about a kilometre: a fleet in one yard is not blown up
_MOST_LATITUDE: Final = 85.0
_LINES: Final = 7  # of each direction, at most
_SCALE_SHARE: Final = 0.25


class Spot(NamedTuple):
    """A device at a position. `rank` is its place from the worst state, 0, on."""

    device_id: str
    name: str
    state: str
    rank: int
    latitude: float
    longitude: float
    is_old: bool


class Cluster(NamedTuple):
    """Devices at one place of the picture, the worst first. `x` and `y` are those of its middle."""

    x: float
    y: float
    spots: Sequence[Spot]

    @property
    def state(self) -> str:
        return self.spots[0].state

    @property
    def is_old(self) -> bool:
        return all(spot.is_old for spot in self.spots)


class GridLine(NamedTuple):
    """A line of the graticule: at a place of the picture, with its degrees as words."""

    at: float
    label: str


class MapPicture(NamedTuple):
    """What a template draws, in units of the picture. The scale's bar is `scale_width` long."""

    clusters: Sequence[Cluster]
    meridians: Sequence[GridLine]
    parallels: Sequence[GridLine]
    scale_width: float
    scale_label: str
    width: float = WIDTH
    height: float = HEIGHT


class _Frame(NamedTuple):
    """The part of the world that is shown. `units` of the picture make a degree of latitude."""

    west: float
    north: float
    units: float
    shortening: float

    def x(self, longitude: float) -> float:
        return (longitude - self.west) * self.units * self.shortening

    def y(self, latitude: float) -> float:
        return (self.north - latitude) * self.units


def draw_map(spots: Iterable[Spot]) -> MapPicture | None:
    """Return the picture of some positions; None without any."""
    placed = _unwrap(list(spots))
    if not placed:
        return None
    frame = _fit(placed)
    scale_km = _nice(_SCALE_SHARE * WIDTH / frame.units * _KM_OF_A_DEGREE)
    return MapPicture(
        _cluster(placed, frame),
        _grid(frame.west, WIDTH / (frame.units * frame.shortening), frame.x, "E", "W"),
        _grid(frame.north - HEIGHT / frame.units, HEIGHT / frame.units, frame.y, "N", "S"),
        scale_km / _KM_OF_A_DEGREE * frame.units,
        f"{scale_km:g} km" if scale_km >= 1 else f"{scale_km * 1000:g} m",
    )


def _unwrap(spots: list[Spot]) -> list[Spot]:
    """Move longitudes of the west to the east, if the fleet lies on both sides of 180 degrees."""
    longitudes = sorted(spot.longitude for spot in spots)
    if not longitudes or longitudes[-1] - longitudes[0] <= 180:
        return spots
    return [
        spot._replace(longitude=spot.longitude + 360 if spot.longitude < 0 else spot.longitude)
        for spot in spots
    ]


def _fit(spots: Sequence[Spot]) -> _Frame:
    latitudes = [spot.latitude for spot in spots]
    longitudes = [spot.longitude for spot in spots]
    middle = (min(latitudes) + max(latitudes)) / 2
    shortening = cos(radians(max(-_MOST_LATITUDE, min(_MOST_LATITUDE, middle))))
    tall = max(max(latitudes) - min(latitudes), _LEAST_DEGREES)
    wide = max((max(longitudes) - min(longitudes)) * shortening, _LEAST_DEGREES)
    units = min((WIDTH - 2 * _MARGIN) / wide, (HEIGHT - 2 * _MARGIN) / tall)
    centre = (min(longitudes) + max(longitudes)) / 2
    west = centre - WIDTH / 2 / (units * shortening)
    return _Frame(west, middle + HEIGHT / 2 / units, units, shortening)


def _cluster(spots: Sequence[Spot], frame: _Frame) -> list[Cluster]:
    cells: dict[tuple[int, int], list[Spot]] = {}
    for spot in spots:
        x, y = frame.x(spot.longitude), frame.y(spot.latitude)
        cells.setdefault((floor(x / _CELL), floor(y / _CELL)), []).append(spot)
    clusters = []
    for found in cells.values():
        found.sort(key=lambda spot: (spot.rank, spot.name))
        x = sum(frame.x(spot.longitude) for spot in found) / len(found)
        y = sum(frame.y(spot.latitude) for spot in found) / len(found)
        clusters.append(Cluster(round(x, 1), round(y, 1), found))
    # The worst are drawn last, so that nothing covers them.
    return sorted(clusters, key=lambda each: (-each.spots[0].rank, len(each.spots)))


def _grid(
    start: float, span: float, place: Callable[[float], float], positive: str, negative: str
) -> list[GridLine]:
    """Return lines at round degrees within a span."""
    step = _nice_above(span / _LINES)
    first = floor(start / step) + 1
    lines = []
    for number in range(first, floor((start + span) / step) + 1):
        degrees = round(number * step, 6)
        lines.append(GridLine(round(place(degrees), 1), _say_degrees(degrees, positive, negative)))
    return lines


def _say_degrees(degrees: float, positive: str, negative: str) -> str:
    turned = degrees - 360 if degrees > 180 else degrees
    return f"{abs(turned):g}\u00b0{positive if turned >= 0 else negative}"


def _nice(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not more than the value."""
    power = 10.0 ** floor(log10(value))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= value * (1 + 1e-9))


def _nice_above(value: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not less than the value."""
    power = 10.0 ** floor(log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))
