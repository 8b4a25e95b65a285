"""A workspace: its devices with state and cause, its cycles and connections, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quart import request

from api.pages import words
from api.pages.connection_words import describe_connection
from api.pages.contract import Question, path_of
from api.pages.filters import link_with, read_filters
from api.pages.map_picture import Spot, draw_map
from api.pages.numbers import show_value
from api.pages.sparklines import draw_line, draw_presence
from api.pages.times import parse_instant
from api.pages.viewer import current_viewer
from domain.health_reason import HealthReason, Party
from domain.health_state import State
from domain.position import LATITUDE, LONGITUDE
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.pages.map_picture import MapPicture
    from api.pages.page import Pages, Values

PATH: Final = "/workspaces/<workspace_id>"
ROWS: Final = 100
CYCLES: Final = 12
FILTERS: Final = ("state", "reason", "party", "provider_id", "tag", "search", "age", "order")


class ValueColumn(NamedTuple):
    """A signal that is shown of each device, with its heading, and the digits of a number."""

    signal: str
    heading: str
    digits: int | None = None

    @property
    def unit(self) -> str:
        return CATALOGUE[self.signal].unit


# A column in which no device has a value is left out.
COLUMNS: Final = (
    ValueColumn("soc_percent", "Charge", 1),
    ValueColumn("odometer_km", "Odometer", 0),
    ValueColumn("speed_kmh", "Speed", 0),
    ValueColumn("charging", "Charging"),
)
TREND_SIGNAL: Final = "soc_percent"
_ASKED: Final = (*(column.signal for column in COLUMNS), LATITUDE, LONGITUDE)


def declare_workspace(pages: Pages) -> None:
    @pages.page(PATH, "workspace.html")
    async def show_workspace(workspace_id: str) -> Values:
        filters = read_filters(FILTERS)
        root = path_of("workspaces", workspace_id)
        found = await pages.ask.get_all(
            current_viewer(),
            {
                "workspace": Question(root),
                "health": Question(f"{root}/health", _query(filters)),
                "cycles": Question(f"{root}/cycles", {"limit": CYCLES}),
                "connections": Question(f"{root}/connections"),
            },
        )
        health = found["health"]
        return {
            **found,
            "root": root,
            "zone": health["time_zone"],
            "columns": _columns(health["items"]),
            "rows": health["items"],
            "lines": [_describe_cycle(cycle) for cycle in found["cycles"]["items"]],
            "links": [(each, describe_connection(each)) for each in found["connections"]["items"]],
            "map": _draw_map(health["items"]),
            **_filter_values(filters, health),
        }

    @pages.page(f"{PATH}/trends", "trends.html")
    async def show_trends(workspace_id: str) -> Values:
        filters = read_filters(FILTERS)
        root = path_of("workspaces", workspace_id)
        viewer = current_viewer()
        listed = await pages.ask.demand(viewer, Question(f"{root}/health", _query(filters)))
        names = [item["device_id"] for item in listed.json["items"]]
        query = [("device_id", name) for name in names]
        trends = await pages.ask.demand(viewer, Question(f"{root}/trends", query))
        return {
            "workspace_id": workspace_id,
            "root": root,
            "back": link_with(filters, path=root),
            "trends": trends.json,
            "rows": [_draw_trend(item, trends.json["unit"]) for item in trends.json["items"]],
        }


def _query(filters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the question about devices: away longest first, unless the address says otherwise."""
    asked = list(filters)
    if not any(name == "order" for name, _ in asked):
        asked.append(("order", "away"))
    cursor = request.args.get("cursor")
    if cursor:
        asked.append(("cursor", cursor))
    return [*asked, ("limit", str(ROWS)), *(("signal", name) for name in _ASKED)]


def _columns(items: Sequence[Mapping[str, Any]]) -> list[ValueColumn]:
    """Return the columns of signals that a device of the list has."""
    present = {name for item in items for name in item["values"]}
    return [column for column in COLUMNS if column.signal in present]


def _filter_values(filters: Sequence[tuple[str, str]], health: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the form of the filters and the links around the list show."""
    chosen = dict(filters)
    following = health["next_cursor"]
    return {
        "filters": filters,
        "chosen": chosen,
        "is_filtered": any(name != "order" for name, _ in filters),
        "state_links": {
            state: link_with(filters, state=None if chosen.get("state") == state else state)
            for state in words.STATES
        },
        "order_link": link_with(
            filters, order=None if chosen.get("order") == "device" else "device"
        ),
        "next_link": link_with(filters, cursor=following) if following else None,
        "first_link": link_with(filters) if "cursor" in request.args else None,
        "clear_link": request.path,
        "trends_link": link_with(
            filters, path=f"{request.path}/trends", cursor=request.args.get("cursor")
        ),
        "reasons": [reason.value for reason in HealthReason],
        "parties": [party.value for party in Party],
    }


def _describe_cycle(cycle: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cycle with its duration and its lateness, in seconds; None: not known."""
    started, ended = cycle["started_at"], cycle["ended_at"]
    slot = parse_instant(cycle["slot_start_at"])
    begun = None if started is None else parse_instant(started)
    duration = None if begun is None or ended is None else (parse_instant(ended) - begun)
    return {
        **cycle,
        "duration": None if duration is None else duration.total_seconds(),
        "lateness": None if begun is None else max(0.0, (begun - slot).total_seconds()),
    }


def _draw_map(items: Sequence[Mapping[str, Any]]) -> MapPicture | None:
    ranks = {state.value: rank for rank, state in enumerate(words.STATES)}
    return draw_map(
        Spot(
            item["device_id"],
            item["vehicle_name"],
            item["state"],
            ranks[State(item["state"])],
            item["values"][LATITUDE]["value"],
            item["values"][LONGITUDE]["value"],
            item["values"][LATITUDE]["mark"] != "current",
        )
        for item in items
        if LATITUDE in item["values"] and LONGITUDE in item["values"]
    )


def _draw_trend(item: Mapping[str, Any], unit: str) -> dict[str, Any]:
    entry = CATALOGUE[TREND_SIGNAL]
    limits = (entry.minimum or 0.0, entry.maximum or 1.0)
    known = [value for value in item["values"] if value is not None]
    return {
        "device_id": item["device_id"],
        "line": draw_line(item["values"], limits, unit),
        "presence": draw_presence(item["heard_at"]),
        "newest": show_value(known[-1] if known else None, unit),
    }
