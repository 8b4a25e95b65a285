"""The forms of a cutover: a flag is changed, a workspace is rolled back, devices are synchronised.

Each change has a page of its own that says what will happen, and carries it out only if nothing
was changed since. The API decides; its refusals are shown in words on the same page.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from quart import request

from api.keys import Scope
from api.pages import cutover_steps
from api.pages.admin import PATH, is_failing, show_cutover
from api.pages.contract import ContractAnswer, Question, path_of
from api.pages.page import redirect
from api.pages.rendering import render
from api.pages.viewer import current_viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart.typing import ResponseReturnValue
    from werkzeug.datastructures import MultiDict

    from api.pages.page import Pages, Values

_PATCH: Final = {"content-type": "application/merge-patch+json"}


def declare_cutover_changes(pages: Pages) -> None:
    _declare_change(pages)
    _declare_rollback(pages)
    _declare_sync(pages)


def _declare_change(pages: Pages) -> None:
    path = f"{PATH}/change"

    @pages.page(path, "cutover_change.html", scope=Scope.ADMIN)
    async def show_cutover_change(workspace_id: str) -> Values:
        return await _show_change(pages, workspace_id, cutover_steps.read_flags(request.args))

    @pages.action(path, scope=Scope.ADMIN)
    async def change_cutover(workspace_id: str) -> ResponseReturnValue:
        form = await request.form
        wanted = cutover_steps.read_flags(form)
        forced = {"force": {"reason": _reason(form)}} if form.get("force") else {}
        answer = await _write(
            pages, workspace_id, Question("/cutover", (), "PATCH", wanted | forced, _PATCH), form
        )
        if not answer.is_refused:
            return _lead_back(workspace_id, "cutover-changed")
        values = await _show_change(pages, workspace_id, wanted, answer.json)
        return await render("cutover_change.html", values, answer.status)


def _declare_rollback(pages: Pages) -> None:
    path = f"{PATH}/rollback"

    @pages.page(path, "cutover_rollback.html", scope=Scope.ADMIN)
    async def show_rollback(workspace_id: str) -> Values:
        return await _show_rollback(pages, workspace_id)

    @pages.action(path, scope=Scope.ADMIN)
    async def roll_back(workspace_id: str) -> ResponseReturnValue:
        form = await request.form
        body = {"reason": _reason(form)}
        answer = await _write(
            pages, workspace_id, Question("/cutover/rollback", (), "POST", body), form
        )
        if not answer.is_refused:
            return _lead_back(workspace_id, "rolled-back")
        values = await _show_rollback(pages, workspace_id, answer.json)
        return await render("cutover_rollback.html", values, answer.status)


def _declare_sync(pages: Pages) -> None:
    @pages.action(f"{PATH}/sync", scope=Scope.ADMIN)
    async def synchronise(workspace_id: str) -> ResponseReturnValue:
        form = await request.form
        body: dict[str, Any] = {"dry_run": form.get("how") == "try"}
        if form.get("how") == "force":
            body["force"] = {"reason": _reason(form)}
        path = f"{path_of('workspaces', workspace_id)}/cutover/sync"
        answer = await pages.ask.ask(current_viewer(), Question(path, (), "POST", body))
        if answer.is_refused or body["dry_run"]:
            values = await show_cutover(pages, workspace_id, answer.json)
            status = answer.status if answer.is_refused else HTTPStatus.OK
            return await render("admin.html", values, status)
        return _lead_back(workspace_id, "synchronised")


def _reason(form: MultiDict[str, str]) -> str:
    """Return the reason in one line, as the audit keeps it."""
    return " ".join(form.get("reason", "").split())


async def _write(
    pages: Pages, workspace_id: str, question: Question, form: MultiDict[str, str]
) -> ContractAnswer:
    """Ask the API to write below the workspace, if the cutover is still as the page showed it."""
    seen = form.get("etag", "")
    headers = dict(question.headers)
    # Without a tag nothing is written: the page was not sent as it was shown.
    headers["if-match"] = seen if seen.isascii() and seen.isprintable() else '""'
    path = path_of("workspaces", workspace_id) + question.path
    return await pages.ask.ask(current_viewer(), question._replace(path=path, headers=headers))


def _lead_back(workspace_id: str, done: str) -> ResponseReturnValue:
    return redirect(f"{path_of('workspaces', workspace_id)}/admin?done={done}")


async def _show_change(
    pages: Pages,
    workspace_id: str,
    wanted: Mapping[str, str],
    refusal: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    frame = await _show_frame(pages, workspace_id, refusal)
    cutover = frame["cutover"]
    return {
        **frame,
        "wanted": wanted,
        "changes": cutover_steps.list_changes(cutover, wanted),
        "crosses_gate": cutover_steps.crosses_gate(cutover, wanted),
    }


async def _show_rollback(
    pages: Pages, workspace_id: str, refusal: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    frame = await _show_frame(pages, workspace_id, refusal)
    wanted = {"read_owner": "legacy", "poll_owner": "legacy"}
    return {**frame, "changes": cutover_steps.list_changes(frame["cutover"], wanted)}


async def _show_frame(
    pages: Pages, workspace_id: str, refusal: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what both pages show: the cutover as it is now, with its tag, and the refusal."""
    viewer, root = current_viewer(), path_of("workspaces", workspace_id)
    cutover = await pages.ask.demand(viewer, Question(f"{root}/cutover"))
    return {
        "workspace": await pages.ask.get(viewer, root),
        "cutover": cutover.json,
        "etag": cutover.headers["etag"],
        "refusal": refusal,
        "legacy_fails": is_failing(cutover.json),
        "words": cutover_steps,
        "reason": "" if request.method == "GET" else _reason(await request.form),
    }
