"""Whose messages wait in such numbers that more of them wait in the database, so that others' need not."""

from collections.abc import Mapping
from typing import NamedTuple

from landline.core.ids import ResourceId

Sender = tuple[ResourceId, str]
"""Sender names may belong to several resources."""


class Crowd(NamedTuple):
    """A sender's messages at one carrier; or all that others than such senders have there."""

    carrier: str
    sender: Sender | None = None

    @property
    def key(self) -> str:
        """By what the database knows it."""
        return "\n".join((self.carrier, *(str(part) for part in self.sender or ())))


Crowds = Mapping[Crowd, int]
"""How many messages of each wait in memory."""
NO_CROWDS: Crowds = {}


def crowds(waiting: Mapping[str, Mapping[Sender, int]], limit: int) -> Crowds:
    """Those among what waits, by carrier and sender, in memory for `limit` messages: a hundredth of it is a crowd of
    one sender, a tenth one of a carrier's senders that are none themselves."""
    found: dict[Crowd, int] = {}
    for carrier, sizes in waiting.items():
        many = {Crowd(carrier, sender): size for sender, size in sizes.items() if size >= max(1, limit // 100)}
        others = sum(sizes.values()) - sum(many.values())
        found |= many
        if others >= max(1, limit // 10):
            found[Crowd(carrier)] = others
    return found


def crowd_of(found: Crowds, carrier: str, sender: Sender) -> Crowd | None:
    """The one of `found` that a message belongs to."""
    own = Crowd(carrier, sender)
    if own in found:
        return own
    return Crowd(carrier) if Crowd(carrier) in found else None
