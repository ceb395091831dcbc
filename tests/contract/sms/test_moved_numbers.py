"""A number that one resource gives up and another gets: what people and operators said of it was said to the former."""

from datetime import timedelta
from uuid import UUID

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Arrival
from landline.services.sms.model.keywords import ENGLISH, PRESETS
from landline.services.sms.service import Options, To
from landline.store.database import Database

NUMBER, PHONE = "+18005550100", "+14255550142"
OTHER = ResourceId(UUID(int=7))


@pytest.fixture
async def gateway(dsn: str, database: Database):
    clock = DrivenClock()
    gateway = await Gateway(dsn, database, clock, ScriptedCarrier(clock, name="carrier", fate=Fate.DELIVERED)).start()
    yield gateway
    await gateway.crash()


async def test_what_was_said_to_its_former_resource_is_not_the_next_ones_and_holds_when_it_comes_back(
    gateway: Gateway,
) -> None:
    first, other = await gateway.own(), OTHER
    german = (PRESETS["de"],)
    await gateway.keywords.set(first, NUMBER, german)
    await gateway.rates.set(first, NUMBER, 2.0)
    await gateway.news.arrived("carrier", [Arrival("1", PHONE, NUMBER, "STOP", 1, gateway.clock.now())])

    async def sent(resource: ResourceId) -> int | None:
        await gateway.sms.send(resource, NUMBER, [To(PHONE)], "hello", Options())
        await gateway.clock.advance(timedelta(seconds=1))
        return await gateway.database.fetchval(
            "SELECT code FROM sms_messages WHERE resource_id = $1 AND body = 'hello' ORDER BY message_id DESC LIMIT 1",
            resource,
        )

    assert await sent(first) == 4007
    await gateway.numbers.remove(first, NUMBER)
    await gateway.numbers.add(other, NUMBER)
    assert await gateway.keywords.languages(other, NUMBER) == (ENGLISH,)
    assert await gateway.rates.rate(other, NUMBER) is None
    assert await sent(other) == 2000
    await gateway.numbers.remove(other, NUMBER)
    await gateway.numbers.add(first, NUMBER)
    assert await gateway.keywords.languages(first, NUMBER) == german
    assert await gateway.rates.rate(first, NUMBER) == 2.0
    assert await sent(first) == 4007
