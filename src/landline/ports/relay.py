"""TURN servers, which pass media on between peers that cannot reach each other."""

from typing import Protocol


class Relay(Protocol):
    """One or several TURN servers with the same shared secret (the TURN REST API, draft-uberti-behave-turn-rest-00).

    They take any credentials made with `secret` until these expire, by their own clock, which is the machine's. They
    relay to nobody but public addresses and those that were explicitly allowed.
    """

    @property
    def urls(self) -> tuple[str, ...]:
        """Where they are: `stun:` and `turn:` URLs (RFC 7064, RFC 7065), the preferred first. Known before `start`."""
        ...

    @property
    def secret(self) -> bytes:
        """What credentials are made with."""
        ...

    async def start(self) -> None:
        """Returns when the servers answer. Raises `Refusal` in one line when they cannot be had."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` when they do not run, as far as this process can know."""
        ...

    async def close(self) -> None:
        """Ends what `start` began; allocations end with it."""
        ...
