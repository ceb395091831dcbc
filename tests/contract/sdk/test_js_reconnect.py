"""The official JavaScript chat client, unmodified, while its server goes away and comes back."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.communication.chat import ChatClient, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from tests.support.patience import PATIENCE_S

from landline.testing import Server

HERE = Path(__file__).parent / "js"


@contextmanager
def page(server: Server, token: str) -> Iterator[Iterator[str]]:
    """The lines that `chat_reconnect.js` says."""
    env = {
        **os.environ,
        "NODE_EXTRA_CA_CERTS": server.ca_bundle,
        "CHAT_ENDPOINT": server.endpoint,
        "CHAT_TOKEN": token,
    }
    command = ["node", "chat_reconnect.js"]
    run = subprocess.Popen(command, cwd=HERE, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert run.stdin
    assert run.stdout
    try:
        yield (line.strip() for line in run.stdout)
    finally:
        run.stdin.close()
        run.stdout.close()
        run.wait(PATIENCE_S)


def until(lines: Iterator[str], wanted: str) -> None:
    """Read on until `wanted` is said."""
    assert wanted in lines, f"never said: {wanted}"


@pytest.mark.usefixtures("node_modules")
def test_a_browser_is_back_when_its_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(tmp_path / "data") as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.ca_bundle)
        identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
        token = identity.create_user_and_token(["chat"])[1].token
        with (
            ChatClient(server.endpoint, CommunicationTokenCredential(token)) as chat,
            chat.get_chat_thread_client(chat.create_chat_thread("Lunch").chat_thread.id) as thread,
            page(server, token) as lines,
        ):
            until(lines, "connected")
            thread.send_message("one")
            until(lines, "message one")
            for end, text in ((server.kill, "two"), (server.stop, "three")):
                end()
                until(lines, "disconnected")
                server.restart()
                until(lines, "connected")
                thread.send_message(text)
                until(lines, f"message {text}")
