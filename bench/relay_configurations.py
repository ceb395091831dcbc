"""How many relay configurations does the server issue each second, and how fast is one?

Run `python -m bench.relay_configurations [seconds]` from the repository.
"""

import sys

from bench import machine
from bench.load import Load, Signing, Target, pace, saturate

VERSION = "2022-03-01-preview"
AT_MOST_PER_S = 15_000
CONNECTIONS = 64
PACED_PER_S = 50
ENV = {"LANDLINE_RELAY_URLS": "turn:turn.example.org:3478", "LANDLINE_RELAY_SECRETS": "of-this-question-alone"}


def main(seconds: float = 8.0) -> None:
    """Print the figures, over TLS and without. The relay itself is not asked: it is told of nothing."""
    machine.header("How many relay configurations are issued per second, and how fast? (aim: >= 3,000/s)")
    for transport in (machine.TLS, machine.PLAIN):
        with machine.server_under_test(transport, env=ENV) as (_, target):
            outcome = pace(target, asked(target, int(PACED_PER_S * min(seconds, 5.0))), rate_per_s=PACED_PER_S)
            said = f"{transport}, {PACED_PER_S} requests/s"
            machine.result("paced", outcome.accepted / outcome.seconds, "configurations/s", said, outcome)
            requests = asked(target, int(AT_MOST_PER_S * seconds))
            outcome = saturate(target, requests, connections=CONNECTIONS, seconds=seconds)
            said = f"{transport}, {CONNECTIONS} connections"
            machine.result("issued", outcome.accepted / outcome.seconds, "configurations/s", said, outcome)


def asked(target: Target, count: int) -> Load:
    """`count` requests for a configuration of an hour."""
    path = f"/networkTraversal/:issueRelayConfiguration?api-version={VERSION}"
    request = Signing(target, "POST", path).request(b'{"routeType":"any","ttl":3600}')
    return Load([request] * count, 200, b'"credential":')


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
