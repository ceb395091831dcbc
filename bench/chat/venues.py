"""A server of chat under test, as the runs see it: rooms with members who listen, and messages into them."""

from collections.abc import Callable
from typing import Protocol

from bench.chat.ears import Ears
from bench.chat.loop import Loop

Sent = Callable[[bool], None]
"""Called when a message has been taken (True) or refused; servers that do not say are believed at once."""


class Venue(Protocol):
    """One server with `rooms` rooms. Its sockets are in `ears`, each with the number of its room."""

    name: str
    loop: Loop
    ears: Ears

    def open(self, rooms: int, members: int) -> None:
        """Make `rooms` rooms of `members` users each; nobody listens yet."""
        ...

    def listen(self) -> None:
        """Open every member's socket."""
        ...

    def send(self, room: int, text: str, sent: Sent) -> None:
        """Have a member say `text` in `room`."""
        ...

    def pids(self) -> tuple[list[int], list[int]]:
        """The server's processes, and its database's."""
        ...

    def close(self) -> None:
        """End it."""
        ...
