from tests.conftest import Stores
from tests.storage.cast import *
from actors.ports import HealthQuery
async def test_smoke(postgres_stores: Stores) -> None:
    cast = await settle(postgres_stores)
    assert await cast.send(cast.update("bus-1", 0, soc_percent=50.0), cast.update(None, 1, external_id="x-bus-2", soc_percent=1.0), cast.update(None,1,external_id="nope",soc_percent=1.0)) == ["accepted","accepted","rejected:unknown_device"]
    print(await cast.document("bus-1"), await cast.sequences("bus-1"))
    print(await cast.stores.reads.list_rejections(WORKSPACE,before=None,reason=None,limit=5))
    p = await cast.stores.reads.load_health(None, HealthQuery()); print(p)
    p = await cast.stores.reads.load_health(frozenset([WORKSPACE]), HealthQuery(order="silence")); print(len(p.rows))
