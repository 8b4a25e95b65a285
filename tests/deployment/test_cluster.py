"""deploy/kubernetes/lastheard.yaml against the code, and the checker against broken files.

No cluster is asked.
"""

from __future__ import annotations

import re

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.architecture.test_docs import commands
from tests.deployment.cluster import cluster_problems
from tests.deployment.facts import command_problems
from tests.deployment.schemas import LATEST_CLUSTER, OLDEST_CLUSTER, kubernetes_refusals

KUBERNETES = (ROOT / "deploy" / "kubernetes" / "lastheard.yaml").read_text(encoding="utf-8")
README = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")

SHARD_ID = """            - name: LASTHEARD_SHARD_ID
              valueFrom: { fieldRef: { fieldPath: metadata.name } }
"""
LIVENESS = "          livenessProbe:\n            httpGet: { path: /healthz"
VOLUMES = """      volumes:
        - name: settings
          secret: { secretName: lastheard-settings, defaultMode: 0440 }
        - name: credentials
"""
DRAIN = '{ name: LASTHEARD_DRAIN_SECONDS, value: "5" }'


def test_the_kubernetes_file_fits_the_code() -> None:
    assert cluster_problems(KUBERNETES) == []


@pytest.mark.parametrize("version", [OLDEST_CLUSTER, LATEST_CLUSTER])
def test_every_object_has_the_form_that_clusters_know(version: str) -> None:
    assert kubernetes_refusals(KUBERNETES, version) == []


def test_an_older_cluster_lacks_a_field_of_the_file() -> None:
    """The oldest version that we name is the oldest that takes the file."""
    assert "unhealthyPodEvictionPolicy" in "".join(kubernetes_refusals(KUBERNETES, "1.25"))


# What is replaced, by what, and a word of the schema's refusal.
MALFORMED = [
    ("minReadySeconds: 10", "minReadySecond: 10", "'minReadySecond' was unexpected"),
    ("replicas: 3", "replicas: '3'", "'3' is not of type"),
    ("defaultMode: 0440", "mode: 0440", "'mode' was unexpected"),
    ("protocol: TCP", "protocl: TCP", "'protocl' was unexpected"),
    ("kind: NetworkPolicy", "kind: NetPolicy", "kind NetPolicy"),
    ("apiVersion: policy/v1", "apiVersion: policy/v1beta1", "policy/v1beta1"),
    ("  podSelector:", "  podselector:", "'podselector' was unexpected"),
    ('value: "5" }', "value: 5 }", "5 is not of type"),
    ("kind: StatefulSet", "kind: Deployment", "'podManagementPolicy', "),
]


@pytest.mark.parametrize(("found", "put", "refusal"), MALFORMED)
def test_a_malformed_object_is_refused(found: str, put: str, refusal: str) -> None:
    assert found in KUBERNETES
    broken = KUBERNETES.replace(found, put)
    assert refusal in "\n".join(kubernetes_refusals(broken, LATEST_CLUSTER))


# What is replaced, by what, and a word of the refusal.
BROKEN = [
    ("image: lastheard:0.2.0.dev0", "image: lastheard:0.0.9", "not the one of compose.yaml"),
    ("image: lastheard:0.2.0.dev0", "image: lastheard:latest", "not the one of compose.yaml"),
    ('["lastheard", "serve"]', '["lastheard", "run"]', "no such command"),
    ('["lastheard", "serve"]', '["lastheard", "serve", "--workers", "4"]', "--workers"),
    ('["lastheard", "migrate"]', '["lastheard", "migrate", "--yes"]', "--yes"),
    (
        '["lastheard", "migrate"]',
        '["lastheard", "migrate", "--check"]',
        "does not run `lastheard migrate`",
    ),
    ('args: ["lastheard", "serve"]', 'command: ["lastheard", "serve"]', "PID 1"),
    # The shard's name.
    ("fieldPath: metadata.name ", "fieldPath: spec.nodeName ", "not the pod's name"),
    (SHARD_ID, "", "not the pod's name"),
    (
        SHARD_ID,
        "            - { name: LASTHEARD_SHARD_ID, value: shard-1 }\n",
        "not the pod's name",
    ),
    (
        VOLUMES,
        "        - { name: second, image: lastheard:0.2.0.dev0 }\n" + VOLUMES,
        "2 containers",
    ),
    ("kind: StatefulSet", "kind: Deployment", "0 StatefulSets"),
    # Settings and secrets.
    ("LASTHEARD_CREDENTIALS_DIR,", "LASTHEARD_CREDENTIAL_DIR,", "no such setting"),
    (DRAIN, '{ name: LASTHEARD_DRAIN_SECONDS, value: "soon" }', "LASTHEARD_DRAIN_SECONDS"),
    (
        DRAIN,
        "{ name: LASTHEARD_DSN, value: 'postgresql://u:p@h/d' }",
        "a secret in the file: LASTHEARD_DSN",
    ),
    (
        DRAIN,
        "{ name: LASTHEARD_SECRET_FLEET, value: hunter2 }",
        "a secret in the file: LASTHEARD_SECRET_FLEET",
    ),
    ("kind: NetworkPolicy", "kind: Secret", "a Secret in the file"),
    (
        "value: /etc/lastheard/settings/",
        "value: /etc/settings/",
        "LASTHEARD_CONFIG: no Secret is mounted",
    ),
    ("value: /etc/lastheard/credentials ", "value: /var/credentials ", "DIR: no Secret is mounted"),
    (
        "mountPath: /etc/lastheard/settings, readOnly: true",
        "mountPath: /etc/lastheard/settings",
        "read-only",
    ),
    ("{ name: credentials, mountPath", "{ name: credential, mountPath", "mounts credential,"),
    (
        "            - { name: LASTHEARD_CONFIG, value: /etc/lastheard/settings/lastheard.toml }\n",
        "",
        "the database",
    ),
    # Rights.
    ("enableServiceLinks: false", "enableServiceLinks: true", "LASTHEARD_SERVICE_HOST"),
    ("automountServiceAccountToken: false", "automountServiceAccountToken: true", "token"),
    ("runAsUser: 10001", "runAsUser: 0", "image's user, 10001"),
    ("runAsUser: 10001", "runAsUser: 1000", "image's user, 10001"),
    ("runAsNonRoot: true", "runAsNonRoot: false", "image's user, 10001"),
    ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"),
    (
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "allowPrivilegeEscalation",
    ),
    ("capabilities: { drop: [ALL] }", "capabilities: { add: [NET_ADMIN] }", "capabilities"),
    ("{ type: RuntimeDefault }", "{ type: Unconfined }", "system calls"),
    ("            - { name: tmp, mountPath: /tmp }\n", "", "temporary files"),
    ("emptyDir: { sizeLimit: 64Mi }", "emptyDir: {}", "nothing bounds"),
    # The end.
    ("terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 34", "killed after 34 s"),
    ("      terminationGracePeriodSeconds: 40\n", "", "killed after 30 s"),
    (DRAIN, '{ name: LASTHEARD_DRAIN_SECONDS, value: "25" }', "killed after 40 s"),
    (DRAIN, "{ name: LASTHEARD_LOG_LEVEL, value: info }", "no LASTHEARD_DRAIN_SECONDS"),
    # Probes and ports.
    ("path: /readyz", "path: /ready", "readinessProbe asks /ready,"),
    (LIVENESS, LIVENESS.replace("/healthz", "/readyz"), "livenessProbe asks /readyz"),
    ("containerPort: 8081", "containerPort: 8080", "startupProbe asks port probes"),
    ("path: /healthz, port: probes", "path: /healthz, port: http", "livenessProbe asks port http"),
    ("containerPort: 8080", "containerPort: 8000", "does not lead to port 8080"),
    ("path: /readyz, port: probes", "path: /readyz, port: web", "readinessProbe asks port web"),
    ("timeoutSeconds: 5 # /readyz", "timeoutSeconds: 3 # /readyz", "gives up before"),
    ("failureThreshold: 30", "failureThreshold: 5", "may not even take"),
    ("port: 80, targetPort: http", "port: 80, targetPort: 80", "Service lastheard does not lead"),
    ("  clusterIP: None\n", "", "not a headless Service"),
    ("port: http }\n  egress", "port: 9000 }\n  egress", "does not open port 8080"),
    # The set.
    ("podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady", "wait for each other"),
    ("type: RollingUpdate", "type: OnDelete", "shard by shard"),
    ("replicas: 3", "replicas: 1", "nobody to take over"),
    (
        "app.kubernetes.io/component: migrate",
        "app.kubernetes.io/component: shard",
        "adopt the pods of the migration",
    ),
    ("whenUnsatisfiable: ScheduleAnyway", "whenUnsatisfiable: DoNotSchedule", "not spread"),
    ("maxUnavailable: 1", "minAvailable: 3", "one shard at a time"),
    ("kind: PodDisruptionBudget", "kind: LimitRange", "one shard at a time"),
    ("limits: { memory: 1Gi }", "limits: { memory: 1Gi, cpu: 1 }", "throttles"),
    ("limits: { memory: 1Gi }", "limits: {}", "not bounded"),
    ("restartPolicy: Never", "restartPolicy: Always", "again and again"),
    ("lastheard-migrate-0-2-0-dev0", "lastheard-migrate", "named after its release"),
]


@pytest.mark.parametrize(("found", "put", "refusal"), BROKEN)
def test_a_broken_kubernetes_file_is_refused(found: str, put: str, refusal: str) -> None:
    assert found in KUBERNETES
    assert refusal in "\n".join(cluster_problems(KUBERNETES.replace(found, put)))


def test_the_readme_makes_the_secrets_that_the_file_refers_to() -> None:
    made = set(re.findall(r"kubectl create secret generic (\S+)", README))
    pods = [
        each["spec"]["template"]["spec"]
        for each in yaml.safe_load_all(KUBERNETES)
        if each["kind"] in ("StatefulSet", "Job")
    ]
    referred = {
        volume["secret"]["secretName"]
        for pod in pods
        for volume in pod["volumes"]
        if "secret" in volume
    }
    assert made == referred
    assert "--from-file=lastheard.toml" in README  # the key that LASTHEARD_CONFIG ends with


def test_the_readme_runs_commands_that_exist() -> None:
    found = commands(README)
    assert found
    assert [problem for words in found for problem in command_problems(words)] == []


def test_every_object_of_the_file_says_whose_it_is() -> None:
    objects = list(yaml.safe_load_all(KUBERNETES))
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    assert {each["metadata"]["labels"]["app.kubernetes.io/name"] for each in objects} == {
        "lastheard"
    }
