"""What the stream of changes tells: each of the ten, to whom, with what a real-time frame needs."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from tests.support.chat import RESOURCE, Process, process

from landline.core.errors import Forbidden, TooMany, Unavailable
from landline.core.ids import RawId, ResourceId
from landline.engines.clock import DrivenClock
from landline.services.chat.messages import Edit
from landline.services.chat.model import changes
from landline.services.chat.model.changes import (
    ChatChange,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ParticipantsAdded,
    ParticipantsRemoved,
    ReadReceiptReceived,
    ThreadCreated,
    ThreadDeleted,
    ThreadPropertiesUpdated,
    TypingIndicatorReceived,
)
from landline.services.chat.model.values import Attachment, Draft, Kind
from landline.services.chat.service import Patch
from landline.store.database import Database

T = TypeVar("T", bound=ChatChange)


def only(heard: Sequence[ChatChange], kind: type[T]) -> T:
    (found,) = [change for change in heard if isinstance(change, kind)]
    return found


async def test_each_change_is_told_once_to_those_who_were_there(one: Process) -> None:
    heard = await one.hears()
    ann, bob, cem = [await one.user() for _ in range(3)]
    thread = await one.thread(ann, bob)
    files = (Attachment("f1", "file", "menu.pdf", "https://example.org/menu.pdf"),)
    draft = Draft(RESOURCE, thread, ann, "Ann", Kind.HTML, "<b>hi</b>", {"tag": "x"}, files)
    message = await one.messages.send(draft)
    await one.messages.edit(RESOURCE, ann, thread, message, Edit("<i>hello</i>", {"tag": None}))
    await one.messages.typing(RESOURCE, bob, thread, "Bob")
    await one.messages.read(RESOURCE, bob, thread, message)
    await one.messages.read(RESOURCE, bob, thread, message)  # nothing new: not told
    await one.messages.delete(RESOURCE, ann, thread, message)
    await one.add(thread, ann, cem)
    await one.add(thread, ann, cem)  # nothing new: not told
    await one.chat.remove(RESOURCE, ann, thread, bob)
    await one.chat.update(RESOURCE, ann, thread, Patch("Dinner", {"room": "1"}))
    await one.chat.update(RESOURCE, ann, thread, Patch("Dinner"))  # nothing new: not told
    await one.chat.delete(RESOURCE, ann, thread)
    await asyncio.sleep(0)
    assert len(heard) == 10
    assert {change.thread for change in heard} == {thread}
    assert_messages(heard, ann, bob)
    created, added, removed = (
        only(heard, ThreadCreated),
        only(heard, ParticipantsAdded),
        only(heard, ParticipantsRemoved),
    )
    assert (created.created_by.raw_id, created.properties.topic) == (ann, "Lunch")
    assert {each.raw_id for each in created.participants} == {ann, bob} == set(created.recipients)
    assert ([each.raw_id for each in added.participants], set(added.recipients)) == ([cem], {ann, bob, cem})
    assert ([each.raw_id for each in removed.participants], set(removed.recipients)) == ([bob], {ann, bob, cem})
    updated, deleted = only(heard, ThreadPropertiesUpdated), only(heard, ThreadDeleted)
    assert (updated.properties.topic, updated.properties.metadata) == ("Dinner", {"room": "1"})
    assert deleted.deleted_by is not None
    assert set(updated.recipients) == set(deleted.recipients) == {ann, cem}
    threads = (created, added, removed, updated, deleted)
    assert [each.version for each in threads] == sorted({each.version for each in threads})


def assert_messages(heard: Sequence[ChatChange], ann: str, bob: str) -> None:
    received, edited, deleted = only(heard, MessageReceived), only(heard, MessageEdited), only(heard, MessageDeleted)
    assert (received.sender, received.sender_display_name, received.kind) == (ann, "Ann", Kind.HTML)
    assert (received.content, received.metadata, received.sequence) == ("<b>hi</b>", {"tag": "x"}, 3)
    assert received.attachments[0].name == "menu.pdf"
    assert received.version == received.message_id == edited.message_id == deleted.message_id
    assert (edited.content, edited.metadata, edited.created_at) == ("<i>hello</i>", {}, received.at)
    assert edited.attachments == received.attachments
    assert received.version < edited.version < deleted.version
    typing, read = only(heard, TypingIndicatorReceived), only(heard, ReadReceiptReceived)
    assert (typing.sender, typing.sender_display_name) == (bob, "Bob")
    assert (read.sender, read.message_id) == (bob, received.message_id)
    for change in (received, edited, deleted, typing, read):
        assert set(change.recipients) == {ann, bob}


async def test_another_resources_changes_are_not_heard(one: Process) -> None:
    heard = await one.hears(ResourceId(UUID(int=7)))
    ann = await one.user()
    await one.send(await one.thread(ann), ann)
    await asyncio.sleep(0)
    assert heard == []


async def test_what_was_not_committed_is_not_told(one: Process, database: Database) -> None:
    heard = await one.hears()
    ann = await one.user()
    thread = await one.thread(ann)
    await database.close()
    with pytest.raises(Unavailable):
        await one.send(thread, ann)
    assert [type(change) for change in heard] == [ThreadCreated]


def test_changes_are_the_same_after_the_bus() -> None:
    kinds = changes.ChatChange.__args__
    assert len(kinds) == 10
    assert len({kind.__struct_config__.tag for kind in kinds}) == 10


async def test_acs_rates_are_kept_where_they_are_switched_on(database: Database, dsn: str) -> None:
    clock = DrivenClock()
    one = process(database, dsn, clock=clock, acs_limits=True)
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    for number in range(10):
        await one.send(thread, (ann, bob)[number % 2])
    with pytest.raises(TooMany) as refused:
        await one.send(thread, ann)
    assert 0 < refused.value.retry_after_s <= 10
    await one.send(await one.thread(ann), ann)  # another thread has a rate of its own
    for _ in range(2):
        await clock.advance(timedelta(seconds=10))
        for _ in range(10):
            await one.send(thread, ann)
    await clock.advance(timedelta(seconds=10))
    with pytest.raises(TooMany):  # 30 a minute
        await one.send(thread, ann)
    for _ in range(5):
        await one.messages.typing(RESOURCE, ann, thread, None)
    with pytest.raises(TooMany):
        await one.messages.typing(RESOURCE, ann, thread, None)
    await one.messages.typing(RESOURCE, bob, thread, None)


@pytest.mark.parametrize("how", ["send", "list", "topic", "leave"])
async def test_who_is_not_in_a_thread_takes_nothing_of_its_rates(database: Database, dsn: str, how: str) -> None:
    one = process(database, dsn, clock=DrivenClock(), acs_limits=True)
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann)

    async def tried(user: RawId) -> None:
        match how:
            case "send":
                await one.send(thread, user)
            case "list":
                await one.messages.listed(RESOURCE, user, thread, None, None, 10)
            case "topic":
                await one.chat.update(RESOURCE, user, thread, Patch(topic="Mine"))
            case _:
                await one.chat.remove(RESOURCE, user, thread, ann)

    for _ in range(260 if how == "list" else 12):
        with pytest.raises(Forbidden):
            await tried(bob)
    await tried(ann)


async def test_one_commit_refuses_some_and_takes_the_others(one: Process) -> None:
    ann, bob = await one.user(), await one.user()
    mine, theirs = await one.thread(ann), await one.thread(bob)
    pairs = [(thread, user) for _ in range(5) for thread in (mine, theirs) for user in (ann, bob)]
    results = await asyncio.gather(*[one.send(thread, user) for thread, user in pairs], return_exceptions=True)
    for (thread, user), done in zip(pairs, results, strict=True):
        assert isinstance(done, int if (thread, user) in ((mine, ann), (theirs, bob)) else Forbidden)
    assert len(await one.listed(mine, ann)) == len(await one.listed(theirs, bob)) == 7
