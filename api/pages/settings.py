"""The settings of a workspace: its policy as a form, and what a change would flip.

The preview and every refusal are the API's. A form without a script shows its preview by its
address, so a change that is only considered can be sent to somebody.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quart import request

from api.keys import Scope
from api.pages.contract import ContractAnswer, Question, path_of
from api.pages.page import Pages, Values, redirect
from api.pages.rendering import render
from api.pages.results import find_result
from api.pages.settings_form import (
    faults_by_field,
    fill,
    list_fields,
    make_patch,
    read_texts,
    show_number,
)
from api.pages.viewer import current_viewer
from api.problem_types import NOT_FOUND
from api.problems import Problem
from api.settings_pages import FLAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart.typing import ResponseReturnValue

PATH: Final = "/workspaces/<workspace_id>/settings"
LISTED_DEVICES: Final = 100
LISTED_VERSIONS: Final = 10
_PATCH: Final = {"content-type": "application/merge-patch+json"}


class Draft(NamedTuple):
    """What a person has typed, and what became of it. `refusal` is a problem document.

    `seen` is the tag of the policy that the person began with; None: the present one.
    """

    texts: Mapping[str, str]
    seen: str | None = None
    preview: Mapping[str, Any] | None = None
    refusal: Mapping[str, Any] | None = None
    is_conflict: bool = False


def declare_settings(pages: Pages) -> None:
    fields = list_fields(pages.services.min_poll_interval_seconds)

    @pages.page(PATH, "settings.html")
    async def show_settings(workspace_id: str) -> Values:
        _require_page(pages, workspace_id)
        texts = read_texts(request.args, fields)
        draft = Draft(texts, seen=request.args.get("etag") if texts else None)
        if texts and current_viewer().may(Scope.CONTROL):
            draft = await _preview(pages, workspace_id, draft)
        return await _show(pages, workspace_id, draft)

    @pages.action(PATH, scope=Scope.CONTROL)
    async def store_settings(workspace_id: str) -> ResponseReturnValue:
        _require_page(pages, workspace_id)
        form = await request.form
        texts = read_texts(form, fields)
        answer = await _store(pages, workspace_id, texts, form.get("etag", ""))
        if not answer.is_refused:
            return redirect(f"{path_of('workspaces', workspace_id)}/settings?done=policy-stored")
        is_conflict = answer.status == HTTPStatus.PRECONDITION_FAILED
        seen = None if is_conflict else form.get("etag")  # a conflict was shown: it has been seen
        draft = Draft(texts, seen, refusal=answer.json, is_conflict=is_conflict)
        values = await _show(pages, workspace_id, draft)
        return await render("settings.html", values, answer.status)


def _require_page(pages: Pages, workspace_id: str) -> None:
    """Raise Problem 404 where the flag is off."""
    if not pages.services.settings_pages.has(workspace_id):
        raise Problem(
            NOT_FOUND,
            f"The settings page of {workspace_id} is switched off (the flag {FLAG}, setting "
            "LASTHEARD_SETTINGS_PAGES). The API shows and changes the policy at …/policy.",
        )


async def _preview(pages: Pages, workspace_id: str, draft: Draft) -> Draft:
    answer = await pages.ask.ask(
        current_viewer(),
        Question(
            f"{path_of('workspaces', workspace_id)}/policy/preview",
            {"limit": LISTED_DEVICES},
            "POST",
            make_patch(draft.texts),
            _PATCH,
        ),
    )
    if answer.is_refused:
        return draft._replace(refusal=answer.json)
    return draft._replace(preview=answer.json)


async def _store(
    pages: Pages, workspace_id: str, texts: Mapping[str, str], etag: str
) -> ContractAnswer:
    path = f"{path_of('workspaces', workspace_id)}/policy"
    headers = {**_PATCH, "if-match": etag} if etag.isascii() and etag.isprintable() else _PATCH
    return await pages.ask.ask(
        current_viewer(), Question(path, (), "PATCH", make_patch(texts), headers)
    )


async def _show(pages: Pages, workspace_id: str, draft: Draft) -> Values:
    """Ask for what is stored, and return the values of the page."""
    viewer, root = current_viewer(), path_of("workspaces", workspace_id)
    questions = {
        "workspace": Question(root),
        "providers": Question(f"{root}/providers", {"limit": 100}),
    }
    if viewer.may(Scope.CONTROL):
        cursor = request.args.get("cursor")
        asked = {"limit": LISTED_VERSIONS, **({"cursor": cursor} if cursor else {})}
        questions["history"] = Question(f"{root}/policy/history", asked)
    # The policy first, with its tag: what is shown beside it may be newer, but never older.
    policy = await pages.ask.demand(viewer, Question(f"{root}/policy"))
    found = await pages.ask.get_all(viewer, questions)
    fields = list_fields(pages.services.min_poll_interval_seconds)
    return {
        **found,
        "history": found.get("history"),
        "policy": policy.json,
        "etag": draft.seen or policy.headers["etag"],
        "fields": fill(fields, policy.json, draft.texts, draft.refusal),
        "draft": draft,
        "other_faults": faults_by_field(draft.refusal, fields).get("", []),
        "result": find_result(),
        "may_change": viewer.may(Scope.CONTROL) and found["workspace"]["archived_at"] is None,
        "overriding": [one for one in found["providers"]["items"] if _overrides(one)],
        "address_of": _address_of,
        "number": show_number,
    }


def _overrides(connection: Mapping[str, Any]) -> bool:
    """Return whether a connection sets limits of its own, or states how often it reports."""
    stated = [*connection["overrides"].values(), connection["expected_update_seconds"]]
    return any(value is not None for value in stated)


def _address_of(policy: Mapping[str, Any]) -> dict[str, str]:
    """Return the query that fills the form with a policy."""
    return {name: show_number(value) for name, value in policy.items() if name.endswith("_seconds")}
