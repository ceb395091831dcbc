"""Whose messages wait in such numbers that more of them wait in the database, so that others' need not."""

from collections.abc import Mapping, Set
from types import MappingProxyType
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


class Fairly(NamedTuple):
    """How what is due is chosen while memory is not to be filled by a few senders: of the crowds `without` nothing, of
    each other sender at a carrier no more than `of_each` at once, and the first of each before the second of any."""

    without: Crowds
    of_each: int


def few(limit: int, in_hand: int) -> int:
    """How many messages of one sender at one carrier are no crowd yet, in memory for `limit` with so many `in_hand`: a
    hundredth; beyond the limit ever fewer, so that a few of everybody are let in, whoever has filled it."""
    left = limit + limit // 2 - in_hand
    return max(1, limit // 1000, min(limit // 100, left // 50))


def crowds(
    waiting: Mapping[str, Mapping[Sender, int]],
    limit: int,
    in_hand: int = 0,
    paced: Mapping[str, Set[Sender]] = MappingProxyType({}),
) -> Crowds:
    """Those among what waits, by carrier and sender, in memory for `limit` messages of which `in_hand` are there: who
    has not `few` is a crowd of one sender; of a carrier's other senders a tenth of `limit` is one, without the `paced`,
    who wait for themselves and not for the carrier."""
    found: dict[Crowd, int] = {}
    least = few(limit, in_hand)
    for carrier, sizes in waiting.items():
        many = {Crowd(carrier, sender): size for sender, size in sizes.items() if size >= least}
        others = sum(sizes.values()) - sum(many.values())
        others -= sum(size for sender in paced.get(carrier, ()) if (size := sizes.get(sender, 0)) < least)
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
