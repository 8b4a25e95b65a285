"""The worklist: the devices to ask about, by age and by whose fault, to filter, export and send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Response, request

from api.pages.contract import Question
from api.pages.filters import link_with, read_filters
from api.pages.rendering import render_part
from api.pages.shared_parts import SharedParts
from api.pages.viewer import current_viewer
from api.pages.worklist_text import write_summary
from domain.ageing import AgeGroup
from domain.health_reason import HealthReason, Party

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from api.pages.page import Pages, Values

ROWS: Final = 200
FILTERS: Final = (
    *("workspace_id", "state", "reason", "party", "provider_id", "tag", "search", "age"),
)
_KEPT_HEADERS: Final = ("content-type", "content-disposition")


def declare_worklist(pages: Pages) -> None:
    parts = SharedParts()

    @pages.page("/worklist", "worklist.html")
    async def show_worklist() -> Values:
        asked = tuple(read_filters((*FILTERS, "cursor")))
        key = (current_viewer().access.workspaces, asked, request.url_root)
        return {"part": await parts.show(key, make_part)}

    async def make_part() -> Markup:
        filters = read_filters(FILTERS)
        paged = [*filters, ("limit", str(ROWS))]
        if request.args.get("cursor"):
            paged.append(("cursor", request.args["cursor"]))
        found = await pages.ask.get_all(
            current_viewer(),
            {
                "worklist": Question("/worklist", paged),
                "summary": Question("/worklist/summary", filters),
            },
        )
        worklist, summary = found["worklist"], found["summary"]
        values = {
            **found,
            "rows": worklist["items"],
            "text": write_summary(worklist["items"], summary, request.url_root),
            **_filter_values(filters, worklist, summary),
        }
        return await render_part("worklist_part.html", values)

    @pages.raw("/worklist.csv")
    async def download_worklist() -> Response:
        """The list as CSV, with the filters of the page's address; all of it, up to 20,000."""
        query = [*read_filters((*FILTERS, "cursor")), ("format", "csv")]
        answer = await pages.ask.demand(current_viewer(), Question("/worklist", query))
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        return Response(answer.body, answer.status, kept)


def _filter_values(
    filters: Sequence[tuple[str, str]], worklist: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the form of the filters and the links around the list show."""
    chosen = dict(filters)
    following = worklist["next_cursor"]
    return {
        "chosen": chosen,
        "is_filtered": bool(filters),
        "ages": [
            (age, summary["ages"][age], chosen.get("age") == age, _age_link(filters, age))
            for age in AgeGroup
        ],
        "next_link": link_with(filters, cursor=following) if following else None,
        "first_link": link_with(filters) if "cursor" in request.args else None,
        "csv_link": link_with(filters, path="/worklist.csv"),
        "reasons": _with_counts([reason.value for reason in HealthReason], summary["reasons"]),
        "parties": _with_counts([party.value for party in Party], summary["parties"]),
    }


def _age_link(filters: Sequence[tuple[str, str]], age: str) -> str:
    """Return the address with this age, or without it if it is chosen."""
    return link_with(filters, age=None if ("age", age) in filters else age)


def _with_counts(words: Sequence[str], counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the words with their counts; those that occur come first."""
    return sorted(((word, counts.get(word, 0)) for word in words), key=lambda pair: -pair[1])
