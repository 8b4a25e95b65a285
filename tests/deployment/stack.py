"""The checker of compose.yaml: commands, settings, probes, ports, grace periods and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tests.deployment import facts
from tests.deployment.image import is_fixed
from tests.deployment.probes import probe_problems, read_probe, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Service = dict[str, Any]
WAITED_FOR = ("service_healthy", "service_completed_successfully")


def stack_problems(text: str) -> list[str]:
    """Yield every problem of a Compose file as a sentence, each after the service's name."""
    document = yaml.safe_load(text)
    services: dict[str, Service] = document["services"]
    problems = [
        f"{name}: {problem}"
        for name, service in services.items()
        for problem in _service_problems(service)
    ]
    problems += [
        f"{name}: {problem}"
        for name, service in services.items()
        for problem in _depends(service, services)
    ]
    problems += _secret_problems(document)
    problems += _sharing_problems(services)
    for word in ("serve", "migrate", "simulate"):
        if not any(_word(service) == word for service in services.values()):
            problems.append(f"nobody runs `lastheard {word}`")
    return problems


def _word(service: Service) -> str:
    """Return the Lastheard command that a service runs; empty for a foreign image."""
    return str(service.get("command", ["", ""])[1]) if "build" in service else ""


def _service_problems(service: Service) -> Iterator[str]:
    if not is_fixed(str(service.get("image", ""))):
        yield f"no fixed tag: {service.get('image')}"
    environment = variables(service)
    yield from facts.secret_problems(environment, "the file")
    if "build" in service:
        yield from _our_problems(service, environment)


def variables(service: Service) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def _our_problems(service: Service, environment: Mapping[str, str]) -> Iterator[str]:
    if service["image"] != f"lastheard:{facts.VERSION}":
        yield f"the image {service['image']} is not of this release, {facts.VERSION}"
    yield from facts.command_problems(service["command"])
    yield from facts.setting_problems(environment)
    if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"]:
        yield "it may write or has capabilities, and needs neither"
    match _word(service):
        case "serve":
            yield from _shard_problems(service, environment)
        case "simulate":
            yield from _simulator_problems(service)
        case _:
            if service.get("restart") != "no":
                yield "a task that ends would be started again and again"


def _shard_problems(service: Service, environment: Mapping[str, str]) -> Iterator[str]:
    grace = seconds(service.get("stop_grace_period", "10s"))
    needed = facts.shutdown_seconds(facts.drain_seconds(environment))
    if grace < needed:
        yield f"killed after {grace:g} s, but its ordered end may take {needed:g} s"
    if "LASTHEARD_SHARD_ID" not in environment:
        yield "no LASTHEARD_SHARD_ID: every new container would be a new shard"
    if [port.rpartition(":")[2] for port in service.get("ports", [])] != [str(facts.HTTP_PORT)]:
        yield f"publishes {service.get('ports')}, but the service listens on {facts.HTTP_PORT}"
    yield from _probe(service, facts.PROBE_PORT, paths=facts.open_paths())


def _sharing_problems(services: Mapping[str, Service]) -> Iterator[str]:
    """Yield what two shards on one database and one machine must not share."""
    shards = [service for service in services.values() if _word(service) == "serve"]
    ids = [variables(service).get("LASTHEARD_SHARD_ID") for service in shards]
    published = [port.rpartition(":")[0] for service in shards for port in service.get("ports", [])]
    yield from (f"one id for several shards: {each}" for each in sorted(_doubled(ids)))
    yield from (f"one address for several shards: {each}" for each in sorted(_doubled(published)))


def _doubled(values: Sequence[str | None]) -> set[str]:
    return {value for value in values if value is not None and values.count(value) > 1}


def _simulator_problems(service: Service) -> Iterator[str]:
    words = service["command"]
    port = words[words.index("--port") + 1] if "--port" in words else "0"
    if service.get("expose") != [port]:
        yield f"exposes {service.get('expose')}, but the simulator listens on {port}"
    probe = read_probe(service["healthcheck"]["test"][1:])
    known = (
        frozenset([probe.path])
        if probe and facts.simulator_answers(probe.path)
        else frozenset[str]()
    )
    yield from _probe(service, int(port), paths=known)


def _probe(service: Service, port: int, *, paths: frozenset[str]) -> list[str]:
    check = service.get("healthcheck", {})
    words = check.get("test", [""])
    if words[0] != "CMD":
        return ["no health check in exec form"]
    limit = seconds(check.get("timeout", "30s"))
    return probe_problems(words[1:], limit_seconds=limit, port=port, paths=paths)


def _depends(service: Service, services: Mapping[str, Service]) -> Iterator[str]:
    for name, how in service.get("depends_on", {}).items():
        if name not in services:
            yield f"waits for a service that does not exist: {name}"
        elif how["condition"] not in WAITED_FOR:
            yield f"does not wait until {name} is of use"
        elif how["condition"] == "service_healthy" and "test" not in services[name].get(
            "healthcheck", {}
        ):
            yield f"waits for the health of {name}, which has no health check"
    before = {_word(services[each]) for each in service.get("depends_on", {}) if each in services}
    if _word(service) == "serve" and "migrate" not in before:
        yield "would start before the schema is there"


def _secret_problems(document: dict[str, Any]) -> Iterator[str]:
    declared = document.get("secrets", {})
    for name, secret in declared.items():
        if "file" not in secret and "external" not in secret:
            yield f"secret {name}: neither a file nor external"
    for service_name, service in document["services"].items():
        granted = service.get("secrets", [])
        yield from (
            f"{service_name}: no such secret: {name}" for name in granted if name not in declared
        )
        for value in variables(service).values():
            name = value.removeprefix("/run/secrets/")
            if name != value and name not in granted:
                yield f"{service_name}: reads the secret {name}, which it is not granted"
