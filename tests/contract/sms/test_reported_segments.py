"""A report says of a message's own segments how many arrived, in however many parts its carrier sent it."""

from datetime import timedelta

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt, Submitted
from landline.services.sms.service import Options, To
from landline.store.database import Database


@pytest.mark.parametrize(
    ("delivered", "parts_delivered", "told"),
    [
        (True, None, (2, 0)),
        (True, 3, (2, 0)),  # by header with 16-bit references, say, there is less room in a part
        (True, 1, (2, 0)),  # and more in Latin-1 than in UCS-2
        (False, None, (0, 2)),
        (False, 1, (1, 1)),
        (False, 2, (1, 1)),
    ],
)
async def test_no_more_segments_are_reported_than_the_message_has(
    dsn: str, database: Database, delivered: bool, parts_delivered: int | None, told: tuple[int, int]
) -> None:
    clock = DrivenClock()
    carrier = ScriptedCarrier(clock, name="carrier", fate=Fate.LOST)
    gateway = Gateway(dsn, database, clock, carrier)
    await gateway.start()
    resource = await gateway.own()
    await gateway.sms.send(resource, "+18005550100", [To("+14255550142")], "x" * 306, Options())
    await clock.advance(timedelta(milliseconds=1))
    await gateway.news.submitted("carrier", [Submitted(carrier.submissions[-1].key, "17")])
    code = 2000 if delivered else 4006
    await gateway.news.reported("carrier", [Receipt("17", delivered, code, clock.now(), parts_delivered)])
    row = await database.fetchrow("SELECT segments, segments_delivered FROM sms_messages")
    assert row is not None
    assert (row["segments_delivered"], row["segments"] - row["segments_delivered"]) == told
    await gateway.crash()
