"""Sender pools: several numbers that send as one, and which of them sends to whom."""

from dataclasses import dataclass
from hashlib import blake2b

PREFIX = "pool:"
"""How a pool is written where a sender is expected; no sender has a colon."""


_NEAR = 2
"""`+` and the first digit: a world zone of the numbering plan (ITU-T E.164), a country or a group of them."""


@dataclass(frozen=True, slots=True)
class Pool:
    """`sticky`: a recipient keeps the sender it got its first message from, while the pool has it."""

    name: str
    senders: tuple[str, ...]
    sticky: bool = True


def pool_name(sender: str) -> str | None:
    """The pool that `sender` names, or None when it is a sender itself."""
    return sender[len(PREFIX) :] if sender.startswith(PREFIX) else None


def choose(pool: Pool, recipient: str) -> str:
    """The sender of `pool` for a recipient: one of its world zone, if there is one, and of those the one with the
    highest hash (rendezvous hashing: a sender that joins or leaves moves only its own share)."""
    near = [sender for sender in pool.senders if _shared_digits(sender, recipient) >= _NEAR]
    return max(near or pool.senders, key=lambda sender: _weight(sender, recipient))


def _shared_digits(sender: str, recipient: str) -> int:
    shared = 0
    for ours, theirs in zip(sender, recipient, strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared


def _weight(sender: str, recipient: str) -> bytes:
    return blake2b(f"{sender} {recipient}".encode(), digest_size=8).digest()
