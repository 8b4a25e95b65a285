"""JSON merge patches (RFC 7396): the members that a request names change, and all others stay.

The result is judged whole, as the body of a PUT is. Null takes a member away, so it gets its
default; a member that a PUT leaves as it is has none, and refuses null.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

import orjson
from pydantic import ConfigDict, create_model
from pydantic_core import from_json

from api.bodies import RequestModel, parse_body, parse_json, read_body
from api.problem_types import INVALID_BODY
from api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from quart import Request

MERGE_PATCH = "application/merge-patch+json"
PATCH_MEDIA_TYPES = (MERGE_PATCH, "application/json")

ModelT = TypeVar("ModelT", bound="BaseModel")


class Patch(NamedTuple):
    """The document of a merge patch."""

    document: Any

    def names(self, member: str) -> bool:
        return isinstance(self.document, dict) and member in self.document

    def apply(
        self, present: Mapping[str, Any], model: type[ModelT], *, kept: frozenset[str] = frozenset()
    ) -> ModelT:
        """Return `present` after the patch, as `model`. `kept` are members that refuse null.

        Raises Problem 422 that names each invalid place.
        """
        merged = merge(present, self.document)
        if isinstance(merged, dict):
            merged |= {name: None for name in kept if self.names(name) and name not in merged}
            merged = _with_unknown_nulls(merged, self.document, model)
        return parse_body(orjson.dumps(merged), model)


async def read_patch(request: Request) -> Patch:
    """Return the request's merge patch.

    Raises Problem as `read_json` does: 415, 400, and 422 for one that is nested too deeply.
    """
    raw = await read_body(request, taken=", ".join(PATCH_MEDIA_TYPES))
    document = parse_json(raw)
    try:
        from_json(raw)  # it refuses what is nested deeper than a body may be
    except ValueError as error:
        raise Problem(INVALID_BODY, f"It cannot be read: {error}.") from None
    return Patch(document)


def merge(present: Any, patch: Any) -> Any:
    """Return the document after the patch, by the rule of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(present) if isinstance(present, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _with_unknown_nulls(merged: Any, patch: Any, model: type[BaseModel]) -> Any:
    """Return the merged document with the nulls for members that the model does not have.

    The rule of merge patches would drop them, and a misspelt name would then change nothing without
    a word. The model refuses what it does not have.
    """
    if not isinstance(merged, dict) or not isinstance(patch, dict):
        return merged
    whole = dict(merged)
    for name, value in patch.items():
        field = model.model_fields.get(name)
        if field is None and value is None:
            whole[name] = None
        elif field is not None and value is not None and (inner := _model_in(field.annotation)):
            whole[name] = _with_unknown_nulls(whole[name], value, inner)
    return whole


def _model_in(shape: Any) -> type[RequestModel] | None:
    """Return the model of a member that is one, or one or null; None for any other member."""
    kinds = get_args(shape) or (shape,)
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, RequestModel)]
    return models[0] if len(models) == 1 else None


def patch_of(
    body: type[RequestModel],
    *,
    kept: frozenset[str] = frozenset(),
    inner: Mapping[str, type[RequestModel]] | None = None,
) -> type[RequestModel]:
    """Return the model that describes a merge patch of the body; requests are not judged by it.

    Every member may be left out. Null is for those that have a default, but not for `kept` ones.
    `inner` has the patches of members whose own members may not all be left out.
    """
    fields: dict[str, Any] = {}
    for name, field in body.model_fields.items():
        shown = copy(field)
        shown.default, shown.default_factory = None, None
        takes_null = not field.is_required() and name not in kept
        shape: Any = (inner or {}).get(name, field.annotation)
        fields[name] = (shape | None if takes_null else shape, shown)
    return create_model(
        body.__name__.replace("Body", "Patch"),
        __base__=_Described,
        __doc__="The members to change; those left out stay. "
        "A member that takes null gets its default by it.",
        **fields,
    )


def _without_defaults(schema: dict[str, Any]) -> None:
    # A member that is left out stays as it is: it has no default.
    for described in schema["properties"].values():
        described.pop("default", None)


class _Described(RequestModel):
    model_config = ConfigDict(json_schema_extra=_without_defaults)
