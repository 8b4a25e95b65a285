"""The checker of one pod template: image, command, settings, secrets and permissions."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from tests.architecture.source import ROOT
from tests.deployment import facts
from tests.deployment.image import parse_dockerfile

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

# Settings that name a place where a Secret is mounted.
FOLDERS = ("LASTHEARD_CONFIG", "LASTHEARD_CREDENTIALS_DIR")


def main_containers(template: Object) -> list[Object]:
    """Return all containers except those that have ended when the pod works. A side-car is one."""
    spec = template["spec"]
    stay = [
        each for each in spec.get("initContainers", []) if each.get("restartPolicy") == "Always"
    ]
    return [*spec["containers"], *stay]


def variables(container: Object) -> list[Object]:
    return container.get("env") or []


def plain_variables(container: Object) -> dict[str, str]:
    """Return the variables whose value is in the file."""
    return {each["name"]: each["value"] for each in variables(container) if "value" in each}


def pod_problems(template: Object) -> list[str]:
    """Yield every problem of a pod template, as a sentence."""
    spec = template["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    return [
        *_rights(spec),
        *(problem for each in containers for problem in _container_rights(each)),
        *(problem for each in containers for problem in _program(each)),
        *(problem for each in containers for problem in _settings(each)),
        *(problem for each in containers for problem in _mounts(each, spec)),
    ]


def _rights(spec: Object) -> Iterator[str]:
    context = spec.get("securityContext", {})
    if spec.get("automountServiceAccountToken") is not False:
        yield "a token of the cluster is mounted, and nobody needs it"
    if spec.get("enableServiceLinks") is not False:
        yield (
            "the cluster would add variables with our prefix (LASTHEARD_SERVICE_HOST), "
            "which the settings refuse"
        )
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != _image_user():
        yield f"it does not run as the image's user, {_image_user()}"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "system calls are not restricted"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"it shares the node's {name.removeprefix('host')}"


def _image_user() -> int:
    stages = parse_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return int(stages[-1].last("USER").partition(":")[0])


def _container_rights(container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for name, value in wanted.items():
        if context.get(name) != value:
            yield f"{container['name']}: {name} is not {value}"
    if context.get("privileged") or context.get("runAsUser") == 0:
        yield f"{container['name']}: it has more rights than its pod"


def _program(container: Object) -> Iterator[str]:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ours = {service["image"] for service in services.values() if "build" in service}
    if {container["image"]} != ours:
        yield (
            f"the image {container['image']} is not the one of compose.yaml, "
            f"{', '.join(sorted(ours))}"
        )
    if "command" in container:
        yield "`command` takes the init's place as PID 1; the words belong into `args`"
    yield from facts.command_problems(container.get("args", []))


def _settings(container: Object) -> Iterator[str]:
    plain = plain_variables(container)
    # A variable whose value comes from elsewhere must at least be a setting.
    elsewhere = [each["name"] for each in variables(container) if "value" not in each]
    stand_ins = {name: "postgresql://" if name.endswith("_DSN") else "any" for name in elsewhere}
    yield from facts.setting_problems({**plain, **stand_ins})
    yield from facts.secret_problems(plain, "the file")


def _mounts(container: Object, spec: Object) -> Iterator[str]:
    volumes = {each["name"]: each for each in spec.get("volumes", [])}
    secret, empty = set(), set()
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        if "secret" in volume:
            secret.add(PurePosixPath(mount["mountPath"]))
            if mount.get("readOnly") is not True or "subPath" in mount:
                yield f"the Secret {mount['name']} is not mounted whole and read-only"
        elif "emptyDir" in volume:
            empty.add(mount["mountPath"])
            if "sizeLimit" not in volume["emptyDir"]:
                yield f"nothing bounds what is written to {mount['mountPath']}"
        else:
            yield f"mounts {mount['name']}, which is neither a Secret nor an emptyDir here"
    if "/tmp" not in empty:  # noqa: S108 - in the container
        yield "there is no place for temporary files"
    for name, value in plain_variables(container).items():
        path = PurePosixPath(value)
        if name in FOLDERS and not ({path, *path.parents} & secret):
            yield f"{name}: no Secret is mounted at {value}"
    if not {"LASTHEARD_CONFIG", "LASTHEARD_DSN"} & {each["name"] for each in variables(container)}:
        yield f"{container['name']}: nobody tells it the database"
