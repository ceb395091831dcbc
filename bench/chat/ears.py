"""Sockets that count the notifications they are sent."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from bench.chat.loop import NOTHING_YET, Loop

Heard = Callable[["Ear", int, memoryview], None]


@dataclass(slots=True)
class Wire:
    """How notifications look on a protocol. `mark` is in each of them once, and in nothing else; whatever is complete
    ends with `end`. `answer` is what a client says to each, if anything."""

    mark: bytes
    end: bytes
    answer: bytes | None = None


class Ears:
    """All sockets of a run. `frames` and `reads` count since the last `reset`; `heard` is called for each read."""

    def __init__(self, loop: Loop, wire: Wire) -> None:
        self.loop = loop
        self.wire = wire
        self.frames = 0
        self.reads = 0
        self.heard: Heard | None = None
        self.every: list[Ear] = []

    def add(self, connection: socket.socket, room: int) -> None:
        """`connection`, open and greeted, listens to `room`."""
        connection.setblocking(False)
        ear = Ear(self, connection, room)
        self.every.append(ear)
        self.loop.add(connection.fileno(), ear)

    def reset(self) -> None:
        """Count from nothing."""
        self.frames = self.reads = 0

    def close(self) -> None:
        """Close all of them."""
        for ear in self.every:
            ear.close()
        self.every.clear()


class Ear:
    """One socket. Fills `Readable`."""

    __slots__ = ("_connection", "_ears", "_into", "_tail", "room")

    def __init__(self, ears: Ears, connection: socket.socket, room: int) -> None:
        self._ears = ears
        self._connection = connection
        self._into = connection.recv_into
        self._tail = b""
        self.room = room

    def readable(self) -> None:
        """See `Readable`."""
        ears = self._ears
        buffer = ears.loop.buffer
        while True:
            try:
                length = self._into(buffer)
            except NOTHING_YET:
                return
            if not length:
                raise ConnectionError("the server closed a socket that listens")
            self._count(ears, buffer, length)
            if not hasattr(self._connection, "pending"):
                return

    def _count(self, ears: Ears, buffer: bytearray, length: int) -> None:
        mark = ears.wire.mark
        count = buffer.count(mark, 0, length)
        if self._tail:  # a notification in two pieces may have its mark in two
            count += (self._tail + bytes(buffer[: min(length, len(mark) - 1)])).count(mark)
        end = ears.wire.end
        cut = not buffer.endswith(end, max(0, length - len(end)), length)
        self._tail = bytes(buffer[max(0, length - len(mark) + 1) : length]) if cut else b""
        if count:
            ears.frames += count
            ears.reads += 1
            if ears.wire.answer is not None:
                self._connection.send(ears.wire.answer * count)
            if ears.heard is not None:
                ears.heard(self, count, memoryview(buffer)[:length])

    def close(self) -> None:
        """Close it."""
        self._ears.loop.remove(self._connection.fileno())
        self._connection.close()
