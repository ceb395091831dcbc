"""Ports for what has to be told its port before it listens."""

import socket
from random import Random

_FIRST, _LAST = 10_000, 20_000
"""Below those that systems give to whoever asks for any, so that nobody is given one of these meanwhile."""
_random = Random()


def free_port() -> int:
    """One of loopback that nobody has, and that only another such choice out of thousands would take."""
    while True:
        port = _random.randrange(_FIRST, _LAST)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
