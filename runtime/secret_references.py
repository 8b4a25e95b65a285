"""Secrets by reference: the only form in which a secret appears in settings, tables and logs.

This module owns `SecretReference` and the errors for a reference that cannot be used.
runtime/secret_files.py reads the files. It must never cache, print or store a secret.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from pydantic_core import CoreSchema, core_schema

from runtime.faults import EnvironmentFault
from runtime.secret_files import OutsideFolder, SecretFileFault, read_secret_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class SecretUnavailable(EnvironmentFault):
    """The reference cannot be used now. The text has the reference, never a value."""


class SecretForbidden(SecretUnavailable):
    """The reference names something forbidden here, and can never work. The text has the remedy."""

    permanent = True


class SecretReference:
    """The place of a secret: `env:NAME` or `file:PATH`. Immutable; prints as that only."""

    __slots__ = ("kind", "target")

    kind: Literal["env", "file"]
    target: str

    def __init__(self, reference: str) -> None:
        if not reference.strip():
            raise ValueError("it is empty: write env:NAME or file:PATH, or leave it unset")
        kind, colon, target = reference.partition(":")
        if kind not in ("env", "file") or not colon or not target.strip():
            # The text is not repeated, because it may be the secret itself.
            raise ValueError(
                "a secret must be a reference, never the secret itself: put it into a file and "
                "write file:PATH, or into a variable and write env:NAME"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "target", target.strip())

    def resolve(self, env: Mapping[str, str] | None = None, *, folder: Path | None = None) -> str:
        """Return the secret without one trailing newline.

        It is read anew at each call, because it may rotate. Blocks while a file is read. With
        `folder`, a file must lie in it, and a relative path is relative to it. Raises
        SecretUnavailable if the secret is missing, empty, unreadable, not UTF-8 text, not a regular
        file or larger than 64 kB; SecretForbidden if it is outside the folder.
        """
        text = self._read(os.environ if env is None else env, folder)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise SecretUnavailable(f"the secret {self} is empty", permanent=self.kind == "env")
        return text

    def _read(self, env: Mapping[str, str], folder: Path | None) -> str:
        if self.kind == "env":
            if self.target not in env:
                raise SecretUnavailable(
                    f"the secret {self} is missing: no such variable", permanent=True
                )
            return env[self.target]
        try:
            content = read_secret_file(self.target, folder)
        except OutsideFolder as fault:
            raise SecretForbidden(f"the secret {self} {fault}") from fault
        except SecretFileFault as fault:
            raise SecretUnavailable(f"the secret {self} {fault}") from fault
        try:
            return content.decode()
        except UnicodeDecodeError:
            # The cause is left out because it carries the bytes.
            raise SecretUnavailable(f"the secret {self} is not UTF-8 text") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a SecretReference does not change")

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    def __repr__(self) -> str:
        return f"SecretReference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretReference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def _accept(cls, value: object) -> SecretReference:
        if isinstance(value, SecretReference):
            return value
        return cls(value if isinstance(value, str) else "")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._accept,
            json_schema_input_schema=core_schema.str_schema(pattern="^(env|file):.+"),
            serialization=core_schema.to_string_ser_schema(),
        )
