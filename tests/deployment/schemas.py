"""What published schemas refuse of the deployment files: unknown fields, wrong types and values.

The schemas come with the packages, so no network is needed. What the files mean for Lastheard is
the business of the checkers in cluster.py and stack.py.
"""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

# 1.26 brought unhealthyPodEvictionPolicy, which the file uses. The latest is what the package has.
OLDEST_CLUSTER = "1.26"
LATEST_CLUSTER = kubernetes_validate.latest_version()


def kubernetes_refusals(text: str, version: str) -> list[str]:
    """Return what a cluster of this version does not know, at most one refusal an object."""
    refusals = []
    for each in yaml.safe_load_all(text):
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as refusal:
            refusals.append(f"{each['kind']}: {refusal.message}")
        except kubernetes_validate.SchemaNotFoundError as refusal:
            refusals.append(refusal.message)
    return refusals


def compose_refusals(text: str) -> list[str]:
    """Return what the Compose specification does not know."""
    schema: dict[str, Any] = get_builtin_schema("vendor.compose-spec")
    errors = validator_for(schema)(schema).iter_errors(yaml.safe_load(text))
    return [f"{each.json_path}: {each.message}" for each in errors]
