# Lastheard as an image: one shard, no database of its own. `serve` and `migrate` need
# LASTHEARD_DSN, or a settings file in LASTHEARD_CONFIG. tests/deployment/ compares this file with
# the code.

# --- Build: a virtual environment of exactly the tested packages, and Lastheard as a wheel in it.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# 1. Dependencies, in a layer that changes only with the lock files. The "embedded" extra (a
# PostgreSQL) stays out. That of traces is in: it is not imported until LASTHEARD_OTLP_URL is set.
COPY requirements/runtime.txt requirements/tracing.txt requirements/build.txt requirements/
RUN python -m venv /opt/lastheard \
    && /opt/lastheard/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/runtime.txt \
        -r requirements/tracing.txt \
    && python -m pip install --require-hashes --only-binary :all: -r requirements/build.txt

# 2. Lastheard itself. The check fails when the lock file no longer fits pyproject.toml.
COPY pyproject.toml README.md ./
COPY lastheard/ lastheard/
COPY api/ api/
COPY ports/ ports/
COPY actors/ actors/
COPY providers/ providers/
COPY legacy/ legacy/
COPY storage/ storage/
COPY domain/ domain/
COPY runtime/ runtime/
COPY simulator/ simulator/
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/lastheard/bin/python -m pip install --no-deps wheels/*.whl \
    && /opt/lastheard/bin/python -m pip check

# --- Run: the environment, an init, and a user who owns nothing.
FROM python:3.11-slim-bookworm
# The init is PID 1: it reaps orphans and passes signals on. As PID 1 itself, the service would not
# get the default action of a signal.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 lastheard \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lastheard
COPY --from=build /opt/lastheard /opt/lastheard
ENV PATH=/opt/lastheard/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    LASTHEARD_HTTP_HOST=0.0.0.0 \
    LASTHEARD_LOG_FORMAT=json

# Nothing is written outside /tmp, so the root file system may be read-only.
WORKDIR /
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# Alive, not ready: a database that is away is no reason to restart. Asked on the listener for
# probes, which requests to the API cannot exhaust. http.client knows no proxy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8081, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["lastheard", "serve"]
