"""Every panel of every dashboard has data after two minutes of demo, and every rule works.

`make test-metrics` runs it: a demo, and beside it a real Prometheus of Debian with the example
configuration of deploy/prometheus/. Only the address, the key's file and the intervals are changed.
"""

from __future__ import annotations

import math
import re
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import trio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.debian import INSTALL_SECONDS, find_program
from tests.metrics.exported import exported_names
from tests.metrics.queries import PROMETHEUS, RULES, load_alerts, load_panels
from tests.postgres import public_folder
from tests.processes.child import LASTHEARD, open_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.processes.child import Child

DEMO_SECONDS: Final = 120.0
START_SECONDS: Final = 90.0  # for an embedded PostgreSQL on a crowded machine
SCRAPE_SECONDS: Final = 2

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(INSTALL_SECONDS + START_SECONDS + 2 * DEMO_SECONDS),
]


async def test_every_panel_has_data_after_two_minutes_of_demo(tmp_path: Path) -> None:
    program = find_program("prometheus", "prometheus")
    async with _running_demo() as demo:
        url, key = await _wait_for_metrics(demo)
        config = _write_config(tmp_path, url, key)
        async with _watching(program, config, tmp_path / "series") as prometheus:
            await trio.sleep(DEMO_SECONDS)  # that long is what is claimed
            await _check_rules(prometheus)
            assert await _empty_panels(prometheus) == []
        await _check_names(url, key)


@asynccontextmanager
async def _running_demo() -> AsyncIterator[Child]:
    """Run a demo; end it in order, so that its PostgreSQL and its simulator end too."""
    command = (*LASTHEARD, "demo", "--for", str(int(3 * DEMO_SECONDS)))
    with public_folder("lastheard-metrics-") as folder:
        async with open_child(*command, "--data-dir", str(folder / "data")) as demo:
            try:
                yield demo
            finally:
                with trio.CancelScope(shield=True):
                    demo.send(signal.SIGTERM)
                    await demo.wait_ended()


async def _wait_for_metrics(demo: Child) -> tuple[str, str]:
    """Return the address of the metrics, and the key that opens them."""
    await demo.wait_for_output("/metrics", START_SECONDS)
    url, key = (re.search(rf"(?m)^{word} +(\S+)", demo.out) for word in ("metrics", "key"))
    assert url is not None
    assert key is not None
    return url[1], key[1]


def _write_config(folder: Path, url: str, key: str) -> Path:
    """Write the example configuration with this shard's address and key, and short intervals."""
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    document["global"] = dict.fromkeys(document["global"], f"{SCRAPE_SECONDS}s")
    document["rule_files"] = [str(RULES)]
    (job,) = document["scrape_configs"]
    job["scrape_timeout"] = f"{SCRAPE_SECONDS}s"
    job["static_configs"] = [{"targets": [url.split("/")[2]]}]
    (folder / "lastheard.key").write_text(key)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(document))
    return config


@asynccontextmanager
async def _watching(program: Path, config: Path, series: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run Prometheus on a free port of loopback; give a client of its API."""
    flags = (f"--config.file={config}", f"--storage.tsdb.path={series}")
    async with open_child(str(program), *flags, "--web.listen-address=127.0.0.1:0") as child:
        bound = re.compile(r'msg="Listening on" address=(\S+)')
        await child.wait_until(lambda: bound.search(child.errors) is not None, "its address")
        found = bound.search(child.errors)
        assert found is not None
        base = f"http://{found[1]}/api/v1"
        async with httpx.AsyncClient(base_url=base, timeout=20.0, trust_env=False) as client:
            yield client


async def _ask(prometheus: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    answer = (await prometheus.get(path, params=parameters)).json()
    assert answer["status"] == "success", answer
    return answer["data"]


async def _check_rules(prometheus: httpx.AsyncClient) -> None:
    (target,) = (await _ask(prometheus, "/targets"))["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    groups = (await _ask(prometheus, "/rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {alert.name for alert in load_alerts()}
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


async def _empty_panels(prometheus: httpx.AsyncClient) -> list[str]:
    """Return the queries of panels without a number."""
    empty = []
    for panel in load_panels():
        for expression in panel.expressions:
            found = (await _ask(prometheus, "/query", query=expression))["result"]
            if not any(math.isfinite(float(series["value"][1])) for series in found):
                empty.append(f"{panel.dashboard}, {panel.title}: {expression}")
    return empty


async def _check_names(url: str, key: str) -> None:
    """Compare a real scrape with what the tests without processes take for exported."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=20.0, trust_env=False) as client:
        text = (await client.get(url)).text
    scraped = {
        sample.name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("lastheard_")
    }
    assert scraped - await exported_names() == set()
