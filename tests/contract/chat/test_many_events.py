"""The most events that one request of chat can make: 200 come to 50, and each of the 250 is told of each of the 200."""

import msgspec
from tests.support.chat import RESOURCE, Process

from landline.services.chat.model.values import Participant
from landline.services.events.model import Secrets, Settings
from landline.services.events.subscriptions import Subscriptions
from landline.store.database import Database


def _anywhere(settings: Settings, secrets: Secrets) -> tuple[Settings, Secrets]:
    return msgspec.structs.replace(settings, endpoint="http://127.0.0.1:9/"), secrets


async def test_a_whole_batch_comes_to_a_thread_of_which_every_event_is_wanted(one: Process, database: Database) -> None:
    await Subscriptions(one.events).add("local", "all", _anywhere, validation=False)
    users = [await one.user() for _ in range(250)]
    thread = await one.thread(*users[:50])
    made = await database.fetchval("SELECT count(*) FROM events_deliveries")
    assert not await one.chat.add(RESOURCE, users[0], thread, [Participant(user) for user in users[50:]])
    count = await database.fetchval("SELECT count(*) FROM events_deliveries") - made
    assert count == 200 * (1 + 249), "once for the thread and once for each in it but the one who did it"
    assert await database.fetchval("SELECT count(DISTINCT event_id) FROM events_deliveries") == made + count
    subject = f"thread/19:{thread.hex}@thread.v2/participantAdded/{users[60]}/recipient/{users[70]}"
    rows = await database.fetch("SELECT data, next_at, since FROM events_deliveries WHERE subject = $1", subject)
    assert [row["next_at"] == row["since"] and users[70].encode() in row["data"] for row in rows] == [True]
