"""Where one load asks, and the header that carries the credential.

Owns the form of that header, and what a failed call is called. The secret is in the header and in
the scrubber, and nowhere else.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from legacy.shape import BASE64_PLACE, PLAIN_PLACE
from ports.legacy import LegacyUnreachable
from ports.providers import AnswerTooLarge
from runtime.scrubbing import Scrubber

if TYPE_CHECKING:
    from collections.abc import Mapping

    from legacy.shape import CredentialHeader
    from ports.legacy import LegacyConfiguration
    from ports.providers import ProviderFault

LESS_REMEDY: Final = "ask for fewer devices, or for less of each, by the path in `shape`"
# What a person can do about a status. The others are faults of the legacy system.
_REMEDIES: Final = {
    401: "check `credential`, and `credential_header` in `shape`",
    403: "check what the account of `credential` may see",
    404: "check `base_url`, and the path in `shape`",
}
_REDIRECTS: Final = range(300, 400)


class Target(NamedTuple):
    """Where and how one load asks. `scrubber` removes the secret from what comes back."""

    base_url: str
    headers: Mapping[str, str]
    scrubber: Scrubber


def make_target(
    configuration: LegacyConfiguration, header: CredentialHeader, secret: str | None
) -> Target:
    """Return the target. Raises LegacyUnreachable for a secret that no header can carry."""
    headers = {"Accept": "application/json"}
    if secret is None:
        return Target(configuration.base_url, headers, Scrubber())
    if BASE64_PLACE in header.form:
        encoded = b64encode(secret.encode("utf-8", "surrogatepass")).decode()
        text = header.form.replace(BASE64_PLACE, encoded)
    else:
        text = header.form.replace(PLAIN_PLACE, secret)
    if not (text.isascii() and text.isprintable()):
        raise LegacyUnreachable(
            f"the legacy system cannot be asked: the secret {configuration.credential} has "
            "characters that a header cannot carry",
            permanent=True,
        )
    headers[header.name] = text
    return Target(configuration.base_url, headers, Scrubber(secret))


def describe_fault(fault: ProviderFault, url: str) -> str:
    """Return what happened, without query and user part of the address. It is not yet scrubbed.

    The pool's own texts on a status or on the size give advice about connections of providers.
    """
    if isinstance(fault, AnswerTooLarge):
        return (
            f"the legacy system answered with more than {fault.max_bytes} bytes at once: "
            f"{LESS_REMEDY}"
        )
    if fault.status is None:
        return f"the legacy system is unreachable: {fault}"
    parts = urlsplit(url)
    answered = (
        f"the legacy system answered {fault.status} at "
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    )
    if fault.status in _REDIRECTS:
        return f"{answered}, a redirect, which is never followed: set base_url to the final address"
    remedy = _REMEDIES.get(fault.status)
    return answered if remedy is None else f"{answered}: {remedy}"
