"""How the carriers are, as an operator asks: which binds are up, whose they are, and what keeps one down."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from prometheus_client.registry import CollectorRegistry
from tests.support.front import ADMIN_TOKEN, call
from tests.support.smpp_world import World, until, until_bound

from landline.app import carriers_admin
from landline.edge.admin import admin_app
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.leases import Leases
from landline.protocols.smpp import status
from landline.store.changes import Changes


async def shown(world: World, carrier: SmppCarrier, owner: UUID) -> dict[str, Any]:
    [found] = await listed(world, carrier, owner, {})
    return found


async def listed(world: World, carrier: SmppCarrier, owner: UUID, waiting: dict[str, int]) -> list[dict[str, Any]]:
    async def removed() -> dict[str, int]:
        return waiting

    routes = carriers_admin.routes({carrier.name: carrier}, removed, world.database, world.clock, owner)
    app = admin_app(routes, token=ADMIN_TOKEN, registry=CollectorRegistry(), checks={})
    headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
    reply = await call(app, "GET", "/sms/carriers", headers)
    assert reply.status == 200, reply.body
    assert "password" not in reply.body.decode().lower()
    return reply.json()["value"]


async def test_a_carrier_that_is_up(world: World) -> None:
    carrier, owner = await world.start(binds=2), uuid4()
    found = await shown(world, carrier, owner)
    assert (found["name"], found["kind"], found["up"], found["binds"]) == ("smpp", "smpp", True, 2)
    assert found["processes"] == [{"id": str(owner), "binds": 2, "up": True}]
    assert [each["bound"] for each in found["links"]] == [True, True]
    assert all("trouble" not in each for each in found["links"])


async def test_one_that_was_removed_while_messages_wait_for_it(world: World) -> None:
    _, removed = await listed(world, await world.start(), uuid4(), {"north": 3})
    assert removed == {"name": "north", "kind": "removed", "up": False, "waiting": 3}


async def test_what_keeps_a_bind_down_is_told_until_it_is_up(world: World) -> None:
    world.smsc.conduct.bind_status = status.ESME_RINVPASWD
    carrier = await world.start()
    found = await shown(world, carrier, uuid4())
    assert (found["up"], found["links"][0]["bound"], found["links"][0]["trouble"]) == (False, False, "ESME_RINVPASWD")
    world.smsc.conduct.bind_status = status.ESME_ROK
    await world.clock.advance(timedelta(seconds=1))
    await until_bound(carrier)
    [link] = (await shown(world, carrier, uuid4()))["links"]
    assert "trouble" not in link


async def test_whose_the_binds_are_where_processes_share_them(world: World, dsn: str) -> None:
    owners, carriers, heard = sorted((uuid4(), uuid4())), list[SmppCarrier](), list[Changes]()
    for owner in owners:
        heard.append(Changes(dsn))
        await heard[-1].start()
        leases = Leases(world.database, heard[-1], world.clock, owner, "smpp", 3)
        carriers.append(await world.start(binds=3, slots=leases))
    await until(lambda: sorted(carrier.bound for carrier in carriers) == [1, 2])
    for carrier, owner in zip(carriers, owners, strict=True):
        found = await shown(world, carrier, owner)
        assert [each["id"] for each in found["processes"]] == [str(each) for each in owners]
        assert sum(each["binds"] for each in found["processes"]) == 3
        assert len([each for each in found["links"] if each["bound"]]) == carrier.bound
    for changes in heard:
        await changes.close()
