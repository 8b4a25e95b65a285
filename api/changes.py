"""The history of changes, as the audit: newest first, of all workspaces or of one.

Reads the history of changes (domain/changes.py), which is append-only. Secrets are in no entry.
"""

from typing import Annotated, Any

from pydantic import Field
from quart import Response, request

from api.auth import current_access
from api.bodies import Instant, json_response, read_query
from api.cursors import PageQuery
from api.jwt_claims import MAX_SUBJECT_CHARACTERS, SUBJECT_PREFIX
from api.keys import Scope
from api.operations import Operations
from api.paging import Paging, cut_page
from api.services import ApiServices
from api.shapes import PRINTABLE, AnswerModel
from domain.changes import ChangeKind
from ports.changes import AuditEntry, AuditQuery

_TAG = "audit"
_MAX_WHO_CHARACTERS = len(SUBJECT_PREFIX) + MAX_SUBJECT_CHARACTERS


class AuditAnswer(AnswerModel):
    """One change. `before` is null for what is new.

    The members of `before` and `after` are those of its kind: of an import, the counts of the
    devices that it created and updated, and the SHA-256 of the imported file; of a synchronisation
    its counts.
    """

    change_id: int
    at: Instant
    workspace_id: str | None = Field(description="null for a key")
    kind: ChangeKind
    subject: str = Field(description="the id of what was changed; of many, their workspace")
    who: str = Field(description="the id of a key, `jwt:` and a subject, or the name of a command")
    key_name: str | None = Field(description="the name of that key; null if there is none now")
    address: str | None = Field(description="where the command came from; null for our own")
    trace_id: str | None = Field(
        description="the trace id of the request, which its answer has as X-Request-Id"
    )
    changed: list[str] = Field(description="the members whose values differ")
    before: dict[str, Any] | None
    after: dict[str, Any]
    part_of: int | None = Field(
        description="the entry of the import or sync that changed this device"
    )


class AuditList(AnswerModel):
    items: list[AuditAnswer]
    next_cursor: str | None


class AuditFilter(PageQuery):
    kind: ChangeKind | None = Field(None, description="only changes of this kind of thing")
    subject: Annotated[
        str | None,
        Field(
            max_length=128, pattern=PRINTABLE, description="only changes of the thing with this id"
        ),
    ] = None
    who: Annotated[
        str | None,
        Field(
            max_length=_MAX_WHO_CHARACTERS,
            pattern=PRINTABLE,
            description="only what was changed by this key's id, subject (`jwt:…`) or command",
        ),
    ] = None
    since: Instant | None = Field(None, description="only changes from this instant on")
    until: Instant | None = Field(None, description="only changes before this instant")
    part_of: Annotated[
        int | None,
        Field(
            ge=1, le=2**63 - 1, description="the devices of the import or sync with this change_id"
        ),
    ] = None


def declare_audit(operations: Operations, services: ApiServices) -> None:
    paging = Paging(services)

    @operations.declare(
        "GET", "/audit", scope=Scope.ADMIN, query=AuditFilter, response=AuditList, tag=_TAG
    )
    async def list_audit() -> Response:
        """List what was changed, newest first, in all workspaces that the key sees.

        An import, or a sync, is one entry; `part_of` lists its devices. A key that is limited to
        workspaces sees the keys that are limited to some of these.
        """
        return await _list(services, paging, None)

    @operations.declare(
        "GET",
        "/workspaces/{workspace_id}/audit",
        scope=Scope.CONTROL,
        query=AuditFilter,
        response=AuditList,
        tag=_TAG,
    )
    async def list_workspace_audit(workspace_id: str) -> Response:
        """List what was changed in a workspace, newest first: all of it but keys.

        An import is one entry; `part_of` lists its devices.
        """
        return await _list(services, paging, workspace_id)


async def _list(services: ApiServices, paging: Paging, workspace_id: str | None) -> Response:
    within = current_access().workspaces if workspace_id is None else frozenset({workspace_id})
    wanted = read_query(request, AuditFilter)
    filters = wanted.model_dump(mode="json", exclude={"cursor", "limit"})
    kind = f"audit {workspace_id} {filters}"
    rows = await services.changes.list_changes(
        AuditQuery(
            within=within,
            with_keys=workspace_id is None,
            kind=wanted.kind,
            subject=wanted.subject,
            who=wanted.who,
            since=wanted.since,
            until=wanted.until,
            part_of=wanted.part_of,
            before=paging.key_after(wanted.cursor, kind),
            most=wanted.limit + 1,
        )
    )
    page, last = cut_page(rows, wanted.limit)
    following = paging.encode(kind, None if last is None else (last.change.change_id,))
    return json_response(AuditList(items=[_present(row) for row in page], next_cursor=following))


def _present(entry: AuditEntry) -> AuditAnswer:
    change = entry.change
    before = change.before or {}
    return AuditAnswer(
        **change._asdict(),
        key_name=entry.key_name,
        changed=sorted(name for name, value in change.after.items() if before.get(name) != value),
    )
