from tests.processes.test_failover import *
import time
async def test_phase(tmp_path):
    t=time.time()
    def lap(n):
        nonlocal t
        print(f"{n}: {time.time()-t:.2f}"); t=time.time()
    async with open_pair() as pair:
        lap("pair")
        async with at_work_on(pair, tmp_path, pair.primary, pair.standby) as scene:
            lap("at work")
            await pair.make_synchronous()
            await scene.poster.wait_for_verdicts(10)
            lap("10 verdicts")
            failover = await fail_over(pair, scene, SIGKILL)
            lap("failover")
            shard, poster = scene.shard, scene.poster
            heard = len(shard.child.events("telematics_update_accepted"))
            await poster.wait_for_verdicts(5, RETURN_SECONDS)
            lap("verdicts")
            await shard.wait_ready(RETURN_SECONDS)
            lap("ready")
            await shard.child.wait_until(lambda: _streams_heard(shard, heard) == 2, "both streams heard again", RETURN_SECONDS)
            lap("streams")
            await poster.finish()
            lap("finish")
            runtime = await shard.runtime()
            lap("runtime")
            shard.child.send(SIGTERM)
            assert await shard.child.wait_ended() == 0, shard.child.tail()
            lap("end")
            for r in scene.shard.child.records:
                if r["level"] in ("warning","error") or "shutdown" in r["event"]: print({k:v for k,v in r.items() if k not in("logger_name",)})
        lap("close")
    lap("close pair")
from tests.processes.test_failover import _streams_heard
