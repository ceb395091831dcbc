"""For programs that use a Landline server: what the official SDKs leave out for servers and bots.

`ChatFeed` follows what happens in a user's chat threads; messages are sent with the official SDK.
"""

from landline.client.chat_feed import ChatFeed, FeedRefused, Position
from landline.wire.chat import ChatMessage, ChatParticipant, ChatThreadProperties
from landline.wire.chat_feed import (
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ParticipantsAdded,
    ParticipantsRemoved,
    ReadReceiptReceived,
    Reset,
    ThreadCreated,
    ThreadDeleted,
    ThreadPropertiesUpdated,
    TypingIndicatorReceived,
)

__all__ = [
    "ChatFeed",
    "ChatMessage",
    "ChatParticipant",
    "ChatThreadProperties",
    "FeedRefused",
    "MessageDeleted",
    "MessageEdited",
    "MessageReceived",
    "ParticipantsAdded",
    "ParticipantsRemoved",
    "Position",
    "ReadReceiptReceived",
    "Reset",
    "ThreadCreated",
    "ThreadDeleted",
    "ThreadPropertiesUpdated",
    "TypingIndicatorReceived",
]
