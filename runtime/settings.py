"""Loading settings, and explaining what is wrong with them.

This module owns the machinery: it merges variables and a TOML file into one pydantic-settings
model, and reports all mistakes at once in words that say what to change. It must never know a
particular setting, nor print a secret or what may be one. Secrets are given by `SecretReference`,
which is re-exported here.

Precedence: environment over file over default. Names follow from the prefix and the nesting
delimiter in the model's `model_config` (a field `http.port` is `LASTHEARD_HTTP__PORT` and `[http]
port`). Fields must not use aliases.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from runtime.redaction import REDACTED, is_sensitive_key, redact_text
from runtime.secret_references import SecretForbidden, SecretReference, SecretUnavailable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "FREE_NAMES",
    "SecretForbidden",
    "SecretReference",
    "SecretUnavailable",
    "SettingsError",
    "load_settings",
]

SettingsT = TypeVar("SettingsT", bound=BaseSettings)

FREE_NAMES = "SECRET_"
"""After the prefix, variables that begin so are not settings. They hold secrets for references."""
MAX_SHOWN_LENGTH = 80


class SettingsError(Exception):
    """The settings cannot be used. The text lists every problem; `problems` has them one by one."""

    def __init__(self, problems: Collection[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  - ".join([f"the settings have {count}:", *self.problems]))


def load_settings(
    cls: type[SettingsT],
    *,
    toml_path: Path | None,
    env: Mapping[str, str] | None = None,
    also_known: Collection[str] = (),
    retired: Mapping[str, str] | None = None,
) -> SettingsT:
    """Read, merge and validate the settings.

    Blocks to read the file; call it before the loop starts.

    `env` defaults to the process's environment. `also_known` are variables with our prefix that
    other programs read. `retired` maps the field names of removed settings to why they are not
    needed. Raises SettingsError with every problem found: unknown names (with the closest known
    one) and wrong values, each under its variable and its TOML key.
    """
    variables = dict(os.environ if env is None else env)
    names = _Names(cls, retired or {})
    document = {} if toml_path is None else _read_toml(toml_path)
    unknown = dict(
        [
            *_unknown_keys(names, document, toml_path),
            *_unknown_variables(names, variables, also_known),
        ]
    )
    from_env = _MappingSource(cls, variables)()
    settings = cls.__new__(cls)
    wrong: list[ErrorDetails] = []
    try:
        # BaseSettings would read the real environment here; BaseModel only validates.
        BaseModel.__init__(settings, **_merged(document, from_env))
    except ValidationError as error:
        wrong = [each for each in error.errors(include_url=False) if each["loc"] not in unknown]
    problems = [*unknown.values(), *(_explain(names, each, from_env, toml_path) for each in wrong)]
    if problems:
        # Raised outside the handler, so that the ValidationError, which repeats the values, does
        # not become this error's context.
        raise SettingsError(problems)
    return settings


class _Field(NamedTuple):
    path: tuple[str, ...]
    is_secret: bool
    is_open: bool  # a mapping: any name below it is accepted
    description: str
    default: str


class _Names:
    """The names that a settings model knows, as variables and as TOML keys."""

    def __init__(self, cls: type[BaseSettings], retired: Mapping[str, str]) -> None:
        self.retired = retired
        self.prefix = str(cls.model_config.get("env_prefix") or "").upper()
        self.delimiter = str(cls.model_config.get("env_nested_delimiter") or "__").upper()
        self.fields = {field.path: field for field in _fields_of(cls, ())}

    def variable(self, path: tuple[int | str, ...]) -> str:
        return self.prefix + self.delimiter.join(str(part).upper() for part in path)

    def key(self, path: tuple[int | str, ...]) -> str:
        return ".".join(str(part) for part in path)

    def nearest_field(self, path: tuple[int | str, ...]) -> _Field | None:
        """Return the field at this place, or the one that contains it, or None."""
        names = tuple(str(part) for part in path)
        return next(
            (self.fields[names[:n]] for n in range(len(names), 0, -1) if names[:n] in self.fields),
            None,
        )

    def explain_unknown(self, path: tuple[str, ...], name: str, known: list[str]) -> str:
        """Return what is wrong with a name that is no setting, and what to do."""
        why = self.retired.get(self.key(path))
        return (
            f"no longer a setting: remove it. {why}"
            if why
            else f"no such setting{_suggestion(name, known)}"
        )

    def is_open(self, path: tuple[str, ...]) -> bool:
        field = self.nearest_field(path)
        return field is not None and field.is_open

    def knows(self, path: tuple[str, ...]) -> bool:
        return path in self.fields or self.is_open(path)


class _MappingSource(EnvSettingsSource):
    """pydantic-settings' reader of variables, applied to a given mapping.

    Bad JSON is passed on, so that it is reported as a bad value.
    """

    def __init__(self, cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._variables.items()}

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _fields_of(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[_Field]:
    for name, info in model.model_fields.items():
        path = (*above, name)
        forms = _forms_of(info.annotation)
        nested = next(
            (form for form in forms if isinstance(form, type) and issubclass(form, BaseModel)), None
        )
        has_plain_default = not (info.is_required() or info.default_factory or nested)
        yield _Field(
            path,
            is_secret=not info.repr
            or is_sensitive_key(name)
            or any("Secret" in str(form) for form in forms),
            is_open=any((get_origin(form) or form) in (dict, Mapping) for form in forms),
            description=info.description or "",
            default=_plain(info.default) if has_plain_default else "",
        )
        if nested is not None:
            yield from _fields_of(nested, path)


def _forms_of(annotation: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows: itself, or the members of a union."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, SecretReference | Path) else repr(value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"the file {path} cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8 text"
        raise SettingsError([f"the file {path} is not TOML: {reason}"]) from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge both documents, table by table; where they disagree, `above` wins."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(under, value)
        else:
            result[key] = value
    return result


def _unknown_keys(
    names: _Names, table: Mapping[str, Any], file: Path | None, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield each unknown place in the file, with its message."""
    for key, value in table.items():
        path = (*above, key)
        if not names.knows(path):
            known = [names.key(each) for each in names.fields]
            fault = names.explain_unknown(path, names.key(path), known)
            yield path, f"TOML key {names.key(path)} in {file}: {fault}"
        elif isinstance(value, Mapping) and not names.is_open(path):
            yield from _unknown_keys(names, value, file, path)


def _unknown_variables(
    names: _Names, variables: Mapping[str, str], also_known: Collection[str]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield each variable with our prefix that is not known, with its message.

    Known are settings, variables that a reference or `also_known` names, and FREE_NAMES.
    """
    referred = {
        value.removeprefix("env:") for value in variables.values() if value.startswith("env:")
    }
    spared = {name.upper() for name in (*also_known, *referred)}
    known = [names.variable(path) for path in names.fields]
    for variable in sorted(name for name in variables if name.upper().startswith(names.prefix)):
        rest = variable.upper().removeprefix(names.prefix)
        path = tuple(part.lower() for part in rest.split(names.delimiter))
        if not (names.knows(path) or variable.upper() in spared or rest.startswith(FREE_NAMES)):
            yield path, f"{variable}: {names.explain_unknown(path, variable.upper(), known)}"


def _suggestion(name: str, known: list[str]) -> str:
    closest = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {closest[0]}?" if closest else ""


def _explain(
    names: _Names, error: ErrorDetails, from_env: Mapping[str, Any], toml_path: Path | None
) -> str:
    """Describe one wrong setting.

    The text has its names, the given value and its origin, the fault, the purpose and the default.
    """
    location = error["loc"]
    field = names.nearest_field(location)
    reason = redact_text(error["msg"].removeprefix("Value error, "))
    if field is None:
        return f"the settings together: {reason}"
    parts = [f"{names.variable(field.path)} (TOML key {names.key(field.path)}):"]
    if error["type"] == "missing":
        parts.append("is required, and neither the environment nor the file has it")
    elif isinstance(error["input"], Mapping):
        parts.append(reason)
    else:
        origin = (
            "the environment" if _reaches(from_env, location) else str(toml_path or "the defaults")
        )
        parts.append(f"{_shown(field, error['input'])} from {origin} is wrong: {reason}")
    if field.description:
        parts.append(f"- {field.description}")
    if field.default and not field.is_secret:
        parts.append(f"(default {field.default})")
    return " ".join(parts)


def _shown(field: _Field, value: Any) -> str:
    text = REDACTED if field.is_secret else redact_text(repr(value))
    return text if len(text) <= MAX_SHOWN_LENGTH else text[:MAX_SHOWN_LENGTH] + "…"


def _reaches(document: Any, path: tuple[int | str, ...]) -> bool:
    """Return whether the document has a value at this place or on the way to it.

    If so, that value is the one that was judged.
    """
    for part in path:
        if not isinstance(document, Mapping):
            return True
        if part not in document:
            return False
        document = document[part]
    return True
