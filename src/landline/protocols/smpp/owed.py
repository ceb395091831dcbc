"""The requests of a peer that we have not answered yet."""

from landline.protocols.smpp.limits import Limits

LARGE_BYTES = 1024
"""A request over this counts by its size, too: only message_payload makes one so large."""


class Owed:
    """By what stands for each: its sequence number, where no other is owed under it."""

    __slots__ = ("_commands", "_large", "_large_bytes", "_tokens")

    def __init__(self) -> None:
        self._commands: dict[int, int] = {}
        self._large: dict[int, int] = {}
        self._large_bytes = 0
        self._tokens = 0

    def __len__(self) -> int:
        return len(self._commands)

    def has_room(self, size: int, limits: Limits) -> bool:
        """Whether a request of `size` octets may stay unanswered beside the others."""
        if len(self._commands) >= limits.peer_window:
            return False
        return size <= LARGE_BYTES or self._large_bytes + size <= limits.peer_bytes

    def begin(self, command: int, sequence: int, size: int) -> int:
        """One of `size` octets came; what stands for it. A peer that uses a sequence number again before we have
        answered it counts answers only, or repeats what we are slow to answer: each request is answered by itself."""
        if sequence in self._commands:
            self._tokens += 1
            sequence |= self._tokens << 32
        self._commands[sequence] = command
        if size > LARGE_BYTES:
            self._large[sequence] = size
            self._large_bytes += size
        return sequence

    def end(self, sequence: int) -> int | None:
        """It is answered: its command; None when nothing is owed for it."""
        if self._large:
            self._large_bytes -= self._large.pop(sequence, 0)
        return self._commands.pop(sequence, None)
