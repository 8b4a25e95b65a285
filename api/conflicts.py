"""Refusals of commands as problems, and the place in a request body that a refused field has."""

from pydantic import BaseModel

from api.problem_types import CONFLICT
from api.problems import FaultyPart, Problem
from domain.registry import Archived, Conflict


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
