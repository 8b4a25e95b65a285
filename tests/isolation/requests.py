"""Every operation of the served OpenAPI document as a request that would succeed.

To add an operation with a body, add a valid body to `BODIES` under its operationId; to add a path
or query parameter that must be given, add it to `IDS`. Both fail with a sentence until then.
`{workspace_id}` in a body stands for the workspace that is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.isolation.fleets import OUR_ENTRY, OURS, THEIR_ENTRY, ago

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AT: Final = ago(1).isoformat()

# Ids that both workspaces know, ids that only THEIRS knows, and as many that nobody knows.
IDS: Final = {
    "device_id": "bus-1",
    "provider_id": "live",
    "cycle_id": "cycle-1",
    "key_id": "key-1",
    "signal": "soc_percent",
    "quarantine_id": str(OUR_ENTRY),
}
ONLY_THEIRS: Final = {
    "device_id": "bus-8",
    "provider_id": "only-theirs",
    "cycle_id": "cycle-9",
    "key_id": "key-9",
    "quarantine_id": str(THEIR_ENTRY),
}
NOBODYS: Final = {
    "device_id": "bus-0",
    "provider_id": "only-nobody",
    "cycle_id": "cycle-0",
    "key_id": "key-0",
    "quarantine_id": "1000",
}

_DEVICE: Final = {
    "provider_id": "live",
    "external_id": "x-new",
    "vehicle_id": "v",
    "vehicle_name": "n",
}
_UPDATE: Final = {
    "workspace_id": "{workspace_id}",
    "provider_id": "live",
    "device_id": "{device_id}",
    "readings": [{"signal": "soc_percent", "value": 33, "observed_at": AT}],
}
BODIES: Final[Mapping[str, Any]] = {
    "put_workspace": {"name": "changed"},
    "patch_workspace": {"name": "changed"},
    "put_policy": {"grace_seconds": 60},
    "patch_policy": {"grace_seconds": 60},
    "preview_policy": {"grace_seconds": 60},
    "put_cutover": {"provider_mode": "mixed"},
    "patch_cutover": {"provider_mode": "mixed"},
    "roll_back_cutover": {"reason": "tried out"},
    "synchronise_registry": {},
    "patch_provider": {"credential": "env:LASTHEARD_SECRET_NEW"},
    "patch_device": {"vehicle_name": "changed"},
    "put_provider": {
        "provider_type": "spoken",
        "transport": "poll",
        "base_url": "https://new.example",
        "credential": "env:LASTHEARD_SECRET_NEW",
    },
    # An active device keeps its unit and its vehicle.
    "put_device": {**_DEVICE, "external_id": "x-{device_id}", "vehicle_id": "{workspace_id}"},
    "swap_device": {"external_id": "x-swapped"},
    "run_cycle_now": {"when": "now"},
    "try_provider": {},
    "create_key": {"name": "new", "workspaces": ["ours"]},
    "import_devices": {"devices": [{**_DEVICE, "device_id": "{device_id}"}]},
    "check_fleet": {
        "workspaces": [
            {
                "workspace_id": "{workspace_id}",
                "policy": {"grace_seconds": 60},
                "connections": [
                    {
                        "provider_id": "{provider_id}",
                        "provider_type": "spoken",
                        "transport": "poll",
                        "base_url": "https://new.example",
                    }
                ],
            }
        ]
    },
    "ingest": {
        "updates": [
            _UPDATE,
            {**_UPDATE, "device_id": None, "external_id": "x-{device_id}"},
            {**_UPDATE, "readings": []},
        ]
    },
    "ingest_envelope": {
        "workspaceId": "{workspace_id}",
        "providerType": "spoken",
        "providerId": "live",
        "receivedAt": AT,
        "rawMessage": f"say x-bus-1 soc_percent 50 {AT}",
    },
}


# What has to be so in `OURS` before a request succeeds.
PREPARED: Final[Mapping[str, str]] = {
    "archive_workspace": f"""
        UPDATE workspaces SET active = false, ordinal = NULL, scheduled_since = NULL
        WHERE workspace_id = '{OURS}'
    """,
    "synchronise_registry": f"""
        DELETE FROM legacy_syncs WHERE workspace_id = '{OURS}';
        UPDATE workspaces SET device_registry_source = 'legacy_sync'
        WHERE workspace_id = '{OURS}'
    """,
    "archive_provider": f"UPDATE devices SET retired_at = now() WHERE workspace_id = '{OURS}'",
}


@dataclass(frozen=True)
class Ask:
    """One request. `names` fills the placeholders of path, query and body.

    `prepared` is SQL that goes before it.
    """

    operation: str
    method: str
    path: str
    query: str = ""
    body: str | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)  # those that must be given
    prepared: str = ""
    parameters: frozenset[str] = frozenset()  # of the query
    names: Mapping[str, str] = field(default_factory=dict)

    def mentions(self, name: str) -> bool:
        """Whether path, query or body have a place for this name."""
        return "{" + name + "}" in f"{self.path} {self.query} {self.body}"

    def of(self, workspace_id: str, **ids: str) -> Ask:
        """Return the same request about this workspace, and about these ids within it."""
        return replace(self, names={**IDS, **ids, "workspace_id": workspace_id})

    def fill(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", value)
        return text


def read_operations(document: Mapping[str, Any]) -> Iterator[Ask]:
    """Yield every operation that needs a key."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["security"]:
                yield _read_operation(path, method.upper(), operation)


def _read_operation(path: str, method: str, operation: Mapping[str, Any]) -> Ask:
    name = operation["operationId"]
    known = {*IDS, "workspace_id"}
    required = [
        one["name"] for one in operation["parameters"] if one["required"] and one["in"] != "header"
    ]
    unknown = sorted(set(required) - known)
    assert not unknown, (
        f"{name} needs {unknown}: add an example to IDS in tests/isolation/requests.py"
    )
    query = frozenset(one["name"] for one in operation["parameters"] if one["in"] == "query")
    headers = {
        one["name"]: one["example"]
        for one in operation["parameters"]
        if one["required"] and one["in"] == "header"
    }
    prepared = PREPARED.get(name, "")
    ask = Ask(name, method, path, parameters=query, headers=headers, prepared=prepared)
    if "requestBody" not in operation:
        return ask
    assert name in BODIES, (
        f"{name} takes a body: add a valid one to BODIES in tests/isolation/requests.py"
    )
    return replace(ask, body=json.dumps(BODIES[name]))


def variants(ask: Ask) -> Iterator[Ask]:
    """Yield the request with faults that a handler notices early or late."""
    if ask.parameters:
        yield replace(ask, query="?limit=0&cursor=nonsense")
    if "workspace_id" in ask.parameters:
        yield replace(ask, query="?workspace_id={workspace_id}")
    if ask.body is not None:
        yield replace(ask, body="{}")
        yield replace(ask, body="{not json")
        yield replace(ask, media_type="text/plain")
