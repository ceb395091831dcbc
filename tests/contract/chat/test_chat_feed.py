"""The chat feed over real sockets with clients that are not ours: live, resumed, over server-sent events; who sees
what; who is let in, and when they are let go."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from tests.support.feed import Node, User, node
from tests.support.patience import PATIENCE_S
from tests.support.still import StillClock
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from landline.edge.http import Caller
from landline.engines.clock import DrivenClock
from landline.services.chat import records_log
from landline.services.chat.model.changes import ThreadPropertiesUpdated, TypingIndicatorReceived
from landline.services.chat.model.ids import parse_thread
from landline.services.chat.model.values import Participant, Properties
from landline.services.chat.stream import records
from landline.services.chat.stream.tail import BEAT
from landline.services.chat.worker import REMEMBER_CHANGES
from landline.store.database import Database


@pytest.fixture
async def one(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Node]:
    async with node(database, dsn, clock) as running:
        yield running


async def refused(one: Node, url: str, **headers: str) -> tuple[int, str]:
    """Status and code of the error."""
    with pytest.raises(InvalidStatus) as found:
        await connect(url, additional_headers=headers)
    response = found.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


def bearer(user: User) -> dict[str, str]:
    return {"authorization": f"Bearer {user.token}"}


async def test_every_change_comes_in_its_order(one: Node) -> None:
    ann, bob, cem = [await one.user() for _ in range(3)]
    reader = await one.open(bob)
    assert reader.greeting["type"] == "connected"
    thread = await one.thread(ann, bob)
    path = f"/chat/threads/{thread}"
    message = await one.send(ann, thread, "hi")
    await one.call(ann, "PATCH", f"{path}/messages/{message}", {"content": "hello"})
    await one.call(ann, "DELETE", f"{path}/messages/{message}")
    await one.call(ann, "PATCH", path, {"topic": "Dinner"})
    await one.add(ann, thread, cem)
    await one.remove(ann, thread, cem)
    await one.call(ann, "DELETE", path)
    events = [await reader.event() for _ in range(8)]
    assert [event["type"] for event in events] == [
        "chatThreadCreated",
        "chatMessageReceived",
        "chatMessageEdited",
        "chatMessageDeleted",
        "chatThreadPropertiesUpdated",
        "participantsAdded",
        "participantsRemoved",
        "chatThreadDeleted",
    ]
    offsets = [event["offset"] for event in events]
    assert offsets == sorted(set(offsets))
    assert {event["threadId"] for event in events} == {thread}
    created, received, _, deleted, updated, added, removed, gone = events
    assert (created["thread"]["topic"], len(created["participants"])) == ("Lunch", 2)
    assert (received["message"]["id"], received["message"]["sequenceId"]) == (message, "3")
    assert received["message"]["senderCommunicationIdentifier"]["rawId"] == ann.raw_id
    assert (deleted["message"]["content"], "deletedOn" in deleted["message"]) == ({"message": ""}, True)
    assert updated["topic"] == "Dinner"
    assert [each["communicationIdentifier"]["rawId"] for each in added["participants"]] == [cem.raw_id]
    assert [each["communicationIdentifier"]["rawId"] for each in removed["participants"]] == [cem.raw_id]
    assert gone["deletedByCommunicationIdentifier"]["rawId"] == ann.raw_id


async def test_a_message_comes_as_rest_shows_it(one: Node) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    reader = await one.open(ann)
    body = {"content": "<b>hi</b>", "type": "html", "senderDisplayName": "Ann", "metadata": {"a": "1"}}
    await one.call(ann, "POST", f"/chat/threads/{thread}/messages", body)
    assert (await reader.event())["message"] == (await one.listed(ann, thread))[0]


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    threads = [await one.thread(ann, bob) for _ in range(3)]
    reader = await one.open(bob)
    for number in range(620):
        await one.send(ann, threads[number % 3], f"{number}")
        if number == 20:
            assert await reader.texts(10) == [f"{each}" for each in range(10)]
            await reader.socket.close()
    again = await one.open(bob, reader.at)
    assert again.greeting["offset"] == reader.offset
    assert await again.texts(610) == [f"{each}" for each in range(10, 620)]
    await one.send(ann, threads[0], "live")
    assert await again.texts(1) == ["live"]


async def test_any_process_resumes_what_another_began(one: Node, database: Database, dsn: str) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    reader = await one.open(bob)
    await one.send(ann, thread, "1")
    assert await reader.texts(1) == ["1"]
    await one.send(ann, thread, "2")
    async with node(database, dsn, one.clock) as other:
        await other.open(ann)  # so that it follows already, and is not told of what the first one writes
        await one.send(ann, thread, "3")
        assert await reader.texts(2) == ["2", "3"]
        await one.send(ann, thread, "4")
        ahead = await other.open(bob, reader.at)
        assert ahead.greeting["type"] == "connected"
        await one.clock.advance(BEAT)
        assert await ahead.texts(1) == ["4"], "what the bus loses is found in the store"


async def test_a_change_that_commits_late_is_not_passed_over(one: Node, database: Database) -> None:
    ann, bob = await one.user(), await one.user()
    slow, quick = await one.thread(ann, bob), await one.thread(ann, bob)
    reader = await one.open(bob)
    late = ThreadPropertiesUpdated(
        thread=parse_thread(slow),
        recipients=(ann.raw_id, bob.raw_id),
        version=1,
        at=one.clock.now(),
        edited_by=Participant(ann.raw_id),
        properties=Properties("Late", {}),
        created_at=one.clock.now(),
    )
    before = one.tail.position
    async with database.transaction() as connection:
        await records_log.append(connection, [(one.resource, late)])
        await one.send(ann, quick, "after")
        await one.send(ann, quick, "more")
        assert await records.settled(database) == before
        assert one.tail.position == before
    assert (await reader.event())["topic"] == "Late"
    assert await reader.texts(2) == ["after", "more"]


async def test_who_took_a_position_and_failed_holds_nobody_back(one: Node, database: Database) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    reader = await one.open(ann)
    await database.fetchval("SELECT nextval('chat_log_positions')")
    await one.send(ann, thread, "on")
    assert await reader.texts(1) == ["on"]


async def test_who_was_removed_sees_nothing_that_came_later(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    reader, away = await one.open(bob), await one.open(bob)
    await away.socket.close()
    kept = await one.send(ann, thread, "kept")
    await one.send(ann, thread, "both")
    assert await reader.texts(2) == ["kept", "both"]
    await one.remove(ann, thread, bob)
    await one.call(ann, "PATCH", f"/chat/threads/{thread}/messages/{kept}", {"content": "secret"})
    await one.send(ann, thread, "secret")
    other = await one.thread(ann, bob)
    assert [(await reader.event())["type"] for _ in range(2)] == ["participantsRemoved", "chatThreadCreated"]
    again = await one.open(bob, (away.greeting["offset"], away.epoch))
    events = [await again.event() for _ in range(4)]
    assert [event["type"] for event in events] == ["chatMessageReceived"] * 2 + [
        "participantsRemoved",
        "chatThreadCreated",
    ]
    assert "content" not in events[0]["message"], "it was changed after bob had gone"
    assert events[1]["message"]["content"]["message"] == "both"
    assert events[3]["threadId"] == other


async def test_history_that_is_not_shared_is_not_told_of(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann)
    old = await one.send(ann, thread, "before")
    reader, away = await one.open(bob), await one.open(bob)
    await away.socket.close()
    await one.clock.advance(timedelta(seconds=1))
    await one.add(ann, thread, bob, since=one.clock.now().isoformat())
    await one.call(ann, "PATCH", f"/chat/threads/{thread}/messages/{old}", {"content": "not for bob"})
    await one.send(ann, thread, "for bob")
    for each in (reader, await one.open(bob, (away.greeting["offset"], away.epoch))):
        assert (await each.event())["type"] == "participantsAdded"
        assert await each.texts(1) == ["for bob"]


async def test_of_a_deleted_thread_nothing_is_left_but_that(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    away = await one.open(bob)
    await away.socket.close()
    thread = await one.thread(ann, bob)
    await one.send(ann, thread, "gone")
    await one.call(ann, "DELETE", f"/chat/threads/{thread}")
    for _ in range(2):
        again = await one.open(bob, (away.greeting["offset"], away.epoch))
        assert (await again.event())["type"] == "chatThreadDeleted"
        await one.worker._work()


async def test_typing_and_receipts_are_told_once(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    message = await one.send(ann, thread, "hi")
    reader, own = await one.open(bob), await one.open(ann)
    await one.call(ann, "POST", f"/chat/threads/{thread}/typing", {"senderDisplayName": "Ann"})
    typing = await reader.event()
    assert (typing["type"], typing["senderDisplayName"]) == ("typingIndicatorReceived", "Ann")
    await one.call(ann, "POST", f"/chat/threads/{thread}/readReceipts", {"chatMessageId": message})
    receipt = await reader.event()
    assert (receipt["type"], receipt["readReceipt"]["chatMessageId"]) == ("readReceiptReceived", message)
    await one.send(ann, thread, "done")
    assert await own.texts(1) == ["done"]


async def test_offsets_that_lead_nowhere_are_said_so(one: Node, database: Database) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    reader = await one.open(ann)
    now, epoch = reader.greeting["offset"], reader.epoch
    assert (await one.open(ann, (now + 1000, epoch))).greeting["reason"] == "offsetUnknown"
    other = await one.open(ann, (now, "0123456789abcdef"))
    assert (other.greeting["reason"], other.greeting["epoch"], other.greeting["offset"]) == ("epochChanged", epoch, now)
    await one.send(ann, thread, "hi")
    assert await other.texts(1) == ["hi"]
    for query in ({"offset": "x", "epoch": epoch}, {"offset": 1}, {"epoch": epoch}, {"offset": 1, "epoch": "Zz"}):
        assert await refused(one, one.url(**query), **bearer(ann)) == (400, "BadRequest")
    for socket in one.sockets:
        await socket.close()
    async with asyncio.timeout(PATIENCE_S):
        while one.audience.size:
            await asyncio.sleep(0)
    await one.clock.advance(REMEMBER_CHANGES + timedelta(days=1))
    token = await one.identity.issue(Caller(one.resource), ann.raw_id, ["chat"], None)
    later = User(ann.raw_id, token.text)
    await one.worker._work()
    assert await database.fetchval("SELECT count(*) FROM chat_log") == 0
    assert (await one.open(later, (now, epoch))).greeting["reason"] == "offsetTooOld"


async def test_another_database_is_another_epoch(one: Node, database: Database) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    reader = await one.open(ann)
    await database.execute("UPDATE chat_log_state SET place = 'where the backup was made'")
    await one.clock.advance(BEAT)
    frame = await reader.event()
    assert (frame["type"], frame["reason"]) == ("reset", "epochChanged")
    assert frame["epoch"] != reader.epoch
    await one.send(ann, thread, "on")
    assert await reader.texts(1) == ["on"]
    assert (await one.open(ann, reader.at)).greeting["type"] == "reset"


async def test_what_the_bus_does_not_tell_is_looked_for_no_later_for_a_clock_that_was_set_back(
    database: Database, dsn: str
) -> None:
    clock = StillClock()
    async with node(database, dsn, clock) as one:
        reader = await one.open(await one.user())
        clock.set_back(timedelta(hours=1))
        one.tail._wake()  # as any message does
        await database.execute("UPDATE chat_log_state SET place = 'where the backup was made'")
        await clock.advance(BEAT)
        assert (await reader.event())["reason"] == "epochChanged"


async def test_tokens_are_taken_where_clients_can_put_them(one: Node) -> None:
    ann, caller, stranger = await one.user(), await one.user("voip"), await one.resources.ensure("other")
    async with connect(one.url(access_token=ann.token)) as by_query:
        assert json.loads(await by_query.recv())["type"] == "connected"
    offered = [Subprotocol("landline.chat-feed"), Subprotocol(f"token.{ann.token}")]
    async with connect(one.url(), subprotocols=offered) as by_protocol:
        assert by_protocol.subprotocol == "landline.chat-feed"
    assert await refused(one, one.url()) == (401, "Unauthorized")
    assert await refused(one, one.url(access_token=ann.token[:-4])) == (401, "Unauthorized")
    assert await refused(one, one.url(), **bearer(caller)) == (403, "Forbidden")
    assert stranger.resource_id != one.resource
    elsewhere = one.url().replace("127.0.0.1", "other.localhost")
    with pytest.raises(InvalidStatus) as found:
        await connect(elsewhere, additional_headers=bearer(ann), host="127.0.0.1")
    assert found.value.response.status_code == 401


@pytest.mark.parametrize("how", ["revoke", "delete"])
async def test_a_revoked_token_ends_it_at_once(one: Node, how: str) -> None:
    ann = await one.user()
    reader = await one.open(ann)
    await getattr(one.identity, how)(Caller(one.resource), ann.raw_id)
    assert (await reader.event()) == {"type": "ended", "reason": "unauthorized"}
    assert await reader.closed() == 4401
    assert one.audience.size == 0


async def test_it_ends_with_its_token(one: Node) -> None:
    reader = await one.open(await one.user(minutes=60))
    await one.clock.advance(timedelta(minutes=61))
    assert await reader.closed() == 4401


async def test_a_client_has_nothing_to_say(one: Node) -> None:
    reader = await one.open(await one.user())
    await reader.socket.send("hello")
    assert await reader.closed() == 1003


async def test_a_user_and_a_resource_have_a_bounded_number(database: Database, dsn: str, clock: DrivenClock) -> None:
    async with node(database, dsn, clock, most_of_a_user=2, most_of_a_resource=3) as strict:
        ann, bob = await strict.user(), await strict.user()
        readers = [await strict.open(ann) for _ in range(2)]
        assert await refused(strict, strict.url(), **bearer(ann)) == (429, "TooManyRequests")
        await strict.open(bob)
        assert await refused(strict, strict.url(), **bearer(bob)) == (429, "TooManyRequests")
        await readers[0].socket.close()
        async with asyncio.timeout(PATIENCE_S):
            while strict.audience.size == 3:
                await asyncio.sleep(0)
        await strict.open(bob)


async def test_pages_of_other_origins_are_kept_out(database: Database, dsn: str, clock: DrivenClock) -> None:
    async with node(database, dsn, clock, origins=("https://here.example",)) as strict:
        ann = await strict.user()
        url = strict.url(access_token=ann.token)
        assert (await refused(strict, url, origin="https://there.example"))[0] == 403
        async with connect(url, additional_headers={"origin": "https://here.example"}) as page:
            assert json.loads(await page.recv())["type"] == "connected"


async def test_a_process_that_stops_sends_its_readers_elsewhere(one: Node, database: Database, dsn: str) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    reader = await one.open(ann)
    async with node(database, dsn, one.clock) as other:
        closing = asyncio.create_task(one.listener.close())
        assert (await reader.frame())["type"] == "reconnect"
        again = await other.open(ann, reader.at)
        await other.send(ann, thread, "here")
        assert await again.texts(1) == ["here"]
        assert await reader.closed() == 1012
        await closing


async def test_progress_moves_the_offset_of_who_sees_nothing(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    reader = await one.open(bob)
    thread = await one.thread(ann)
    for _ in range(11):
        await one.clock.advance(BEAT / 2)
        await one.send(ann, thread, "not for bob")
    await one.clock.advance(BEAT)
    frame = await reader.frame()
    assert frame["type"] == "progress"
    assert reader.greeting["offset"] < frame["offset"] <= one.tail.position


async def test_a_slow_reader_is_cut_and_comes_back(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    quick = await one.open(ann)
    headers = {"authorization": f"Bearer {bob.token}"}
    stuck = await connect(one.url(), additional_headers=headers, max_queue=1, ping_interval=None)
    greeting = json.loads(await stuck.recv())
    sent = 0
    while one.audience.size == 2:
        assert sent < 3000, "the slow reader was never cut"
        await one.send(ann, thread, f"{sent}".ljust(20_000))
        assert await quick.texts(1) == [f"{sent}".ljust(20_000)]
        sent += 1
    again = await one.open(bob, (greeting["offset"], greeting["epoch"]))
    assert [each.strip() for each in await again.texts(sent)] == [f"{each}" for each in range(sent)]
    stuck.transport.abort()
    await stuck.wait_closed()


def types(one: Node, who: User, other: User, thread: str, name: str) -> None:
    """As `Messages.typing` tells of it, without the round trips."""
    now = one.clock.now()
    recipients = (who.raw_id, other.raw_id)
    change = TypingIndicatorReceived(
        thread=parse_thread(thread),
        recipients=recipients,
        version=1,
        at=now,
        sender=who.raw_id,
        sender_display_name=name,
    )
    one.feed.tell(one.resource, change)


@pytest.mark.parametrize("what", ["messages", "typing"])
async def test_readers_that_are_slow_together_are_cut_one_by_one(
    database: Database, dsn: str, clock: DrivenClock, what: str
) -> None:
    async with node(database, dsn, clock, most_behind=1) as strict:
        ann, bob = await strict.user(), await strict.user()
        thread = await strict.thread(ann, bob)
        quick = await strict.open(ann)
        stuck = [
            await connect(strict.url(), additional_headers=bearer(bob), max_queue=1, ping_interval=None)
            for _ in range(2)
        ]
        sent = 0
        while strict.audience.size == 3:
            assert sent < 3000, "no slow reader was ever cut"
            if what == "messages":
                await strict.send(ann, thread, f"{sent}".ljust(20_000))
                await quick.texts(1)
            else:
                types(strict, ann, bob, thread, f"{sent}".ljust(20_000))
                await asyncio.sleep(0)
            sent += 1
        assert strict.audience.size == 2, "there is room for one"
        for each in stuck:
            each.transport.abort()
            await each.wait_closed()
