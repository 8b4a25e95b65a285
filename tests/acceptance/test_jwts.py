"""FR-014: machines send data with a token of an issuer, to a running shard, and not without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.clock import SystemClock
from tests.acceptance.harness import open_harness
from tests.api.issuer import AUDIENCE, ISSUER, Issuer, serving_keys, sign

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


class RealTime:
    """The time, as this machine has it."""

    def now(self) -> datetime:
        return SystemClock().wall()


async def test_fr_014_a_running_shard_takes_an_issuers_tokens(dsn: str, tmp_path: Path) -> None:
    issuer = Issuer(RealTime())
    async with serving_keys(issuer) as url, open_harness(dsn, tmp_path, shards=()) as harness:
        shard = await harness.open_shard(
            "shard-1", jwt_issuer=ISSUER, jwt_jwks_url=url, jwt_audiences=AUDIENCE
        )
        body: dict[str, list[str]] = {"updates": []}
        for path in ("/ingest", "/provider-ingest"):
            assert (await shard.ask("POST", path, key=None, json=body)).status == 401
        token = issuer.token(scope="ingest")
        assert (await shard.ask("POST", "/ingest", key=token, json=body)).status == 200
        removed = sign(issuer.claims(iat=issuer.now() - 120), "removed")
        refused = await shard.ask("POST", "/ingest", key=removed, json=body)
        assert "not among the issuer's keys" in refused.headers["www-authenticate"]
        jwt = (await shard.get("/runtime"))["process"]["jwt"]
        assert (jwt["refused"], jwt["signatures_checked"]) == (1, 1)
        keys = jwt["keys"]
        assert (keys["issuer"], keys["key_ids"], keys["last_failure"]) == (ISSUER, ["one"], None)
        assert 0 <= keys["age_seconds"] < 60
        assert issuer.asked == 1
