import time
from datetime import datetime, UTC
import tests.processes.test_failover as t
from tests.processes.test_failover import *
for n in list(globals()):
    if n.startswith("test_"): del globals()[n]
async def test_stall(tmp_path):
    async with open_pair() as pair, at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
      try:
        def lap(n): print(datetime.now(UTC).isoformat(), n, flush=True)
        await pair.make_synchronous()
        await scene.poster.wait_for_verdicts(3)
        lap("freeze")
        pair.link.change(Condition.FROZEN)
        await scene.shard.child.wait_for_record("ingest_commit_failed")  # the gateway has given the COMMIT up
        lap("commit failed")
        confirmed = await pair.standby.ask(LAST_UNIT, DATABASE)
        await pair.primary.ask(BREAK_OFF_WAITS)
        await pair.primary.wait_for(f"{LAST_UNIT} WHERE last_unit > {confirmed}", str(int(confirmed or 0) + 1), DATABASE)
        lap("alone")
        assert_told_to_come_back(await scene.poster.wait_for_refusal())
        lap("refused")
        failover = await fail_over(pair, scene, SIGKILL)
        lap("failed over")
        shard, poster = scene.shard, scene.poster
        heard = len(shard.child.events("telematics_update_accepted"))
        await poster.wait_for_verdicts(5, RETURN_SECONDS)
        lap("verdicts")
        await shard.wait_ready(RETURN_SECONDS)
        lap("ready")
        await shard.child.wait_until(lambda: t._streams_heard(shard, heard) == 2, "both streams heard again", RETURN_SECONDS)
        lap("streams")
        await poster.finish()
        lap("finish")
        await assert_history_is_exact(scene)
        lap("exact")
      finally:
            for r in scene.shard.child.records:
                if r["event"] not in ("telematics_provider_message_received","telematics_update_accepted","telematics_ingress_payload_prepared", "telematics_update_rejected"): print(r["timestamp"], {k:v for k,v in r.items() if k not in("logger_name","timestamp")})
