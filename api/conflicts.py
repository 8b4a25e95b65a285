"""The place in a request body that a refused command's field has."""

from pydantic import BaseModel

from api.problems import FaultyPart
from domain.registry import Conflict


def locate_conflict(
    conflict: Conflict, *, group: str, members: type[BaseModel], within: str = ""
) -> FaultyPart:
    """Return the conflict with a pointer to its field.

    `members` are the fields that the body holds in its member `group`. `within` is the pointer to
    the body's part that the command was made from.
    """
    folder = f"{within}/{group}" if conflict.field in members.model_fields else within
    return FaultyPart(detail=conflict.detail, pointer=f"{folder}/{conflict.field}")
