"""What both gateways under test have in common."""

from collections.abc import Iterator
from typing import Protocol

from bench.load import Load, Target


class Gateway(Protocol):
    """A gateway that runs: it submits to the rig's SMSC and reports to the rig's webhook."""

    name: str
    target: Target

    def load(self, first: int, requests: int, recipients: int) -> Load:
        """Requests for the messages from index `first` on."""
        ...

    def pids(self) -> dict[str, list[int]]:
        """Its processes, by what is counted apart: `gateway`, `database`."""
        ...

    def kill(self) -> None:
        """SIGKILL every process of it at once."""
        ...

    def restart(self) -> None:
        """Start it again on what it had kept, and wait until it serves and is bound."""
        ...

    def close(self) -> None:
        """End it and remove what it kept."""
        ...


def several(requests: Iterator[bytes], *, lazily: bool) -> "Iterator[bytes] | list[bytes]":
    """The requests: made ahead, so that making them costs nothing during the run, or one after the other."""
    return requests if lazily else list(requests)
