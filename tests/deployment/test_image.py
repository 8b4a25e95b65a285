"""The Dockerfile against the code, and the checker against broken Dockerfiles.

No image is built here.
"""

from __future__ import annotations

import re

import pytest

from tests.architecture.source import ROOT
from tests.deployment.image import copied, image_problems, parse_dockerfile

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_dockerfile_fits_the_code() -> None:
    assert image_problems(DOCKERFILE) == []


# What is replaced, by what, and a word of the refusal.
BROKEN = [
    ("FROM python:3.11-slim-bookworm\n", "FROM python:latest\n", "no fixed tag"),
    ("FROM python:3.11-slim-bookworm\n", "FROM python\n", "no fixed tag"),
    ("FROM python:3.11-slim-bookworm\n", "FROM python:3.12-slim-bookworm\n", "different bases"),
    ("COPY domain/ domain/\n", "", "package not copied: domain"),
    ("COPY domain/ domain/", "COPY domain/ ./", "another folder"),
    ("COPY domain/ domain/", "COPY domian/ domian/", "does not exist"),
    ("--from=build", "--from=builder", "unknown stage"),
    (
        "-m pip install --require-hashes --only-binary :all: -r requirements/runtime",
        "-m pip install -r requirements/r",
        "without",
    ),
    ("requirements/runtime.txt \\\n", "requirements/dev.txt \\\n", "runtime.txt is not installed"),
    ("-r requirements/tracing.txt", "", "tracing.txt is not installed"),
    ("--no-deps wheels/*.whl", "--no-deps wheels/*.whl[embedded]", "embedded"),
    ('ENTRYPOINT ["/usr/bin/tini", "--"]', 'ENTRYPOINT ["lastheard"]', "not an init"),
    ('ENTRYPOINT ["/usr/bin/tini", "--"]', "", "not an init"),
    (
        "install --yes --no-install-recommends tini",
        "install --yes --no-install-recommends curl",
        "init is not installed",
    ),
    ('CMD ["lastheard", "serve"]', "CMD lastheard serve", "exec form"),
    ('CMD ["lastheard", "serve"]', 'CMD ["lastheard", "server"]', "no such command"),
    ('CMD ["lastheard", "serve"]', 'CMD ["lastheard", "serve", "--bind", "0.0.0.0"]', "--bind"),
    ('CMD ["lastheard", "serve"]', 'CMD ["lastheard", "serve", "--port", "http"]', "--port"),
    ('CMD ["lastheard", "serve"]', 'CMD ["python", "-m", "lastheard"]', "not a command of ours"),
    ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "STOPSIGNAL"),
    ("USER 10001:10001", "USER root", "USER"),
    ("USER 10001:10001", "USER 0", "USER"),
    ("USER 10001:10001", "", "USER"),
    ("--uid 10001", "--uid 10002", "nobody makes the user"),
    ("LASTHEARD_LOG_FORMAT=json", "LASTHEARD_LOGFORMAT=json", "no such setting"),
    ("LASTHEARD_LOG_FORMAT=json", "LASTHEARD_LOG_FORMAT=yaml", "LASTHEARD_LOG_FORMAT"),
    ("LASTHEARD_HTTP_HOST=0.0.0.0", "LASTHEARD_HTTP_PORT=8080", "LASTHEARD_HTTP_HOST"),
    ("LASTHEARD_HTTP_HOST=0.0.0.0", "LASTHEARD_DSN=postgresql://u:p@h/d", "secret in the image"),
    ("EXPOSE 8080 8081", "EXPOSE 8080", "EXPOSE"),
    ("'127.0.0.1', 8081", "'127.0.0.1', 8080", "asks 127.0.0.1:8080"),
    ("'/healthz'", "'/health'", "/health"),
    ("'/healthz'", "'/metrics/'", "/metrics/"),
    ("timeout=3)", "timeout=30)", "killed after 5 s"),
    ('CMD ["python", "-c"', 'CMD ["curl", "-f"', "nobody can read"),
]


@pytest.mark.parametrize(("found", "put", "refusal"), BROKEN)
def test_a_broken_dockerfile_is_refused(found: str, put: str, refusal: str) -> None:
    assert found in DOCKERFILE
    assert refusal in "\n".join(image_problems(DOCKERFILE.replace(found, put)))


def ignored(path: str, patterns: str) -> bool:
    """Whether .dockerignore leaves a path out, by the last pattern for it or a folder above it."""
    out = False
    for line in patterns.splitlines():
        pattern = line.strip().rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        name = pattern.removeprefix("!")
        expression = re.escape(name).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(rf"{expression}(?:/.*)?", path):
            out = not pattern.startswith("!")
    return out


def test_the_build_context_has_what_is_copied_and_nothing_secret() -> None:
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    sources = [
        source.rstrip("/") for group, _ in copied(parse_dockerfile(DOCKERFILE)) for source in group
    ]
    assert [source for source in sources if ignored(source, patterns)] == []
    kept_out = [
        ".lastheard/secrets/lastheard.toml",
        ".git/config",
        ".venv/pyvenv.cfg",
        "tests/conftest.py",
    ]
    kept_out += ["api/__pycache__/app.cpython-311.pyc", "storage/memory/store.py"]
    assert [path for path in kept_out if not ignored(path, patterns)] == []


def test_an_ignore_file_with_a_mistake_is_noticed() -> None:
    assert not ignored(".lastheard/secrets/lastheard.toml", "tests/\n.venv/")
    assert ignored("api/app.py", "*\n!requirements/")


def test_the_build_tool_is_the_one_the_tests_ran_with() -> None:
    """requirements/build.txt repeats a pin of dev.txt, and must have the same release."""
    tested = pins((ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    built = pins((ROOT / "requirements" / "build.txt").read_text(encoding="utf-8"))
    assert built
    assert {name: tested.get(name) for name in built} == built


def pins(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return name -> (version, hashes) of a hashed requirements file."""
    joined = re.sub(r"\\\n", " ", text)
    found = re.findall(r"(?m)^([\w.-]+)==(\S+)((?:\s+--hash=\S+)+)", joined)
    return {name: (version, frozenset(hashes.split())) for name, version, hashes in found}
