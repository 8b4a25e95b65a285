"""Resources: what a session can own. Leases, events and logs name them in the same way.

A workspace is a resource: its cycle and its streams. `workspace:harbour` is the workspace
`harbour`. SQL makes the same text where it joins leases to workspaces.
"""

from __future__ import annotations

from typing import Final, NewType

Resource = NewType("Resource", str)

_WORKSPACE: Final = "workspace:"


def workspace_resource(workspace_id: str) -> Resource:
    return Resource(_WORKSPACE + workspace_id)


def workspace_of(resource: Resource) -> str:
    """Return the workspace_id of a workspace's resource. Raises ValueError for any other text."""
    workspace_id = resource.removeprefix(_WORKSPACE)
    if not workspace_id or workspace_id == resource:
        raise ValueError(f"{resource!r} is not the resource of a workspace: workspace:<id>")
    return workspace_id
