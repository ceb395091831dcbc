"""Chat's events reach a webhook: each once for its thread, and once for every user but the one who did it."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.communication.chat import ChatClient, ChatParticipant, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient

from landline.testing import Inbox, Server

PREFIX = "Microsoft.Communication."
THREAD = {
    "ChatThreadCreated", "ChatThreadPropertiesUpdated", "ChatThreadDeleted", "ChatThreadParticipantAdded",
    "ChatThreadParticipantRemoved", "ChatMessageReceivedInThread", "ChatMessageEditedInThread",
    "ChatMessageDeletedInThread", "ChatTypingIndicatorReceivedInThread",
}  # fmt: skip
USER = {
    "ChatThreadCreatedWithUser", "ChatThreadPropertiesUpdatedPerUser", "ChatThreadWithUserDeleted",
    "ChatParticipantAddedToThreadWithUser", "ChatParticipantRemovedFromThreadWithUser", "ChatMessageReceived",
    "ChatMessageEdited", "ChatMessageDeleted",
}  # fmt: skip


@pytest.fixture
def inbox(landline: Server) -> Inbox:
    return landline.inbox()


def test_every_event_is_told_of_the_thread_and_of_its_users(landline: Server, inbox: Inbox) -> None:
    identity = CommunicationIdentityClient.from_connection_string(landline.connection_string)
    ann, token = identity.create_user_and_token(["chat"])
    bob: Any = identity.create_user()
    cem: Any = identity.create_user()
    with ChatClient(landline.endpoint, CommunicationTokenCredential(token.token)) as client:
        participants = [ChatParticipant(identifier=bob, display_name="Bob")]
        thread = client.create_chat_thread("Lunch", thread_participants=participants).chat_thread.id
        with client.get_chat_thread_client(thread) as in_thread:
            message = in_thread.send_message("hi", sender_display_name="Ann", metadata={"k": "v"}).id
            in_thread.update_message(message, "hello")
            in_thread.delete_message(message)
            in_thread.send_typing_notification(sender_display_name="Ann")
            in_thread.add_participants([ChatParticipant(identifier=cem)])
            in_thread.remove_participant(cem)
            in_thread.update_topic("Dinner")
        client.delete_chat_thread(thread)
    mine: Callable[[dict[str, Any]], bool] = lambda data: data["threadId"] == thread  # noqa: E731
    raw = {"ann": ann.raw_id, "bob": bob.raw_id, "cem": cem.raw_id}
    of_thread = {name: inbox.wait_for(PREFIX + name, where=mine) for name in sorted(THREAD)}
    of_users = {
        name: inbox.wait_for_all(PREFIX + name, 2 if "Participant" in name else 1, where=mine) for name in sorted(USER)
    }
    for events in of_users.values():
        told = {event.data["recipientCommunicationIdentifier"]["rawId"] for event in events}
        assert told == ({raw["bob"], raw["cem"]} if len(events) == 2 else {raw["bob"]})
    assert_messages(of_thread, of_users, thread, message, raw)
    assert_participants(of_thread, of_users, thread, raw)
    chat = [event for event in inbox.events if event.data.get("threadId") == thread]
    assert len({event.id for event in chat}) == len(chat) == len(THREAD) + sum(len(each) for each in of_users.values())


def assert_messages(
    of_thread: dict[str, Any], of_users: dict[str, Any], thread: str, message: str, raw: dict[str, str]
) -> None:
    received, (to_bob,) = of_thread["ChatMessageReceivedInThread"], of_users["ChatMessageReceived"]
    assert received.subject == f"thread/{thread}/sender/{raw['ann']}"
    assert to_bob.subject == f"thread/{thread}/sender/{raw['ann']}/recipient/{raw['bob']}"
    assert received.data["transactionId"] == to_bob.data["transactionId"]
    for event in (received, to_bob):
        assert (event.data["messageId"], event.data["messageBody"], event.data["type"]) == (message, "hi", "Text")
        assert (event.data["metadata"], event.data["senderDisplayName"]) == ({"k": "v"}, "Ann")
        assert event.data["version"] == int(message)
    edited, deleted = of_thread["ChatMessageEditedInThread"], of_thread["ChatMessageDeletedInThread"]
    assert edited.data["messageBody"] == "hello"
    assert edited.data["composeTime"] == received.data["composeTime"] < edited.data["editTime"]
    assert "messageBody" not in deleted.data
    assert received.data["version"] < edited.data["version"] < deleted.data["version"]


def assert_participants(of_thread: dict[str, Any], of_users: dict[str, Any], thread: str, raw: dict[str, str]) -> None:
    created, deleted = of_thread["ChatThreadCreated"], of_thread["ChatThreadDeleted"]
    assert created.data["properties"] == {"topic": "Lunch"}
    names = {each["participantCommunicationIdentifier"]["rawId"] for each in created.data["participants"]}
    assert names == {raw["ann"], raw["bob"]}
    assert of_thread["ChatThreadPropertiesUpdated"].data["properties"] == {"topic": "Dinner"}
    added, removed = of_thread["ChatThreadParticipantAdded"], of_thread["ChatThreadParticipantRemoved"]
    assert added.subject == f"thread/{thread}/participantAdded/{raw['cem']}"
    for event, who in ((added, "participantAdded"), (removed, "participantRemoved")):
        assert event.data[who]["participantCommunicationIdentifier"]["rawId"] == raw["cem"]
    for event in (deleted, *of_users["ChatThreadWithUserDeleted"]):
        assert event.data["createTime"] == created.data["createTime"]
        assert event.data["deletedByCommunicationIdentifier"]["rawId"] == raw["ann"]
