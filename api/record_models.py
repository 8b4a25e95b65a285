"""Models that describe the frozen records which a process reports about itself.

Owns the way from a dataclass to its model. The dataclasses stay the only list of what is reported.
The models describe; no record is judged by them.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field as DataclassField


class RecordModels:
    """Makes a model of each dataclass, once.

    `names` has the types that the modules of the dataclasses import for the type checker only.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = dict(names)
        self._made: dict[type, type[BaseModel]] = {}

    def of(self, record: type) -> type[BaseModel]:
        """Return the model of a dataclass. Raises NameError for a type that is not in `names`."""
        if record not in self._made:
            hints = get_type_hints(record, localns=self._names)
            members: dict[str, Any] = {
                one.name: (self._describe(hints[one.name]), _default_of(one))
                for one in fields(record)
            }
            self._made[record] = create_model(record.__name__, __doc__=record.__doc__, **members)
        return self._made[record]

    def _describe(self, hint: Any) -> Any:
        """Return the type with models in the place of dataclasses."""
        if is_dataclass(hint) and isinstance(hint, type):
            return self.of(hint)
        parts = tuple(self._describe(part) for part in get_args(hint))
        if not parts:
            return hint
        origin: Any = get_origin(hint)
        return Union[parts] if origin in (Union, UnionType) else origin[parts]  # noqa: UP007


def _default_of(one: DataclassField[Any]) -> Any:
    """Return the default of a member. One that has any may be missing in what older shards sent."""
    if one.default_factory is not MISSING:
        return Field(default_factory=one.default_factory)
    return ... if one.default is MISSING else one.default
