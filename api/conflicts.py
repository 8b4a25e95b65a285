"""Refusals of commands as problems, and the place in a request body that a refused field has."""

from collections.abc import Callable

from pydantic import BaseModel

from api.problem_types import CONFLICT, REGISTRY_IS_LEGACY, SYNCHRONIZED_SCHEDULE
from api.problems import FaultyPart, Problem
from domain.registry import Archived, Conflict, NotFound, Refusal, RegistryIsLegacy
from domain.start_offsets import Synchronized


def locate_conflict(
    conflict: Conflict, *, group: str, members: type[BaseModel], within: str = ""
) -> FaultyPart:
    """Return the conflict with a pointer to its field.

    `members` are the fields that the body holds in its member `group`. `within` is the pointer to
    the body's part that the command was made from.
    """
    folder = f"{within}/{group}" if conflict.field in members.model_fields else within
    return FaultyPart(detail=conflict.detail, pointer=f"{folder}/{conflict.field}")


def refuse_archived(archived: Archived) -> Problem:
    detail = (
        f"The {archived.what} is archived: it stays readable, is never changed, and its id is not "
        "used again. Choose another id."
    )
    return Problem(CONFLICT, detail)


def refuse_synchronized(refusal: Synchronized) -> Problem:
    """Return the problem that says how many start in that second, and which one is free."""
    free = refusal.nearest_free
    remedy = (
        f"No offset of this interval of {refusal.place.interval} s is free: choose another "
        "interval, or null for an offset that the service finds."
        if free is None
        else f"The nearest free offset is {free}."
    )
    if refusal.field == "active":
        remedy += " Change the policy first, or leave the workspace inactive."
    detail = (
        f"Other workspaces that start in the same second by their offsets: {refusal.starting}. "
        f"At most {refusal.most} may. {remedy}"
    )
    return Problem(
        SYNCHRONIZED_SCHEDULE,
        detail,
        errors=[FaultyPart(detail=detail, pointer=f"/{refusal.field}")],
        extensions={
            "start_offset_seconds": refusal.place.offset,
            "starts_in_second": refusal.starting,
            "most_in_second": refusal.most,
            "nearest_free_offset_seconds": free,
        },
    )


def refuse_legacy_registry(refusal: RegistryIsLegacy) -> Problem:
    """Return the problem of a change of devices that only the synchronisation may make."""
    detail = (
        f"The devices of {refusal.workspace_id} are synchronised from the legacy system. Change "
        "them there, or set device_registry_source to core first (…/cutover)."
    )
    return Problem(REGISTRY_IS_LEGACY, detail)


def refusal_of(
    answer: Refusal,
    *,
    missing: Problem,
    locate: Callable[[Conflict], FaultyPart] | None = None,
) -> Problem:
    """Return the problem that says why a command was refused.

    `missing` is the answer if something that the command names does not exist. `locate` finds the
    place of a conflict in the body; None if the request has no body.
    """
    match answer:
        case NotFound():
            return missing
        case Archived():
            return refuse_archived(answer)
        case Synchronized():
            return refuse_synchronized(answer)
        case RegistryIsLegacy():
            return refuse_legacy_registry(answer)
        case Conflict():
            if locate is None:
                return Problem(CONFLICT, answer.detail)
            return Problem(CONFLICT, errors=[locate(answer)])


def locate_member(conflict: Conflict) -> FaultyPart:
    """Return the conflict with a pointer to its field, a member of the body."""
    return FaultyPart(detail=conflict.detail, pointer=f"/{conflict.field}")
