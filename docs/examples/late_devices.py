"""Print the late devices of every workspace, then send one state of charge. Uses httpx.

LASTHEARD=https://lastheard.example KEY=lh_… python late_devices.py [workspace provider device soc]
"""

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

ATTEMPTS = 5
LATE = ("delayed", "stale", "configured-no-data")
API = httpx.Client(
    base_url=f"{os.environ['LASTHEARD']}/api/telematics-mvp",
    headers={"Authorization": f"Bearer {os.environ['KEY']}"},
    timeout=30,
)


def ask(method: str, path: str, **rest: Any) -> Any:
    """Return the JSON of the answer. After 429 and 503 it waits, and asks again."""
    for _ in range(ATTEMPTS):
        answer = API.request(method, path, **rest)
        wait = answer.headers.get("Retry-After")
        if answer.status_code not in (429, 503) or wait is None:
            break
        time.sleep(int(wait))
    if answer.is_error:
        problem = answer.json()
        sys.exit(f"{problem['title']}: {problem.get('detail')} (trace {problem.get('trace_id')})")
    return answer.json()


def walk(path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Yield the items of all pages of a list."""
    page = ask("GET", path, params=query)
    yield from page["items"]
    while page["next_cursor"] is not None:
        page = ask("GET", path, params={**query, "cursor": page["next_cursor"]})
        yield from page["items"]


for workspace in walk("/workspaces"):
    for device in walk(f"/workspaces/{workspace['workspace_id']}/health", state=LATE):
        verdict = f"{device['state']}: {device['reason']} ({device['party']})"
        print(f"{workspace['name']}: {device['vehicle_name']} is {verdict}")

if len(sys.argv) > 1:
    ids = dict(zip(("workspace_id", "provider_id", "device_id"), sys.argv[1:], strict=False))
    now = datetime.now(UTC).isoformat()
    reading = {"signal": "soc_percent", "value": float(sys.argv[4]), "observed_at": now}
    sent = ask("POST", "/ingest", json={"updates": [{**ids, "readings": [reading]}]})
    for result in sent["results"]:
        print(result["outcome"], result["reason"] or "", result["detail"] or "")
        for fault in result["errors"]:
            print(" ", fault["pointer"], fault["detail"])
