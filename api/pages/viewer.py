"""The person who looks at a page: the sign-in, and what its key opens.

Owns the cookie's form, `<sign-in id>.<secret>`, and its check. A sign-in opens what its key opens
now: it is read from the database, with its key, at every request. So signing out, and revoking the
key, hold from the next request on.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from quart import g

from api.access import Access
from api.keys import KeyState, state_of
from ports.sign_ins import SignInRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ports.keys import KeyRecord
    from ports.sign_ins import FoundSignIn

# The prefix makes browsers refuse the cookie from another host, another path, or without TLS. They
# take loopback for TLS, so the demo works.
COOKIE: Final = "__Host-lastheard"
SIGN_IN_LASTS: Final = timedelta(hours=12)
_ID_BYTES = 8
_SECRET_BYTES = 32
_NO_HASH = bytes(32)
_ID = re.compile(r"[0-9a-f]{16}")
_FORM = re.compile(rf"({_ID.pattern})\.([A-Za-z0-9_-]{{43}})")
_MAX_USER_AGENT = 200


class Ticket(NamedTuple):
    """What the cookie has: the public id of the sign-in, and its secret."""

    sign_in_id: str
    secret: str

    @property
    def text(self) -> str:
        return f"{self.sign_in_id}.{self.secret}"


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person. `address` is the browser's; `csrf` goes into every form."""

    access: Access
    key_name: str
    sign_in_id: str
    expires_at: datetime
    key_expires_at: datetime | None
    csrf: str
    address: str | None

    def may(self, scope: str) -> bool:
        return scope in self.access.scopes


def current_viewer() -> Viewer:
    """The viewer of the page being served."""
    return cast("Viewer", g.viewer)


def mint_sign_in(
    key: KeyRecord, now: datetime, address: str | None, user_agent: str | None
) -> tuple[SignInRecord, Ticket]:
    """Return a new sign-in for the store, and its ticket for the cookie."""
    ticket = Ticket(secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES))
    record = SignInRecord(
        sign_in_id=ticket.sign_in_id,
        key_id=key.key_id,
        secret_hash=_hash(ticket.secret),
        expires_at=now + SIGN_IN_LASTS,
        address=address,
        user_agent=None if user_agent is None else user_agent[:_MAX_USER_AGENT],
    )
    return record, ticket


def is_sign_in_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def read_ticket(headers: Iterable[tuple[bytes, bytes]]) -> Ticket | None:
    """Return the ticket of a request's cookies; None without one, or if it has another form."""
    for name, value in headers:
        if name.lower() == b"cookie":
            found = _find_cookie(value.decode("latin-1"))
            if found is not None:
                return found
    return None


def _find_cookie(line: str) -> Ticket | None:
    try:
        morsel = SimpleCookie(line).get(COOKIE)
    except CookieError:
        return None
    form = None if morsel is None else _FORM.fullmatch(morsel.value)
    return None if form is None else Ticket(form[1], form[2])


def view_as(
    found: FoundSignIn | None, ticket: Ticket, now: datetime, address: str | None
) -> Viewer | None:
    """Return the viewer with this ticket; None if it opens nothing now.

    The hash is compared first, in constant time, and with a dummy if there is no such sign-in.
    """
    expected = _NO_HASH if found is None else found.sign_in.secret_hash
    if not hmac.compare_digest(_hash(ticket.secret), expected) or found is None:
        return None
    sign_in, key = found
    is_over = sign_in.ended_at is not None or sign_in.expires_at <= now
    if is_over or key is None or state_of(key, now) is not KeyState.ACTIVE:
        return None
    return Viewer(
        Access(key.key_id, key.scopes, key.workspaces),
        key.name,
        sign_in.sign_in_id,
        sign_in.expires_at,
        key.expires_at,
        _csrf_of(ticket),
        address,
    )


def _csrf_of(ticket: Ticket) -> str:
    """Return the token of this sign-in's forms. Only who has the cookie's secret can make it."""
    return hmac.new(ticket.secret.encode(), b"lastheard forms", hashlib.sha256).hexdigest()


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
