"""The official Python chat clients, sync and async, unmodified, over TLS, on a running server (acs-wire.md 7)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import azure.communication.chat as chat_sync
import azure.communication.chat.aio as chat_async
import pytest
from azure.communication.chat import (
    ChatMessageType,
    ChatParticipant,
    CommunicationUserIdentifier,
)
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.rooms import RoomParticipant, RoomsClient
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.contract.sdk.conftest import Style, closed, result
from tests.support.patience import PATIENCE_S

from landline.testing import Server


@dataclass
class User:
    """A communication user with the SDK's client for it."""

    identifier: Any
    client: Any
    threads: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def raw_id(self) -> str:
        return self.identifier.raw_id

    def participant(self, name: str | None = None, **more: Any) -> ChatParticipant:
        return ChatParticipant(identifier=self.identifier, display_name=name, **more)

    def thread(self, thread_id: str) -> Any:
        """The SDK's client for a thread; each has connections of its own."""
        if thread_id not in self.threads:
            self.threads[thread_id] = self.client.get_chat_thread_client(thread_id)
        return self.threads[thread_id]

    async def close(self) -> None:
        for client in (self.client, *self.threads.values()):
            await closed(client)


NewUser = Callable[..., Awaitable[User]]


@pytest.fixture
async def new_user(style: Style, landline: Server) -> AsyncGenerator[NewUser]:
    """Makes users, each with a chat client in the style of the test."""
    identity = CommunicationIdentityClient.from_connection_string(landline.connection_string)
    module: Any = chat_async if style.name == "async" else chat_sync
    async with AsyncExitStack() as stack:

        async def make(*scopes: str) -> User:
            identifier, token = identity.create_user_and_token(list(scopes or ("chat",)))
            credential = module.CommunicationTokenCredential(token.token)
            client = module.ChatClient(landline.endpoint, credential)
            user = User(identifier, client)
            stack.push_async_callback(user.close)
            return user

        yield make


async def one_by_one(pages: Any) -> AsyncGenerator[Any]:
    """The items of a paged result of either style; each page is asked for when its first item is."""
    if hasattr(pages, "__aiter__"):
        async for item in pages:
            yield item
    else:
        for item in pages:
            yield item


async def every(pages: Any) -> list[Any]:
    """All items of a paged result of either style."""
    return [item async for item in one_by_one(pages)]


async def thread_of(owner: User, *others: User, topic: str = "Lunch") -> str:
    made = await result(
        owner.client.create_chat_thread(topic, thread_participants=[other.participant() for other in others])
    )
    assert not made.errors
    return made.chat_thread.id


async def texts(user: User, thread: str) -> list[str]:
    found = await every(user.thread(thread).list_messages())
    return [each.content.message for each in found if each.type == ChatMessageType.TEXT and each.content]


async def test_a_thread_is_made_read_renamed_and_deleted(new_user: NewUser, landline: Server) -> None:
    ann, bob = await new_user(), await new_user()
    made = await result(ann.client.create_chat_thread("Lunch", thread_participants=[bob.participant("Bob")]))
    thread = made.chat_thread
    assert thread.id.startswith("19:")
    assert thread.id.endswith("@thread.v2")
    assert thread.topic == "Lunch"
    assert thread.created_by.raw_id == ann.raw_id
    assert abs(thread.created_on - landline.clock.now()) < timedelta(minutes=5)
    await result(ann.thread(thread.id).update_topic("Dinner"))
    seen = await result(bob.thread(thread.id).get_properties())
    assert (seen.id, seen.topic) == (thread.id, "Dinner")
    assert [item.id for item in await every(bob.client.list_chat_threads())] == [thread.id]
    await result(ann.client.delete_chat_thread(thread.id))
    await result(ann.client.delete_chat_thread(thread.id))  # as a retry does
    with pytest.raises(ResourceNotFoundError):
        await result(bob.thread(thread.id).get_properties())
    assert await every(bob.client.list_chat_threads()) == []


async def test_a_message_is_sent_read_edited_and_deleted(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    sent = await result(
        ann.thread(thread).send_message("hi 👋", sender_display_name="Ann", metadata={"tags": "greeting"})
    )
    read = await result(bob.thread(thread).get_message(sent.id))
    assert (read.id, read.content.message, read.type) == (sent.id, "hi 👋", ChatMessageType.TEXT)
    assert (read.sender.raw_id, read.sender_display_name, read.metadata) == (ann.raw_id, "Ann", {"tags": "greeting"})
    assert read.edited_on is None
    await result(ann.thread(thread).update_message(sent.id, "hello", metadata={"kind": "edited"}))
    read = await result(bob.thread(thread).get_message(sent.id))
    assert read.content.message == "hello"
    assert read.metadata == {"tags": "greeting", "kind": "edited"}
    assert read.edited_on is not None
    assert int(read.version) > int(sent.id)
    await result(ann.thread(thread).delete_message(sent.id))
    read = await result(bob.thread(thread).get_message(sent.id))
    assert read.deleted_on is not None
    assert read.content.message == ""  # as Azure's recorded answers have it: programs read it without asking
    assert not read.metadata


async def test_messages_are_listed_newest_first_over_any_number_of_pages(new_user: NewUser, landline: Server) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    for number in range(11):
        await result(ann.thread(thread).send_message(str(number)))
    found = await every(bob.thread(thread).list_messages(results_per_page=3))
    assert [int(each.sequence_id) for each in found] == list(range(13, 0, -1))
    assert [each.content.message for each in found[:11]] == [str(number) for number in range(10, -1, -1)]
    assert [each.type for each in found[11:]] == [ChatMessageType.TOPIC_UPDATED, ChatMessageType.PARTICIPANT_ADDED]
    since = await every(bob.thread(thread).list_messages(results_per_page=2, start_time=found[4].created_on))
    assert [each.id for each in since][:5] == [each.id for each in found[:5]]
    later = await every(bob.thread(thread).list_messages(start_time=landline.clock.now() + timedelta(hours=1)))
    assert later == []


async def test_what_the_system_says_names_who_and_what(new_user: NewUser) -> None:
    ann, bob, cem = await new_user(), await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    await result(ann.thread(thread).add_participants([cem.participant("Cem")]))
    await result(ann.thread(thread).update_topic("Dinner"))
    await result(ann.thread(thread).remove_participant(cem.identifier))
    removed, renamed, added, first_topic, first = await every(ann.thread(thread).list_messages())
    assert (removed.type, added.type) == (ChatMessageType.PARTICIPANT_REMOVED, ChatMessageType.PARTICIPANT_ADDED)
    assert [one.identifier.raw_id for one in removed.content.participants] == [cem.raw_id]
    assert added.content.participants[0].display_name == "Cem"
    assert (renamed.type, renamed.content.topic) == (ChatMessageType.TOPIC_UPDATED, "Dinner")
    assert first_topic.content.topic == "Lunch"
    assert {one.identifier.raw_id for one in first.content.participants} == {ann.raw_id, bob.raw_id}
    assert all(
        each.content.initiator.raw_id == ann.raw_id and each.sender is None for each in (removed, renamed, added)
    )


async def test_who_cannot_be_added_is_named(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    stranger = CommunicationUserIdentifier(bob.raw_id.replace("8:acs:", "8:acs:0"))
    nobody = CommunicationUserIdentifier(bob.raw_id[:-12] + "000000000000")
    wanted = [ChatParticipant(identifier=stranger), bob.participant(), ChatParticipant(identifier=nobody)]
    made = await result(ann.client.create_chat_thread("Lunch", thread_participants=wanted))
    assert {error.target for _, error in made.errors} == {stranger.raw_id, nobody.raw_id}
    found = await every(ann.thread(made.chat_thread.id).list_participants())
    assert {each.identifier.raw_id for each in found} == {ann.raw_id, bob.raw_id}
    failed = await result(ann.thread(made.chat_thread.id).add_participants(wanted))
    assert len(failed) == 2


async def test_who_is_removed_keeps_the_old_and_sees_nothing_new(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    await result(ann.thread(thread).send_message("before"))
    await result(ann.thread(thread).remove_participant(bob.identifier))
    after = await result(ann.thread(thread).send_message("after"))
    assert await texts(bob, thread) == ["before"]
    with pytest.raises(ResourceNotFoundError):
        await result(bob.thread(thread).get_message(after.id))
    for call in (
        lambda: bob.thread(thread).send_message("still here"),
        lambda: bob.thread(thread).get_properties(),
        lambda: bob.thread(thread).add_participants([bob.participant()]),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 403
    await result(ann.thread(thread).add_participants([bob.participant()]))
    assert await texts(bob, thread) == ["after", "before"]


async def test_a_thread_that_was_left_is_listed_as_it_was_until_it_is_deleted(new_user: NewUser) -> None:
    """As Azure does it (Azure/Communication#345): who was removed still has access to what was there before."""
    ann, bob = await new_user(), await new_user()
    thread, staying = await thread_of(ann, bob), await thread_of(ann, bob)
    await result(ann.thread(thread).remove_participant(bob.identifier))
    await result(ann.thread(thread).update_topic("Without Bob"))
    (told,) = [
        each
        for each in await every(bob.thread(thread).list_messages())
        if each.type == ChatMessageType.PARTICIPANT_REMOVED
    ]
    listed = await every(bob.client.list_chat_threads(results_per_page=1))
    assert [(item.id, item.topic) for item in listed] == [(staying, "Lunch"), (thread, "Lunch")]
    assert listed[1].last_message_received_on == told.created_on
    assert [item.topic for item in await every(ann.client.list_chat_threads())] == ["Lunch", "Without Bob"]
    await result(ann.thread(thread).add_participants([bob.participant()]))
    listed = await every(bob.client.list_chat_threads())
    assert [item.topic for item in listed if item.id == thread] == ["Without Bob"]
    await result(bob.thread(thread).remove_participant(bob.identifier))
    await result(ann.client.delete_chat_thread(thread))
    assert [item.id for item in await every(bob.client.list_chat_threads())] == [staying]


async def test_what_was_edited_since_is_not_shown_to_who_was_removed(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    early = (await result(ann.thread(thread).send_message("one"))).id
    late = (await result(ann.thread(thread).send_message("two"))).id
    await result(ann.thread(thread).update_message(early, "one, edited"))
    await result(ann.thread(thread).remove_participant(bob.identifier))
    await result(ann.thread(thread).update_message(late, "two, for Ann alone", metadata={"for": "Ann"}))
    assert await texts(bob, thread) == ["one, edited"]
    seen = await result(bob.thread(thread).get_message(late))
    assert (seen.content, seen.metadata, seen.edited_on) == (None, None, None)
    assert (seen.id, seen.sender.raw_id) == (late, ann.raw_id)
    await result(ann.thread(thread).add_participants([bob.participant()]))
    assert await texts(bob, thread) == ["two, for Ann alone", "one, edited"]


async def test_history_is_shared_from_the_time_that_was_given(new_user: NewUser) -> None:
    ann, bob, cem = await new_user(), await new_user(), await new_user()
    thread = await thread_of(ann)
    old = await result(ann.thread(thread).send_message("old"))
    new = await result(ann.thread(thread).send_message("new"))
    since = (await result(ann.thread(thread).get_message(new.id))).created_on
    assert since > (await result(ann.thread(thread).get_message(old.id))).created_on
    await result(ann.thread(thread).add_participants([bob.participant(share_history_time=since), cem.participant()]))
    assert await texts(bob, thread) == ["new"]
    assert await texts(cem, thread) == ["new", "old"]
    with pytest.raises(ResourceNotFoundError):
        await result(bob.thread(thread).get_message(old.id))


async def test_receipts_tell_how_far_each_has_read(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    first = await result(ann.thread(thread).send_message("1"))
    second = await result(ann.thread(thread).send_message("2"))
    for message in (second, first):  # reading an older one again does not take the newer back
        await result(bob.thread(thread).send_read_receipt(message.id))
    await result(ann.thread(thread).send_read_receipt(first.id))
    found = await every(ann.thread(thread).list_read_receipts(results_per_page=1))
    assert {(each.sender.raw_id, each.chat_message_id) for each in found} == {
        (bob.raw_id, second.id),
        (ann.raw_id, first.id),
    }
    assert all(each.read_on for each in found)
    assert len(await every(ann.thread(thread).list_read_receipts(skip=1))) == 1
    with pytest.raises(ResourceNotFoundError):
        await result(bob.thread(thread).send_read_receipt("1"))


async def test_a_page_of_receipts_begins_with_who_has_read_furthest(new_user: NewUser) -> None:
    """The UI library reads receipts until one is older than the messages that it shows."""
    ann, bob, cem = [await new_user() for _ in range(3)]
    thread = await thread_of(ann, bob, cem)
    told = [(await result(ann.thread(thread).send_message(text))).id for text in ("1", "2", "3")]
    for user, read in ((ann, told[0]), (bob, told[2]), (cem, told[1])):
        await result(user.thread(thread).send_read_receipt(read))
    found = await every(ann.thread(thread).list_read_receipts())
    assert [each.chat_message_id for each in found] == told[::-1]


async def test_nobody_is_lost_or_listed_twice_while_others_go_or_read_on(new_user: NewUser) -> None:
    ann, bob, cem, dan = [await new_user() for _ in range(4)]
    thread = await thread_of(ann)
    told = [(await result(ann.thread(thread).send_message(text))).id for text in ("1", "2")]
    for user in (bob, cem, dan):
        await result(ann.thread(thread).add_participants([user.participant()]))
        await result(user.thread(thread).send_read_receipt(told[0]))

    readers: list[str] = []
    async for receipt in one_by_one(ann.thread(thread).list_read_receipts(results_per_page=2)):
        readers.append(receipt.sender.raw_id)
        if len(readers) == 2:
            await result(dan.thread(thread).send_read_receipt(told[1]))
    assert sorted(readers) == sorted(user.raw_id for user in (bob, cem, dan))

    there: list[str] = []
    async for participant in one_by_one(ann.thread(thread).list_participants(results_per_page=2)):
        there.append(participant.identifier.raw_id)
        if len(there) == 2:
            await result(ann.thread(thread).remove_participant(bob.identifier))
    assert there == [user.raw_id for user in (ann, bob, cem, dan)]


async def test_a_deleted_user_is_in_no_thread_and_room_and_what_it_said_is_gone(
    new_user: NewUser, landline: Server
) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    said = (await result(bob.thread(thread).send_message("mine", sender_display_name="Bob"))).id
    rooms = RoomsClient.from_connection_string(landline.connection_string)
    room = rooms.create_room(participants=[RoomParticipant(communication_identifier=bob.identifier)])
    CommunicationIdentityClient.from_connection_string(landline.connection_string).delete_user(bob.identifier)
    assert room.id is not None
    assert list(rooms.list_participants(room.id)) == []

    async def left() -> list[str]:
        return [each.identifier.raw_id for each in await every(ann.thread(thread).list_participants())]

    async with asyncio.timeout(PATIENCE_S):
        while await left() != [ann.raw_id]:
            await asyncio.sleep(0.02)
        while (message := await result(ann.thread(thread).get_message(said))).deleted_on is None:
            await asyncio.sleep(0.02)
    assert (message.content.message, message.sender_display_name) == ("", None)


async def test_typing_can_be_told(new_user: NewUser) -> None:
    ann = await new_user()
    thread = await thread_of(ann)
    await result(ann.thread(thread).send_typing_notification())
    await result(ann.thread(thread).send_typing_notification(sender_display_name="Ann"))


async def test_an_idempotency_token_makes_one_thread(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    token = f"token-{ann.raw_id[-12:]}"
    first, again = [
        await result(
            ann.client.create_chat_thread("Lunch", thread_participants=[bob.participant()], idempotency_token=token)
        )
        for _ in range(2)
    ]
    assert first.chat_thread.id == again.chat_thread.id
    assert first.chat_thread.created_on == again.chat_thread.created_on
    assert len(await every(ann.client.list_chat_threads())) == 1
    with pytest.raises(HttpResponseError) as refused:
        await result(ann.client.create_chat_thread("Dinner", idempotency_token=token))
    assert refused.value.status_code == 409
    theirs = await result(bob.client.create_chat_thread("Lunch", idempotency_token=token))
    assert theirs.chat_thread.id != first.chat_thread.id


async def test_threads_are_listed_over_pages_the_youngest_first(new_user: NewUser) -> None:
    ann = await new_user()
    made = [await thread_of(ann, topic=f"Topic {number}") for number in range(5)]
    found = await every(ann.client.list_chat_threads(results_per_page=2))
    assert {item.id for item in found} == set(made)
    assert len(found) == 5
    assert all(item.last_message_received_on is not None for item in found), "the system's messages count, as in Azure"
    sent = await result(ann.thread(made[0]).send_message("hi"))
    await result(ann.thread(made[1]).update_topic("Other"))
    listed = {item.id: item.last_message_received_on for item in await every(ann.client.list_chat_threads())}
    assert listed[made[0]] == (await result(ann.thread(made[0]).get_message(sent.id))).created_on
    assert listed[made[1]] >= listed[made[0]]


@pytest.mark.parametrize("content", ["&" * 28_000, "<script>alert(1)</script>"])
async def test_what_sanitising_made_of_a_message_does_not_keep_it_from_being_edited(
    new_user: NewUser, content: str
) -> None:
    """An ampersand of HTML is stored as five characters, and of a script nothing is left."""
    ann = await new_user()
    thread = ann.thread(await thread_of(ann))
    sent = await result(thread.send_message(content, chat_message_type=ChatMessageType.HTML))
    await result(thread.update_message(sent.id, metadata={"kind": "edited"}))
    read = await result(thread.get_message(sent.id))
    assert read.metadata == {"kind": "edited"}
    with pytest.raises(HttpResponseError) as refused:
        await result(thread.update_message(sent.id, metadata={"kind": "x" * 28 * 1024}))
    assert refused.value.status_code == 413


async def test_html_is_sanitised(new_user: NewUser) -> None:
    ann, bob = await new_user(), await new_user()
    thread = await thread_of(ann, bob)
    dirty = '<b onclick="x()">hi</b><script>alert(1)</script><img src="javascript:x" onerror="y">'
    sent = await result(ann.thread(thread).send_message(dirty, chat_message_type=ChatMessageType.HTML))
    read = await result(bob.thread(thread).get_message(sent.id))
    assert read.type == ChatMessageType.HTML
    assert read.content.message == "<b>hi</b><img>"
    await result(ann.thread(thread).update_message(sent.id, '<a href="javascript:x">y</a>'))
    read = await result(bob.thread(thread).get_message(sent.id))
    assert "javascript" not in read.content.message
    kept = await result(ann.thread(thread).send_message(dirty))
    assert (await result(bob.thread(thread).get_message(kept.id))).content.message == dirty  # it is shown as text


@pytest.mark.parametrize(
    ("scope", "status_create", "status_add"),
    [("chat", 201, 201), ("chat.join", 403, 201), ("chat.join.limited", 403, 403), ("voip", 403, 403)],
)
async def test_scopes_allow_what_they_say(new_user: NewUser, scope: str, status_create: int, status_add: int) -> None:
    ann, bob, cem = await new_user(), await new_user(scope), await new_user()
    thread = await thread_of(ann, bob)

    async def status(call: Callable[[], Any]) -> int:
        try:
            await result(call())
        except HttpResponseError as refused:
            return refused.status_code or 0
        return 201

    assert await status(lambda: bob.client.create_chat_thread("Mine")) == status_create
    assert await status(lambda: bob.thread(thread).update_topic("Mine")) == status_create
    assert await status(lambda: bob.thread(thread).add_participants([cem.participant()])) == status_add
    assert await status(lambda: bob.thread(thread).remove_participant(cem.identifier)) == status_add
    assert await status(lambda: bob.thread(thread).send_message("hi")) == (403 if scope == "voip" else 201)
    assert await status(lambda: bob.client.delete_chat_thread(thread)) == status_create


async def test_a_thread_holds_250_and_a_request_200(new_user: NewUser, landline: Server) -> None:
    identity = CommunicationIdentityClient.from_connection_string(landline.connection_string)
    ann = await new_user()
    users: list[Any] = [identity.create_user() for _ in range(251)]
    crowd = [ChatParticipant(identifier=user) for user in users]
    with pytest.raises(HttpResponseError) as refused:
        await result(ann.client.create_chat_thread("Crowd", thread_participants=crowd[:201]))
    assert refused.value.status_code == 400
    made = await result(ann.client.create_chat_thread("Crowd", thread_participants=crowd[:200]))
    thread = ann.thread(made.chat_thread.id)
    await result(thread.add_participants(crowd[190:249]))  # ten of them are in it already
    assert len(await every(thread.list_participants(results_per_page=100))) == 250
    assert len(await every(thread.list_participants(skip=240))) == 10
    with pytest.raises(HttpResponseError) as refused:
        await result(thread.add_participants(crowd[249:]))
    assert refused.value.status_code == 400
    sent = await result(thread.send_message("x" * 28_000))
    # Azure takes what nobody is told of in a crowd (azure-sdk-for-net#31413); refused with 403 the UI library says that
    # its user is no longer in the thread.
    await result(thread.send_typing_notification())
    await result(thread.send_read_receipt(sent.id))
    assert await every(thread.list_read_receipts()) == []
    with pytest.raises(ResourceNotFoundError):
        await result(thread.send_read_receipt("1"))
    with pytest.raises(HttpResponseError) as refused:
        await result(thread.send_message("x" * 28_673))
    assert refused.value.status_code == 413
