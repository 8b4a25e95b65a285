"""The names of resources."""

from __future__ import annotations

import pytest

from domain.resource import Resource, workspace_of, workspace_resource


@pytest.mark.parametrize("workspace_id", ["harbour", "a:b", "workspace:a"])
def test_a_workspaces_resource_names_the_workspace(workspace_id: str) -> None:
    resource = workspace_resource(workspace_id)
    assert resource == f"workspace:{workspace_id}"
    assert workspace_of(resource) == workspace_id


@pytest.mark.parametrize("text", ["", "harbour", "workspace", "workspace:", "device:bus-1"])
def test_another_text_is_no_workspaces_resource(text: str) -> None:
    with pytest.raises(ValueError, match="is not the resource of a workspace"):
        workspace_of(Resource(text))
