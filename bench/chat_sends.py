"""How many chat messages does the server durably accept each second over REST, and how fast is one?

Run `python -m bench.chat_sends [seconds]` from the repository. 25 threads of 20 participants; the senders in turn.
"""

import http.client
import json
import sys
from itertools import islice, product
from typing import Any
from urllib.parse import quote

from bench import machine
from bench.gateway.usage import cpu_s
from bench.load import Load, Target, pace, saturate
from tests.support import processes
from tests.support.signed import signed_headers

from landline.testing import Server

AT_MOST_PER_S = 14_000
CONNECTIONS = 64
PACED_PER_S = 500
THREADS, MEMBERS = 25, 20
VERSION = "api-version=2024-03-07"


def main(seconds: float = 8.0) -> None:
    """Print the figures, over TLS and without."""
    machine.header("How many chat messages are accepted per second, and how fast?")
    for transport in (machine.TLS, machine.PLAIN):
        with machine.server_under_test(transport) as (server, target):
            before_mb = machine.memory_mb(server)
            requests = town(target)
            count = int(PACED_PER_S * min(seconds, 5.0))
            outcome = pace(target, messages(requests, count), rate_per_s=PACED_PER_S)
            said = f"{transport}, {PACED_PER_S} requests/s, {THREADS} threads of {MEMBERS}"
            machine.result("paced sends", outcome.accepted / outcome.seconds, "messages/s", said, outcome)
            count = int(AT_MOST_PER_S * seconds)
            before = _used(server)
            outcome = saturate(target, messages(requests, count), connections=CONNECTIONS, seconds=seconds)
            own, database = [
                (now - then) * 1e6 / outcome.accepted for now, then in zip(_used(server), before, strict=True)
            ]
            said = f"{transport}, {CONNECTIONS} connections, {THREADS} threads of {MEMBERS}"
            machine.result("accepted", outcome.accepted / outcome.seconds, "messages/s", said, outcome)
            print(f"  CPU us a message: server {own:.0f}, database {database:.0f}", flush=True)
            said = f"right after it; {before_mb:.0f} MB when started"
            machine.result("memory without PostgreSQL", machine.memory_mb(server), "MB", said)


def _used(server: Server) -> tuple[float, float]:
    """Processor seconds of the server and of its database."""
    every = processes.tree(server.pid)
    database = [process.pid for process in every if process.name.startswith("postgres")]
    return cpu_s(process.pid for process in every if process.pid not in database), cpu_s(database)


def messages(requests: list[bytes], count: int) -> Load:
    """`count` messages, to the threads in turn."""
    repeated = [each for _, each in islice(product(range(count // len(requests) + 1), requests), count)]
    return Load(repeated, 201, b'"id":')


def town(target: Target) -> list[bytes]:
    """Fresh users in fresh threads; the requests of each user sending to its thread once."""
    connection = (
        http.client.HTTPSConnection(target.host, target.port, context=target.tls, timeout=30)
        if target.tls
        else http.client.HTTPConnection(target.host, target.port, timeout=30)
    )
    host = f"{target.host}:{target.port}"

    def call(path: str, body: bytes, headers: dict[str, str]) -> Any:
        connection.request("POST", path, body, headers)
        return json.loads(connection.getresponse().read())

    path, body = f"/identities?{VERSION}", b'{"createTokenWithScopes":["chat"]}'
    found: list[list[bytes]] = []
    for _ in range(THREADS):
        users = [call(path, body, signed_headers(target.key, host, "POST", path, body)) for _ in range(MEMBERS)]
        ids = [{"communicationIdentifier": {"rawId": user["identity"]["id"]}} for user in users]
        wanted = json.dumps({"topic": "Bench", "participants": ids}).encode()
        headers = {"authorization": f"Bearer {users[0]['accessToken']['token']}"}
        thread = call(f"/chat/threads?{VERSION}", wanted, headers)["chatThread"]["id"]
        place = f"/chat/threads/{quote(thread, safe='')}/messages?{VERSION}"
        found.append([_request(host, place, user["accessToken"]["token"]) for user in users])
    connection.close()
    return [each for turn in zip(*found, strict=True) for each in turn]


def _request(host: str, path: str, token: str) -> bytes:
    body = json.dumps({"content": "See you at noon in front of the museum?", "senderDisplayName": "Ann"}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
