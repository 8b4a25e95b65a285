"""The API and the pages as one application, behind one gate and inside one frame.

Owns the order in which the parts are put together, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest

from api.assignments import declare_assignments, declare_event_behind
from api.auth import install_authorization
from api.catalogue import declare_catalogues
from api.changes import declare_audit
from api.compression import install_compression
from api.connection_states import declare_connection_states
from api.cutover import declare_cutover
from api.cycles import declare_cycles
from api.device_day import declare_device_day
from api.device_import import IMPORT_PATH_ENDS_WITH, MAX_IMPORT_BYTES, declare_device_import
from api.device_list import declare_device_list
from api.device_swap import declare_device_swap
from api.devices import declare_devices
from api.docs_page import declare_documentation
from api.events import declare_events
from api.fleet import declare_fleet
from api.fleet_check import declare_fleet_check
from api.frame import ROUTE, FrameLimits, install_frame
from api.gate import KeyGate, OpenGate
from api.health import declare_health
from api.indicators import declare_indicators
from api.ingest import declare_ingest
from api.introduction import introduce
from api.issues import declare_issues
from api.key_management import declare_keys
from api.metrics import declare_metrics
from api.operations import Operations
from api.pages.app import Split, create_pages_app
from api.pages.refusals import RefusalsOfPages
from api.parity import declare_parity
from api.plan import declare_plan
from api.policy import declare_policy
from api.policy_history import declare_policy_history
from api.policy_preview import declare_policy_preview
from api.probes import declare_probes
from api.problems import install_problem_handlers
from api.provider_ingest import declare_provider_ingest
from api.provider_trial import declare_provider_trial
from api.providers import declare_providers
from api.quarantine import declare_quarantine
from api.registry_sync import declare_registry_sync
from api.rejections import declare_rejections
from api.runtime import declare_runtime
from api.services import ApiServices
from api.snapshots import declare_snapshots
from api.trends import declare_trends
from api.visitors import Visitors
from api.worklist_summary import declare_worklist_summary
from api.workspace_list import declare_workspace_list
from api.workspaces import declare_workspaces
from api.wrong_keys import WrongKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.typing import ASGIFramework

__all__ = [
    "PREFIX",
    "ApiServices",
    "create_app",
    "create_probe_app",
    "declare_operations",
    "declare_probe_operations",
]

PREFIX = "/api/telematics-mvp"
# A probe's answer must come within the prober's own timeout. A probe has no body.
PROBE_FRAME = FrameLimits(request_deadline_seconds=10.0, body_seconds=1.0, response_seconds=5.0)
PROBES_IN_FLIGHT = 16
UNMATCHED_ROUTE = "unmatched"  # no operation has this path and method

_RESOURCES: tuple[Callable[[Operations, ApiServices], None], ...] = (
    declare_workspace_list,
    declare_fleet,
    declare_workspaces,
    declare_policy,
    declare_policy_preview,
    declare_policy_history,
    declare_cutover,
    declare_parity,
    declare_registry_sync,
    declare_providers,
    declare_connection_states,
    declare_trends,
    declare_provider_trial,
    declare_devices,
    declare_device_list,
    declare_device_import,
    declare_device_swap,
    declare_assignments,
    declare_device_day,
    declare_fleet_check,
    declare_snapshots,
    declare_health,
    declare_issues,
    declare_worklist_summary,
    declare_cycles,
    declare_plan,
    declare_indicators,
    declare_events,
    declare_event_behind,
    declare_rejections,
    declare_quarantine,
    declare_audit,
    declare_ingest,
    declare_provider_ingest,
    declare_catalogues,
    declare_keys,
    declare_runtime,
    declare_probes,
)


class _Request(TrioRequest):
    """A request; the path that imports a whole fleet has a larger bound for its body."""

    def __init__(self, method: str, scheme: str, path: str, *args: Any, **options: Any) -> None:
        if path.endswith(IMPORT_PATH_ENDS_WITH):
            options["max_content_length"] = MAX_IMPORT_BYTES
        super().__init__(method, scheme, path, *args, **options)


def create_app(services: ApiServices) -> QuartTrio:
    """Return the application, ready to serve. It starts no task and has no lifespan function."""
    app = QuartTrio("lastheard", static_folder=None)
    app.request_class = _Request
    operations = declare_operations(services)
    operations.install(app)
    app.before_request(_show_route)  # before requests may be refused
    install_authorization(app, operations, services)
    install_compression(app, operations)
    install_problem_handlers(app)
    wrong_keys = WrongKeys(services.traffic, services.gate_limits.wrong_keys_per_second)
    split = _add_pages(app, operations, services, wrong_keys)
    gate = _key_gate(operations, services, split, wrong_keys)
    encode = RefusalsOfPages(split.is_of_api)
    install_frame(app, services.traffic, gate, services.limits, services.measures, encode)
    return app


async def _show_route() -> None:
    """Tell the frame, which counts the request, which operation it is for."""
    scope = cast("dict[str, object]", request.scope)
    scope[ROUTE] = request.endpoint or UNMATCHED_ROUTE


def _add_pages(
    app: QuartTrio, operations: Operations, services: ApiServices, wrong_keys: WrongKeys
) -> Split:
    """Put the pages before the API: what is not the API's is theirs."""
    api = cast("ASGIFramework", app.asgi_app)
    pages = create_pages_app(services, api, PREFIX, wrong_keys)
    outside = [each.path for each in operations if not each.path.startswith(PREFIX)]
    split = Split(api, cast("ASGIFramework", pages), PREFIX, outside)
    app.asgi_app = split  # type: ignore[method-assign]
    return split


def _key_gate(
    operations: Operations, services: ApiServices, split: Split, wrong_keys: WrongKeys
) -> KeyGate:
    return KeyGate(
        services.keys,
        services.clock,
        services.traffic,
        services.gate_limits,
        jwts=services.jwts,
        proxies=services.proxies,
        open_paths=[operation.path for operation in operations if operation.scope is None],
        visitors=Visitors(services.sign_ins, services.clock, is_of_api=split.is_of_api),
        wrong_keys=wrong_keys,
    )


def create_probe_app(services: ApiServices) -> QuartTrio:
    """Return an application with the probes and the metrics, for a listener of its own.

    The probes ask for no key. Requests to the API cannot take the places of probes.
    """
    app = QuartTrio("lastheard-probes", static_folder=None)
    operations = declare_probe_operations(services)
    operations.install(app)
    install_compression(app, operations)
    install_problem_handlers(app)
    install_frame(
        app, services.probe_traffic, OpenGate(services.probe_traffic, PROBES_IN_FLIGHT), PROBE_FRAME
    )
    return app


def declare_probe_operations(services: ApiServices) -> Operations:
    """Return the operations of the listener for probes."""
    operations = Operations()
    declare_probes(operations, services)
    declare_metrics(operations, services)
    return operations


def declare_operations(services: ApiServices) -> Operations:
    """Return all operations of the API; routes, scopes and documentation come from this table."""
    operations = Operations(PREFIX)
    for declare in _RESOURCES:
        declare(operations, services)
    declare_documentation(operations, introduce())
    return operations
