"""Which of a carrier's ids other processes have told of, for receipts that are to wait for the rest."""

from datetime import timedelta

from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.engines.clock import DrivenClock
from landline.services.sms.service import Options, To
from landline.services.sms.submissions import Submissions
from landline.store.database import Database

SENDER, PHONES = "+18005550100", ["+14255550142", "+14255550143"]


async def test_an_id_of_a_message_that_has_ended_counts_as_none(dsn: str, database: Database) -> None:
    """A carrier that begins its ids anew gives it to another message: the receipt is that one's."""
    clock = DrivenClock()
    fates = iter([Fate.DELIVERED, Fate.TAKEN])
    gateway = await Gateway(dsn, database, clock, ScriptedCarrier(clock, lambda _: next(fates))).start()
    to = [To(phone) for phone in PHONES]
    await gateway.sms.send(await gateway.own(), SENDER, to, "hello", Options(report_wanted=True))
    await clock.advance(timedelta(milliseconds=1))
    assert await Submissions(database).known("carrier", ["carrier1", "carrier2", "carrier3"]) == {"carrier2"}
    await gateway.crash()
