"""How many access tokens does the server issue each second, and how fast is one?

Run `python -m bench.identity_tokens [seconds]` from the repository.
"""

import http.client
import json
import sys
from urllib.parse import quote

from bench import machine
from bench.load import Load, Signing, Target, pace, saturate
from tests.support.signed import IDENTITY_VERSION, signed_headers

AT_MOST_PER_S = 12_000
CONNECTIONS = 64
PACED_PER_S = 50
USERS = 200


def main(seconds: float = 8.0) -> None:
    """Print the figures, over TLS and without."""
    machine.header("How many tokens are issued per second, and how fast?")
    for transport in (machine.TLS, machine.PLAIN):
        with machine.server_under_test(transport) as (server, target):
            before_mb = machine.memory_mb(server)
            users = create_users(target)
            requests = tokens(target, users, int(PACED_PER_S * min(seconds, 5.0)))
            outcome = pace(target, requests, rate_per_s=PACED_PER_S)
            said = f"{transport}, {PACED_PER_S} requests/s"
            machine.result("paced tokens", outcome.accepted / outcome.seconds, "tokens/s", said, outcome)
            requests = tokens(target, users, int(AT_MOST_PER_S * seconds))
            outcome = saturate(target, requests, connections=CONNECTIONS, seconds=seconds)
            said = f"{transport}, {CONNECTIONS} connections, {USERS} users"
            machine.result("issued", outcome.accepted / outcome.seconds, "tokens/s", said, outcome)
            said = f"right after it; {before_mb:.0f} MB when started"
            machine.result("memory without PostgreSQL", machine.memory_mb(server), "MB", said)


def create_users(target: Target) -> list[str]:
    """Ids of fresh users."""
    path = f"/identities?api-version={IDENTITY_VERSION}"
    connection = (
        http.client.HTTPSConnection(target.host, target.port, context=target.tls, timeout=30)
        if target.tls
        else http.client.HTTPConnection(target.host, target.port, timeout=30)
    )
    found: list[str] = []
    for _ in range(USERS):
        headers = signed_headers(target.key, f"{target.host}:{target.port}", "POST", path)
        connection.request("POST", path, b"", headers)
        found.append(json.loads(connection.getresponse().read())["identity"]["id"])
    connection.close()
    return found


def tokens(target: Target, users: list[str], count: int) -> Load:
    """`count` requests for a token, the users in turn."""
    body = b'{"scopes":["chat","voip"]}'
    paths = [f"/identities/{quote(user, safe='')}/:issueAccessToken?api-version={IDENTITY_VERSION}" for user in users]
    ready = [Signing(target, "POST", path).request(body) for path in paths]
    return Load([ready[number % len(ready)] for number in range(count)], 200, b'"token":')


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
