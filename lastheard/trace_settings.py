"""The settings of traces: where spans are sent, with which headers, and which share of them.

A part of lastheard/settings.py. lastheard/tracing.py uses them.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

from runtime.settings import SecretReference  # noqa: TC001 - pydantic needs it

TRACES_PATH: Final = "/v1/traces"


class TraceSettings(BaseModel):
    """Where spans go. Without an address nothing is traced."""

    otlp_url: Annotated[
        str | None,
        Field(
            repr=False,  # a wrong one, which an error would quote, may have a key in it
            description="collector of traces by OTLP/HTTP, such as http://collector:4318; spans go "
            "to its /v1/traces; nothing is traced when unset",
        ),
    ] = None
    otlp_headers: Annotated[
        SecretReference | None,
        Field(
            description="headers for the collector, as NAME=VALUE with commas between, by "
            "reference (env:NAME, file:PATH)"
        ),
    ] = None
    trace_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the traces that begin here which are recorded; a caller's "
            "traceparent decides for its own",
        ),
    ] = 1.0

    @field_validator("otlp_url")
    @classmethod
    def _check_otlp_url(cls, value: str | None) -> str | None:
        """Return the full address, or None for an empty one."""
        return traces_url(value) if value else None


def traces_url(text: str) -> str:
    """Return the address that spans are sent to, from a collector's base or full address.

    Raises ValueError for what is not a plain http(s) address.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address such as http://collector:4318 or https://host/path")
    parts.port  # noqa: B018 - raises ValueError for a port that is none
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave the password out: give a header in LASTHEARD_OTLP_HEADERS")
    if parts.query or parts.fragment:
        raise ValueError("leave out what follows ? or #")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(TRACES_PATH) else path + TRACES_PATH).geturl()


def read_headers(text: str) -> dict[str, str]:
    """Return the headers that the secret of `otlp_headers` names.

    Raises ValueError, which never quotes the text.
    """
    headers: dict[str, str] = {}
    for number, item in enumerate(text.split(","), start=1):
        name, equals, value = (part.strip() for part in item.partition("="))
        is_name = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
        if not equals or not is_name or not value.isprintable() or not value.isascii():
            raise ValueError(
                f"header {number} is not NAME=VALUE in ASCII: write Authorization=Bearer …, with "
                "commas between several"
            )
        headers[name.lower()] = value
    return headers
