"""Joining the parts of long texts, whatever order and whichever binds they come by. Pure and bounded."""

from dataclasses import dataclass, field
from itertools import groupby

from msgspec import Struct

from landline.protocols.smpp import texts
from landline.protocols.smpp.texts import Alphabet
from landline.protocols.smstext import Concatenation


class GroupKey(Struct, frozen=True):
    """What the parts of one text have in common (3GPP TS 23.040 §9.2.3.24.1)."""

    sender: str
    recipient: str
    reference: int
    total: int
    wide: bool


class TextPart(Struct, frozen=True):
    """One part of a long text."""

    key: GroupKey
    sequence: int
    data_coding: int
    octets: bytes


class Joined(Struct, frozen=True):
    """A text and the parts it came in; `missing` counts those that never came."""

    key: GroupKey
    text: str
    parts: int
    missing: int = 0


def part_of(sender: str, recipient: str, concatenation: Concatenation, coding: int, octets: bytes) -> TextPart:
    """The part that a deliver_sm with this concatenation brings."""
    key = GroupKey(sender, recipient, concatenation.reference, concatenation.total, concatenation.wide)
    return TextPart(key, concatenation.sequence, coding, octets)


def join(parts: dict[int, TextPart], key: GroupKey, default: Alphabet) -> Joined:
    """The text of `parts` in order. Neighbours in one coding are decoded together: a character may be cut in two."""
    ordered = [parts[sequence] for sequence in sorted(parts)]
    text = "".join(
        texts.decode(coding, b"".join(part.octets for part in run), default)
        for coding, run in groupby(ordered, key=lambda part: part.data_coding)
    )
    return Joined(key, text, len(ordered), key.total - len(ordered))


@dataclass(slots=True)
class _Group:
    since: float
    parts: dict[int, TextPart] = field(default_factory=dict[int, TextPart])


class Joiner:
    """Holds groups until they are whole, or for `patience_s`; at most `limit` parts, then the oldest group is given up
    as it is. The caller decides what to do with an incomplete text."""

    def __init__(self, *, patience_s: float = 3600.0, limit: int = 10_000, default: Alphabet = Alphabet.GSM) -> None:
        self._patience_s = patience_s
        self._limit = limit
        self._default = default
        self._groups: dict[GroupKey, _Group] = {}
        self._count = 0

    def add(self, part: TextPart, now: float) -> list[Joined]:
        """The texts that `part` completes or pushes out. A part that is there already changes nothing."""
        group = self._groups.get(part.key)
        if group is None:
            group = self._groups[part.key] = _Group(now)
        if part.sequence not in group.parts:
            group.parts[part.sequence] = part
            self._count += 1
        done = [self._take(part.key)] if len(group.parts) == part.key.total else []
        while self._count > self._limit:
            done.append(self._take(next(iter(self._groups))))
        return done

    def deadline(self) -> float | None:
        """When the oldest group's patience ends."""
        for group in self._groups.values():
            return group.since + self._patience_s
        return None

    def expire(self, now: float) -> list[Joined]:
        """The texts whose missing parts are waited for no more."""
        overdue = [key for key, group in self._groups.items() if group.since + self._patience_s <= now]
        return [self._take(key) for key in overdue]

    def _take(self, key: GroupKey) -> Joined:
        group = self._groups.pop(key)
        self._count -= len(group.parts)
        return join(group.parts, key, self._default)
