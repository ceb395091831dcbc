"""A chat message that was acknowledged is listed, in its place, after the server or its PostgreSQL was killed.

CRASH_ROUNDS sets how often; CRASH_SEED repeats a run's choices of when.
"""

import os
from collections.abc import Callable
from random import Random

import pytest
from azure.communication.chat import ChatClient, ChatThreadClient, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from tests.support.chat_crash import Writers, kill_postgresql, kill_server

from landline.testing import Server

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED") or Random().randrange(10**6))
WRITERS = 3


@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
@pytest.mark.usefixtures("half_made_connections")
@pytest.mark.parametrize("kill", [kill_server, kill_postgresql])
def test_every_acknowledged_message_is_listed_in_its_place(
    landline_server: Callable[..., Server], kill: Callable[[Server], None]
) -> None:
    print(f"CRASH_SEED={SEED}")
    random = Random(SEED)
    server = landline_server()
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    _, token = identity.create_user_and_token(["chat"])
    credential = CommunicationTokenCredential(token.token)
    with ChatClient(server.endpoint, credential) as client:
        thread = client.create_chat_thread("Lunch").chat_thread.id
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
    assert_listed(server, credential, thread, writers.acknowledged)


def assert_listed(
    server: Server, credential: CommunicationTokenCredential, thread: str, acknowledged: dict[str, str]
) -> None:
    with ChatThreadClient(server.endpoint, credential, thread) as client:
        listed = list(client.list_messages(results_per_page=200))[::-1]
    texts = {each.id: each.content.message for each in listed if each.content}
    assert {message: texts.get(message) for message in acknowledged} == acknowledged
    assert [int(each.sequence_id) for each in listed] == list(range(1, len(listed) + 1))
    assert [int(each.id) for each in listed] == sorted({int(each.id) for each in listed})
    for at in range(WRITERS):  # what one client sent after an answer comes after what was answered
        numbers = [int(text.partition(".")[2]) for text in texts.values() if text and text.startswith(f"{at}.")]
        assert numbers == sorted(set(numbers))
