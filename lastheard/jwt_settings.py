"""The settings of JWTs: whose tokens are taken besides keys, and what their claims are called.

A part of lastheard/settings.py. lastheard/jwt_issuer.py turns them into rules. Without an issuer no
JWT is taken, and nothing here has an effect. No setting opens an operation to a caller who shows
neither a key nor a JWT (FR-014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator

from api.jwt_key_set import ASYMMETRIC_ALGORITHMS
from domain.ids import is_id
from runtime.outbound import SETTING, OutboundRefused, literal_address

if TYPE_CHECKING:
    from runtime.outbound import Allowance

ClaimName = Annotated[str, Field(min_length=1, max_length=200)]
_NEEDED: Final = ("jwt_issuer", "jwt_jwks_url", "jwt_audiences")
_LOCALHOST: Final = "localhost"


class JwtSettings(BaseModel):
    """The issuer of JWTs, where its keys are, and which claims say what a token opens."""

    jwt_issuer: Annotated[
        str | None,
        Field(
            description="the issuer whose JWTs are taken besides keys, as the claim `iss` of its "
            "tokens has it; none when unset"
        ),
    ] = None
    jwt_jwks_url: Annotated[
        str | None, Field(description="where this issuer publishes its keys (its `jwks_uri`)")
    ] = None
    jwt_audiences: Annotated[
        str,
        Field(
            description="values of the audience claim, with commas between; a token must have one"
        ),
    ] = ""
    jwt_audience_claim: Annotated[
        ClaimName,
        Field(description="the claim that has the audience; for Cognito `client_id`"),
    ] = "aud"
    jwt_algorithms: Annotated[
        str, Field(description="algorithms that tokens may be signed with, with commas between")
    ] = "RS256,ES256"
    jwt_leeway_seconds: Annotated[
        float, Field(ge=0, le=300, description="how far the issuer's clock may be off")
    ] = 30.0
    jwt_subject_claim: Annotated[
        ClaimName, Field(description="the claim that names the caller in logs and in the history")
    ] = "sub"
    jwt_scope_claim: Annotated[
        ClaimName,
        Field(
            description="the claim with the scopes, a text with spaces between or a list; dots "
            "lead to a nested one, as realm_access.roles"
        ),
    ] = "scope"
    jwt_scope_prefix: Annotated[
        str,
        Field(description="what scopes begin with in that claim; words without it open nothing"),
    ] = ""
    jwt_workspaces_claim: Annotated[
        ClaimName,
        Field(description="the claim with the workspaces; a token without it opens none of them"),
    ] = "workspaces"
    jwt_workspaces_prefix: Annotated[
        str,
        Field(description="what workspaces begin with in that claim"),
    ] = ""
    jwt_all_workspaces: Annotated[
        str | None,
        Field(
            description="the word in that claim, without the prefix, that opens every workspace, "
            "as *; unset: no word does"
        ),
    ] = None
    jwt_keys_seconds: Annotated[
        float,
        Field(
            ge=60,
            le=86_400,
            description="age at which the issuer's keys are fetched anew; so long a key that it "
            "removed may still be taken",
        ),
    ] = 300.0
    jwt_keys_kept_seconds: Annotated[
        float,
        Field(
            ge=60,
            le=2_592_000,
            description="how long its last keys are taken while it does not answer",
        ),
    ] = 86_400.0

    @property
    def jwt_audience_list(self) -> frozenset[str]:
        return frozenset(_split(self.jwt_audiences))

    @property
    def jwt_algorithm_list(self) -> frozenset[str]:
        return frozenset(_split(self.jwt_algorithms))

    @field_validator("jwt_issuer", "jwt_jwks_url", "jwt_all_workspaces")
    @classmethod
    def _unset_empty(cls, value: str | None) -> str | None:
        """Return None for an empty text, so that a variable can unset what a file sets."""
        return value or None

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: str) -> str:
        names = _split(value)
        if not names:
            raise ValueError("name at least one algorithm, such as RS256")
        for name in names:
            _check_algorithm(name)
        return value

    @field_validator("jwt_all_workspaces")
    @classmethod
    def _check_word_for_all(cls, value: str | None) -> str | None:
        if value is not None and is_id(value):
            raise ValueError(
                "it could be the id of a workspace, whose tokens would then open all: choose a "
                "word with another character in it, such as *"
            )
        if value is not None and value.split() != [value]:
            raise ValueError("a word has no spaces: choose another, such as *")
        return value

    @model_validator(mode="after")
    def _check_jwt_whole(self) -> Self:
        """Refuse an issuer of which something is missing, and the rest of one without an issuer."""
        missing = [name for name in _NEEDED if not getattr(self, name)]
        if missing and len(missing) < len(_NEEDED):
            names = " and ".join(f"LASTHEARD_{name.upper()}" for name in missing)
            raise ValueError(
                f"JWTs need an issuer, the URL of its keys and an audience together: set {names} "
                "too, or none of them"
            )
        if self.jwt_keys_kept_seconds < self.jwt_keys_seconds:
            raise ValueError(
                "LASTHEARD_JWT_KEYS_KEPT_SECONDS is below LASTHEARD_JWT_KEYS_SECONDS, so keys "
                "would be dropped before new ones are fetched: raise it"
            )
        return self

    def check_jwt_urls(self, allowance: Allowance) -> None:
        """Raise ValueError unless the URLs are secure ones that may be dialled.

        The issuer's is only compared, never dialled.
        """
        if self.jwt_issuer is not None and self.jwt_jwks_url is not None:
            _check_url("LASTHEARD_JWT_ISSUER", self.jwt_issuer, allowance)
            _check_url("LASTHEARD_JWT_JWKS_URL", self.jwt_jwks_url, allowance)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_algorithm(name: str) -> None:
    if name.upper().startswith("HS"):
        raise ValueError(
            f"{name} is symmetric: whoever verifies its tokens can make them too, and the secret "
            "would have to be here; let the issuer sign with RS256 or ES256"
        )
    if name.lower() == "none":
        raise ValueError("tokens that are not signed are never taken")
    if name not in ASYMMETRIC_ALGORITHMS:
        raise ValueError(f"{name} is not known; there are {', '.join(ASYMMETRIC_ALGORITHMS)}")


def _check_url(setting: str, text: str, allowance: Allowance) -> None:
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or not text.isascii() or text.split() != [text]:
        raise ValueError(f"{setting} is not a URL: give the whole one, as https://issuer.example/…")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{setting} has a user or a fragment: leave it out")
    try:
        allowance.judge_literal(host)
    except OutboundRefused as refusal:
        raise ValueError(f"{setting} cannot be used: {refusal}") from None
    if parts.scheme != "https" and not _is_own_machine(parts.scheme, host, allowance):
        raise ValueError(
            f"{setting} must begin with https://, or anybody on the way could give keys of their "
            f"own; http:// is taken for a loopback address alone, if {SETTING} names it"
        )


def _is_own_machine(scheme: str, host: str, allowance: Allowance) -> bool:
    """Return whether this is plain HTTP to a loopback address that the allowance names."""
    address = literal_address("127.0.0.1" if host == _LOCALHOST else host)
    if scheme != "http" or address is None or not address.is_loopback:
        return False
    try:
        allowance.judge(host, address)
    except OutboundRefused:
        return False
    return True
