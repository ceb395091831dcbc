"""A chat message that was acknowledged is listed, in its place, after the server or its PostgreSQL was killed.

CRASH_ROUNDS sets how often; CRASH_SEED repeats a run's choices of when.
"""

import os
import signal
import threading
from collections.abc import Callable
from itertools import count
from random import Random

import pytest
from azure.communication.chat import ChatClient, ChatThreadClient, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from azure.core.exceptions import AzureError
from tests.support import processes

from landline.testing import Server

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED") or Random().randrange(10**6))
WRITERS = 3
PATIENCE_S = 2.0


def kill_server(server: Server) -> None:
    server.kill()
    server.restart()


def kill_postgresql(server: Server) -> None:
    postmaster = processes.postmaster(server.pid)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)


class Writers:
    """Threads that write to one chat thread until stopped; `acknowledged`: id to text. An error makes a thread wait for
    `resume`: what connects to a dying server leaves sockets behind in the SDK's transport."""

    def __init__(self, clients: list[ChatThreadClient]) -> None:
        self.acknowledged: dict[str, str] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._resumed = 0
        self._threads = [
            threading.Thread(target=self._write, args=(client, at), daemon=True) for at, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Return when so many more were acknowledged."""
        with self._changed:
            wanted = len(self.acknowledged) + more
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, 60)

    def resume(self) -> None:
        with self._changed:
            self._resumed += 1
            self._changed.notify_all()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, client: ChatThreadClient, at: int) -> None:
        for number in count():
            if self._stopped.is_set():
                return
            text, before = f"{at}.{number}", self._resumed
            try:
                message = client.send_message(text).id
            except AzureError:
                with self._changed:
                    self._changed.wait_for(lambda before=before: self._resumed > before, PATIENCE_S)
                continue
            with self._changed:
                self.acknowledged[message] = text
                self._changed.notify_all()


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
