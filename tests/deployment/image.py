"""The checker of the Dockerfile: faults of the image that it describes.

No engine is needed, so it runs with every other test. test_built_image.py checks what only a build
shows.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.architecture.source import HOUSE, ROOT
from tests.deployment import facts
from tests.deployment.probes import probe_problems, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

INITS = ("/usr/bin/tini", "/usr/bin/dumb-init")


@dataclass
class Stage:
    """One `FROM`, and the instructions that follow it."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [words for name, words in self.instructions if name == instruction]

    def last(self, instruction: str) -> str:
        """Return the last instruction of this kind, which alone counts; empty if there is none."""
        return next(reversed(self.all(instruction)), "")


def parse_dockerfile(text: str) -> list[Stage]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, words = line.strip().partition(" ")
        if name == "FROM":
            base, _, alias = words.partition(" AS ")
            stages.append(Stage(base, alias))
        elif name:
            stages[-1].instructions.append((name, words.strip()))
    return stages


def image_problems(text: str) -> list[str]:
    """Yield every problem of a Dockerfile, as a sentence."""
    stages = parse_dockerfile(text)
    build, run = stages[0], stages[-1]
    return [
        *_base_problems(stages),
        *_copy_problems(stages),
        *_install_problems(build),
        *_start_problems(run),
        *_user_problems(run),
        *_variable_problems(run),
        *_probe_problems(run),
    ]


def _base_problems(stages: Sequence[Stage]) -> list[str]:
    problems = [f"no fixed tag: {stage.base}" for stage in stages if not is_fixed(stage.base)]
    if len({stage.base for stage in stages}) > 1:
        problems.append(
            "the stages have different bases, "
            "so the environment would not run where it is copied to"
        )
    return problems


def is_fixed(image: str) -> bool:
    """Whether an image has a tag that is meant to stay the same."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return bool(tag) and "latest" not in tag


def copied(stages: Sequence[Stage]) -> list[tuple[list[str], str]]:
    """Return (sources, destination) of every COPY from the build context."""
    words = [
        shlex.split(copy) for stage in stages for copy in stage.all("COPY") if "--from=" not in copy
    ]
    return [(sources, destination) for *sources, destination in words]


def _copy_problems(stages: Sequence[Stage]) -> list[str]:
    problems = []
    for sources, destination in copied(stages):
        problems += [
            f"COPY of what does not exist: {source}"
            for source in sources
            if not (ROOT / source).exists()
        ]
        if sources[0].endswith("/") and sources != [destination]:
            problems.append(
                f"COPY {sources[0]} puts the package into another folder: {destination}"
            )
    whole = {source.rstrip("/") for sources, _ in copied(stages) for source in sources}
    problems += [f"package not copied: {folder}" for folder in HOUSE if folder not in whole]
    names = {stage.name for stage in stages[:-1]}
    for copy in (copy for stage in stages for copy in stage.all("COPY") if "--from=" in copy):
        origin = copy.split()[0].removeprefix("--from=")
        if origin not in names:
            problems.append(f"COPY from an unknown stage: {origin}")
    return problems


def _install_problems(build: Stage) -> list[str]:
    installs = re.findall(r"pip install (.*?)(?:&&|$)", " && ".join(build.all("RUN")))
    problems = [
        f"installs without hashes: pip install {words}"
        for words in installs
        if not _is_pinned(words)
    ]
    problems += [
        f"{lock} is not installed"
        for lock in ("requirements/runtime.txt", "requirements/tracing.txt")
        if not any(lock in words for words in installs)
    ]
    if any("embedded" in words or "pgserver" in words for words in installs):
        problems.append("the embedded PostgreSQL has no place in the image")
    return problems


def _is_pinned(words: str) -> bool:
    return "--require-hashes" in words or ("--no-deps" in words and "wheels/" in words)


def _start_problems(run: Stage) -> list[str]:
    problems = []
    entrypoint, command = _exec_form(run.last("ENTRYPOINT")), _exec_form(run.last("CMD"))
    if not entrypoint or entrypoint[0] not in INITS or entrypoint[-1] != "--":
        problems.append(f"PID 1 is not an init: {run.last('ENTRYPOINT')}")
    elif entrypoint[0].rpartition("/")[2] not in " ".join(run.all("RUN")).split():
        problems.append(f"the init is not installed: {entrypoint[0]}")
    if command is None:
        problems.append(
            f"CMD is not in exec form, so a shell would stand between: {run.last('CMD')}"
        )
    else:
        problems += facts.command_problems(command)
    if run.last("STOPSIGNAL") != "SIGTERM":
        problems.append("STOPSIGNAL is not SIGTERM, which begins the ordered end")
    return problems


def _exec_form(words: str) -> list[str] | None:
    try:
        parsed = json.loads(words)
    except json.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, list) else None


def _user_problems(run: Stage) -> list[str]:
    user = run.last("USER")
    uid = user.partition(":")[0]
    if not uid.isdigit() or int(uid) == 0:
        return [f"USER is not a fixed number other than root's: {user or 'none'}"]
    if f"--uid {uid}" not in " ".join(run.all("RUN")):
        return [f"nobody makes the user {uid}"]
    return []


def variables(stage: Stage) -> dict[str, str]:
    pairs = [word.partition("=") for words in stage.all("ENV") for word in shlex.split(words)]
    return {name: value for name, _, value in pairs}


def _variable_problems(run: Stage) -> list[str]:
    found = variables(run)
    problems = facts.setting_problems(found) + facts.secret_problems(found, "the image")
    if found.get("LASTHEARD_HTTP_HOST") != "0.0.0.0":
        problems.append("LASTHEARD_HTTP_HOST: nobody outside the container could reach the service")
    if found.get("LASTHEARD_LOG_FORMAT") != "json":
        problems.append("LASTHEARD_LOG_FORMAT: logs would depend on whether there is a terminal")
    return problems


def _probe_problems(run: Stage) -> list[str]:
    if run.last("EXPOSE") != f"{facts.HTTP_PORT} {facts.PROBE_PORT}":
        return [
            f"EXPOSE {run.last('EXPOSE')}, "
            f"but the service listens on {facts.HTTP_PORT} and, for probes, "
            f"on {facts.PROBE_PORT}"
        ]
    options, _, command = run.last("HEALTHCHECK").partition("CMD ")
    words = _exec_form(command)
    if words is None:
        return ["no HEALTHCHECK in exec form"]
    limit = re.search(r"--timeout=(\S+)", options)
    return probe_problems(
        words,
        limit_seconds=seconds(limit[1]) if limit else 30.0,
        port=facts.PROBE_PORT,
        paths=facts.open_paths(),
    )
