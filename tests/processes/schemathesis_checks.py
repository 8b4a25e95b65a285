"""A check for `make fuzz-api`: each 422 for a request that the description allows is listed here.

A schema cannot state rules across members, rules about configuration or time, or the contents of a
CSV. Any other 422 is a finding: then the description is wider than the API, and schemathesis.toml
alone would not show it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import schemathesis

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

_ORDER = ("stale_after_seconds must be more than delayed_after_seconds",)
_DEVICE = (
    "There is no .+ in this workspace",
    "It is more than 5 minutes in the future",
    "It is before 1970",
)
_LIMITS = (
    "It must not be less than freshness_target_seconds",
    "It must be more than delayed_after_seconds",
    "must be 0 or more and less than poll_interval_seconds, .+",
)
_CONNECTION = (
    *_ORDER,
    "A poll or stream connection has an address: .+",  # only push has none
    "A push connection has none: .+",
    ".+ has .+ only",  # the transports of its type
    ".+ is out of bounds: a connection may refer to .+",
    "The connection moves .+",
    "There is no IPv6 address in the brackets",
    ".+ is never dialled: .+",
    ".+ is a private or loopback address: .+",
)
_CUTOVER = (
    *_CONNECTION,
    "min_completed_cycles must not be more than cycles",
    "Give an address like .+",  # a patch may leave it out where there is none
)
_ZONE = ("there is no time zone .+",)
_BEYOND_A_SCHEMA = {
    "put_workspace": _LIMITS + _ZONE,
    "patch_workspace": _ZONE,
    "put_policy": _LIMITS,
    "patch_policy": _LIMITS,
    "preview_policy": _LIMITS,
    "put_device": _ORDER + _DEVICE,
    "patch_device": _ORDER + _DEVICE,
    "import_devices": (*_ORDER, *_DEVICE, "It is at /devices/.+ too"),
    "swap_device": (
        "give the new external_id, vehicle_id or provider_id",  # one of them at least
        "give vehicle_id and vehicle_name together",
        *_DEVICE,
    ),
    "put_provider": _CONNECTION,
    "patch_provider": _CONNECTION,
    "put_cutover": _CUTOVER,
    "patch_cutover": _CUTOVER,
    "create_key": (
        "a name has 1 to 100 characters, all of them printable",
        "this looks like the id of a key",
        "The key would have expired already",
    ),
    "run_cycle_now": ("It is another workspace than the path's", "An event runs the .+"),
    "check_fleet": (*_LIMITS, *_ZONE, *_CONNECTION),
    "ingest_envelope": ("The connection .+ is of the type .+",),
}


@schemathesis.check
def refusal_is_beyond_a_schema(_ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Raise AssertionError for a 422 that the description should have forbidden."""
    if (
        response.status_code != 422
        or case.meta is None
        or not case.meta.generation.mode.is_positive
    ):
        return
    operation_id = str(case.operation.definition.raw["operationId"])
    is_csv = case.media_type == "text/csv"
    for fault in response.json()["errors"]:
        if is_csv or _has_rules_of_its_own(operation_id, fault["pointer"]):
            continue
        if not any(
            re.match(rule, fault["detail"]) for rule in _BEYOND_A_SCHEMA.get(operation_id, ())
        ):
            raise AssertionError(
                f"the description allows what is refused at {fault['pointer']}: {fault['detail']}"
            )


def _has_rules_of_its_own(operation_id: str, pointer: str) -> bool:
    """Return whether more than a schema judges a member: the provider's type, or what is stored."""
    if operation_id in {"put_provider", "patch_provider"}:
        return pointer.startswith("/settings")
    if operation_id == "patch_cutover" and pointer == "/legacy/base_url":
        return True  # may be left out only where a legacy system is stored
    if operation_id in {"put_cutover", "patch_cutover"}:
        return pointer.startswith("/legacy/shape")
    return operation_id == "check_fleet" and "/settings" in pointer
