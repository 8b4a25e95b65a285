"""The checker of deploy/kubernetes/lastheard.yaml: whether objects fit each other and the code.

Owns what concerns several objects, and the shard as a whole. pods.py checks a single pod,
schemas.py fields and types. No cluster is asked, so what only an API server knows (quotas,
admission rules) is not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from api.probes import CHECK_SECONDS
from lastheard.settings import SHARD_ID
from tests.deployment import facts
from tests.deployment.pods import main_containers, plain_variables, pod_problems, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

SLOWEST_START_SECONDS = 30  # a start that waits for the database's first answers, with a margin


class Cluster(NamedTuple):
    """The objects of the file. `shards` is the StatefulSet, `migrate` the Job."""

    shards: Object
    migrate: Object
    others: list[Object]

    def of_kind(self, kind: str) -> list[Object]:
        return [each for each in self.others if each["kind"] == kind]

    @property
    def pod(self) -> Object:
        """The template of a shard's pod."""
        template: Object = self.shards["spec"]["template"]
        return template

    @property
    def shard(self) -> Object:
        """The container that serves."""
        containers: list[Object] = self.pod["spec"]["containers"]
        return next((each for each in containers if is_serving(each)), containers[0])


def cluster_problems(text: str) -> list[str]:
    """Yield every problem of the file, as a sentence."""
    objects: list[Object] = [each for each in yaml.safe_load_all(text) if each]
    problems = [
        f"a {each['kind']} in the file"
        for each in objects
        if each["kind"] in ("Secret", "ConfigMap")
    ]
    shards = [each for each in objects if each["kind"] == "StatefulSet"]
    jobs = [each for each in objects if each["kind"] == "Job"]
    if len(shards) != 1 or len(jobs) != 1:
        return [
            *problems,
            f"{len(shards)} StatefulSets and {len(jobs)} Jobs, where one of each is meant",
        ]
    others = [each for each in objects if each["kind"] not in ("StatefulSet", "Job")]
    cluster = Cluster(shards[0], jobs[0], others)
    checks = (
        _pods,
        _one_shard,
        _ending,
        _set,
        _probes,
        _resources,
        _migration,
        _services,
        _disruption,
        _network,
    )
    return problems + [problem for check in checks for problem in check(cluster)]


def _pods(cluster: Cluster) -> Iterator[str]:
    for each in (cluster.shards, cluster.migrate):
        yield from (
            f"{each['kind']}: {problem}" for problem in pod_problems(each["spec"]["template"])
        )


def _one_shard(cluster: Cluster) -> Iterator[str]:
    """Check that a pod has one process, whose shard id is the pod's name."""
    containers = main_containers(cluster.pod)
    serving = [each for each in containers if is_serving(each)]
    if len(serving) != 1 or len(containers) != 1:
        yield (
            f"{len(containers)} containers, {len(serving)} of which serve: "
            "one shard is one process is one pod"
        )
    sources = {
        each["name"]: each.get("valueFrom", {}).get("fieldRef", {})
        for each in variables(cluster.shard)
    }
    if sources.get("LASTHEARD_SHARD_ID") != {"fieldPath": "metadata.name"}:
        yield "LASTHEARD_SHARD_ID is not the pod's name"
    last = f"{cluster.shards['metadata']['name']}-{cluster.shards['spec']['replicas'] - 1}"
    if not SHARD_ID.fullmatch(last):
        yield f"a pod's name that is no shard id: {last}"


def _ending(cluster: Cluster) -> Iterator[str]:
    drain = facts.drain_seconds(plain_variables(cluster.shard))
    if drain <= 0:
        yield "no LASTHEARD_DRAIN_SECONDS: requests would still come when the listener has closed"
    grace = cluster.pod["spec"].get("terminationGracePeriodSeconds", 30)
    if grace < facts.shutdown_seconds(drain):
        yield (
            f"killed after {grace:g} s, but its ordered end may take "
            f"{facts.shutdown_seconds(drain):g} s"
        )


def _set(cluster: Cluster) -> Iterator[str]:
    spec = cluster.shards["spec"]
    if spec.get("podManagementPolicy") != "Parallel":
        yield "shards wait for each other's start, though none needs another"
    if spec.get("updateStrategy", {}).get("type") != "RollingUpdate":
        yield "an update is not rolled out shard by shard"
    if spec["replicas"] < 2:
        yield "one shard alone has nobody to take over"
    if not _selects(spec["selector"], cluster.pod):
        yield "the StatefulSet does not select its own pods"
    if _selects(spec["selector"], cluster.migrate["spec"]["template"]):
        yield "the StatefulSet would adopt the pods of the migration"
    if spec.get("volumeClaimTemplates"):
        yield "a shard keeps nothing on disk"
    if not any(each["metadata"]["name"] == spec["serviceName"] for each in _headless(cluster)):
        yield f"serviceName {spec['serviceName']} is not a headless Service"
    for constraint in cluster.pod["spec"].get("topologySpreadConstraints", [{}]):
        if constraint.get("whenUnsatisfiable") != "ScheduleAnyway" or not _selects(
            constraint["labelSelector"], cluster.pod
        ):
            yield "shards are not spread, or rather stay away than share a node"


def _probes(cluster: Cluster) -> Iterator[str]:
    shard = cluster.shard
    for name, wanted in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        asked = shard.get(name, {}).get("httpGet", {})
        if asked.get("path") != wanted or wanted not in facts.open_paths():
            yield f"{name} asks {asked.get('path')}, not {wanted}"
        if _port_of(shard, asked.get("port")) != facts.PROBE_PORT:
            yield (
                f"{name} asks port {asked.get('port')}, "
                f"the service answers probes on {facts.PROBE_PORT}"
            )
    readiness, startup = shard.get("readinessProbe", {}), shard.get("startupProbe", {})
    if readiness.get("timeoutSeconds", 1) <= CHECK_SECONDS:
        yield (
            "the readiness probe gives up before /readyz can say what hangs, "
            f"after {CHECK_SECONDS:g} s"
        )
    if (
        startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10)
        < SLOWEST_START_SECONDS
    ):
        yield f"a start may not even take {SLOWEST_START_SECONDS} s"


def _resources(cluster: Cluster) -> Iterator[str]:
    for container in (cluster.shard, *main_containers(cluster.migrate["spec"]["template"])):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get(
            "requests", {}
        ).keys() or "memory" not in resources.get("limits", {}):
            yield f"{container['name']}: resources are not bounded"
        if "cpu" in resources.get("limits", {}):
            yield f"{container['name']}: a CPU limit throttles heartbeats"


def _migration(cluster: Cluster) -> Iterator[str]:
    template = cluster.migrate["spec"]["template"]
    if [each.get("args") for each in main_containers(template)] != [["lastheard", "migrate"]]:
        yield "the Job does not run `lastheard migrate`"
    if template["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
        yield "a task that ends would be started again and again"
    if not cluster.migrate["metadata"]["name"].endswith(f"-{facts.VERSION.replace('.', '-')}"):
        yield (
            f"the Job is not named after its release, {facts.VERSION}: "
            "its template could never change"
        )


def _services(cluster: Cluster) -> Iterator[str]:
    for service in cluster.of_kind("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        if not _selects({"matchLabels": spec["selector"]}, cluster.pod):
            yield f"Service {name} selects no shard"
        if _selects({"matchLabels": spec["selector"]}, cluster.migrate["spec"]["template"]):
            yield f"Service {name} would send requests to the migration"
        if [_port_of(cluster.shard, port.get("targetPort")) for port in spec["ports"]] != [
            facts.HTTP_PORT
        ]:
            yield f"Service {name} does not lead to port {facts.HTTP_PORT}"
    if len(cluster.of_kind("Service")) == len(_headless(cluster)):
        yield "no Service for the API"


def _disruption(cluster: Cluster) -> Iterator[str]:
    budgets = cluster.of_kind("PodDisruptionBudget")
    if [each["spec"].get("maxUnavailable") for each in budgets] != [1]:
        yield "no PodDisruptionBudget that takes one shard at a time"
    if not all(_selects(each["spec"]["selector"], cluster.pod) for each in budgets):
        yield "the PodDisruptionBudget selects no shard"


def _network(cluster: Cluster) -> Iterator[str]:
    for policy in cluster.of_kind("NetworkPolicy"):
        ports = [
            port for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])
        ]
        if [_port_of(cluster.shard, port["port"]) for port in ports] != [facts.HTTP_PORT]:
            yield f"the NetworkPolicy does not open port {facts.HTTP_PORT}, and only that"
        if not _selects(policy["spec"]["podSelector"], cluster.pod):
            yield "the NetworkPolicy selects no shard"


def is_serving(container: Object) -> bool:
    return bool(container.get("args", [])[1:2] == ["serve"])


def _headless(cluster: Cluster) -> list[Object]:
    return [each for each in cluster.of_kind("Service") if each["spec"].get("clusterIP") == "None"]


def _selects(selector: Object, template: Object) -> bool:
    wanted = selector.get("matchLabels", {})
    return bool(wanted) and wanted.items() <= template["metadata"]["labels"].items()


def _port_of(container: Object, port: object) -> int | None:
    """Return the number of a port, which may be given by the container's name for it."""
    named = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
    return port if isinstance(port, int) else named.get(port)
