"""A follower of the chat feed is told every acknowledged message once, in order, however often the server or its
PostgreSQL is killed. CRASH_ROUNDS and CRASH_SEED as in test_chat_crash."""

import asyncio
import os
import ssl
from collections.abc import Callable
from random import Random

import pytest
from azure.communication.chat import ChatClient, ChatParticipant, ChatThreadClient, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from tests.support.chat_crash import Writers, kill_postgresql, kill_server
from tests.support.patience import PATIENCE_S

from landline.client import ChatFeed, ChatMessage, MessageReceived, ThreadCreated
from landline.testing import Server

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED") or Random().randrange(10**6))
WRITERS = 3


@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
@pytest.mark.usefixtures("half_made_connections")
@pytest.mark.parametrize("kill", [kill_server, kill_postgresql])
async def test_a_follower_is_told_each_message_once_in_order(
    landline_server: Callable[..., Server], kill: Callable[[Server], None]
) -> None:
    print(f"CRASH_SEED={SEED}")
    server = await asyncio.to_thread(landline_server)
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    _, writer = identity.create_user_and_token(["chat"])
    bot, bot_token = identity.create_user_and_token(["chat"])
    credential = CommunicationTokenCredential(writer.token)
    tls = ssl.create_default_context(cafile=server.ca_bundle)
    async with ChatFeed(server.endpoint, bot_token.token, tls=tls) as feed:
        with ChatClient(server.endpoint, credential) as client:
            participants = [ChatParticipant(identifier=bot)]  # pyright: ignore[reportArgumentType]
            made = client.create_chat_thread("Lunch", thread_participants=participants)
        thread = made.chat_thread.id
        follower = Follower(feed)
        following = asyncio.create_task(follower.run())
        acknowledged = await asyncio.to_thread(write, server, thread, credential, kill)
        with ChatThreadClient(server.endpoint, credential, thread) as client:
            follower.until(client.send_message("the end").id)
        async with asyncio.timeout(PATIENCE_S):
            await following
    told = [message for message in follower.told if message.content and message.content.message != "the end"]
    assert follower.thread == thread
    assert len({message.id for message in told}) == len(told)
    assert {message.id: message.content.message for message in told if message.content}.items() >= acknowledged.items()
    sequences = [int(message.sequence_id) for message in told]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


def write(
    server: Server, thread: str, credential: CommunicationTokenCredential, kill: Callable[[Server], None]
) -> dict[str, str]:
    """Several write while `kill` is done again and again; what was acknowledged, id to text."""
    random = Random(SEED)
    options = {"retry_total": 0, "connection_timeout": 2, "read_timeout": 5}
    clients = [ChatThreadClient(server.endpoint, credential, thread, **options) for _ in range(WRITERS)]
    writers = Writers(clients)
    try:
        for _ in range(ROUNDS):
            writers.wait_for(random.randrange(5, 100))
            kill(server)
            writers.resume()
        writers.wait_for(20)
    finally:
        writers.stop()
        for each in clients:
            each.close()
    return writers.acknowledged


class Follower:
    """Keeps what the feed tells, up to a last message."""

    def __init__(self, feed: ChatFeed) -> None:
        self._feed = feed
        self._last = ""
        self.thread = ""
        self.told: list[ChatMessage] = []

    def until(self, message: str) -> None:
        """Stop at `message`, which is not told before this returns."""
        self._last = message

    async def run(self) -> None:
        async for event in self._feed:
            if isinstance(event, ThreadCreated):
                self.thread = event.thread_id
                continue
            assert isinstance(event, MessageReceived), event
            self.told.append(event.message)
            if event.message.id == self._last:
                return
