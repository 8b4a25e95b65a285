"""What a person does about a provider's fault. Pure.

Owns the advice for each kind of fault. It must never repeat the fault's own text, which is shown
beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from domain.model import FaultClass
from runtime.outbound import OutboundRefused, UnknownName

if TYPE_CHECKING:
    from ports.providers import ProviderDescription, ProviderFault

NOT_FOUND = 404
NOT_ACCEPTABLE = 406
AS_SAID = "Change what the detail names, and try again."


def find_remedy(fault: ProviderFault, about: ProviderDescription | None) -> str:
    """Return the advice. `about` is None for a provider type that this release does not know."""
    address = about and about.base_url
    match fault.fault:
        case FaultClass.CONFIGURATION:
            return _for_configuration(fault, address)
        case FaultClass.CREDENTIALS:
            secret = (about and about.credential) or "the provider's"
            return (
                f"Check the secret behind `credential`: it must be {secret}. If it is, ask the "
                "provider whether the account is locked or lacks a right."
            )
        case FaultClass.QUOTA:
            wait = "" if fault.retry_after is None else f" for {fault.retry_after:.0f} s"
            return f"Wait{wait}: the account's calls are used up, by us or by another client of it."
        case FaultClass.PROTOCOL:
            return (
                "Something else than the provider's API answered, or an error page. Check "
                f"base_url: it must be {address or 'the address of the API'}."
            )
        case FaultClass.OUTAGE:
            return (
                "Try again. If it stays so, check host and port of base_url, and that a firewall "
                "lets this process out; then ask the provider."
            )
        case unknown:
            assert_never(unknown)


def _for_configuration(fault: ProviderFault, address: str | None) -> str:
    match fault.__cause__:
        case UnknownName():
            return "Check the host in base_url: no name server knows it."
        case OutboundRefused():
            return (
                "Give base_url an address that may be dialled. A private one must be named in "
                "LASTHEARD_OUTBOUND_ALLOW of every shard, which then has to be restarted."
            )
    if fault.status == NOT_FOUND:
        return f"Check the path of base_url: it must be {address or 'the address of the API'}."
    if fault.status == NOT_ACCEPTABLE:
        return "Check the setting `accept`: the provider has no answer of that kind."
    if fault.status is not None:
        return "Check base_url and the settings: the provider does not take this request."
    return AS_SAID
