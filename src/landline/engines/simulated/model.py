"""What the simulated carrier and its handsets do with messages: behaviours, rules, and the fate of each message.

Pure: everything that looks random follows from the seed, the recipient and how many messages it had before.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import blake2b

from landline.core import phone
from landline.core.phone import SenderKind

DELIVERED = 2000
UNREACHABLE = 4006
CODES = frozenset({2000, *range(4000, 4011), 5000, 5001, 5002, 9999})
"""acs-wire.md 4.7."""

_ORDINALS_LIMIT = 50_000
"""Recipients whose messages are counted for the seed; of more, the one seen first begins anew."""


class Conduct(Enum):
    """How a handset takes messages."""

    ANSWERS = "answers"
    """Takes them at once; the receipt follows promptly."""
    ROAMING = "roaming"
    """Out of reach: shown and reported when it is back, or failed 4006 when its time is over."""
    LANDLINE = "landline"
    """Cannot take texts: failed 4006. The number exists, so that 4004 would be wrong (acs-wire.md 4.7)."""
    SLOW = "slow"
    """Takes them at once; the receipt comes late."""
    REJECTS = "rejects"
    """The carrier refuses its messages, at submit or by report."""
    SILENT = "silent"
    """Takes them; no receipt ever comes."""


class Point(Enum):
    """When the carrier says no: in its answer to the submission, or later by a receipt."""

    SUBMIT = "submit"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one handset does. `after_s` is the delay of the receipt; for a roaming one how long the carrier tries."""

    conduct: Conduct = Conduct.ANSWERS
    after_s: float = 0.0
    jitter_s: float = 0.0
    """At most this is added to `after_s`, by the seed."""
    code: int = UNREACHABLE
    """Why it rejects."""
    point: Point = Point.REPORT
    replies: tuple[str, ...] = ()
    """It answers each message that reaches it with the next of these, then from the first again."""
    reply_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Handset:
    """A handset with a behaviour of its own; all others answer."""

    number: str
    behaviour: Behaviour
    replied: int = 0
    """How many messages it has answered by `behaviour.replies`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a script of faults: which messages it is for, when it fires, and what happens then."""

    number: str
    """An exact recipient, or a prefix ending in `*`."""
    code: int | None
    """ACS detail code, 2000 included; None: no receipt ever comes."""
    nth: int | None = None
    """Fires on this message to `number`, counted from 1 since the rule was made."""
    every: int | None = None
    """Fires on every so many messages, from `nth` on."""
    fires_limit: int | None = None
    rate: float | None = None
    """The share of the messages otherwise chosen on which it fires, picked by the seed."""
    temporary: bool = False
    """Whether a message refused at submit may be handed over again."""
    point: Point = Point.REPORT
    after_s: float = 0.0
    jitter_s: float = 0.0
    rule_id: int = 0
    seen: int = 0
    fired: int = 0

    def matches(self, recipient: str) -> bool:
        if self.number.endswith("*"):
            return recipient.startswith(self.number[:-1])
        return recipient == self.number

    def chooses(self, seen: int, fired: int) -> bool:
        """Whether it would fire on the message that is the `seen`th it matches, its rate aside."""
        if self.fires_limit is not None and fired >= self.fires_limit:
            return False
        if self.every is not None:
            first = self.nth or self.every
            return seen >= first and (seen - first) % self.every == 0
        return self.nth is None or seen == self.nth


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one message."""

    code: int | None
    point: Point = Point.REPORT
    after_s: float = 0.0
    temporary: bool = False
    held: bool = False
    """Waits for the handset to come back in reach; `code` is for when it does not within `after_s`."""

    @property
    def shown(self) -> bool:
        """Whether the text reaches the handset now."""
        return self.point is Point.REPORT and (self.code is None or self.code == DELIVERED)


PROMPT = Fate(DELIVERED)


class Script:
    """All rules and behaviours in force. `turn` decides; nothing changes until the turn's owner has committed."""

    def __init__(
        self,
        seed: int,
        handsets: Iterable[Handset] = (),
        rules: Iterable[Rule] = (),
        ordinals: OrderedDict[str, int] | None = None,
    ) -> None:
        self.seed = seed
        self.handsets = {handset.number: handset for handset in handsets}
        self.rules = sorted(rules, key=lambda rule: rule.rule_id)
        self.ordinals = ordinals if ordinals is not None else OrderedDict[str, int]()
        """Messages per recipient, of those that anything random was asked about."""
        self._exact: dict[str, list[int]] = {}
        self._prefixed: list[int] = []
        for place, rule in enumerate(self.rules):
            if rule.number.endswith("*"):
                self._prefixed.append(place)
            else:
                self._exact.setdefault(rule.number, []).append(place)

    def turn(self) -> "Turn":
        """Decide for one batch."""
        return Turn(self)

    def rules_for(self, recipient: str) -> list[int]:
        """The places of the rules that match, in order."""
        prefixed = [place for place in self._prefixed if self.rules[place].matches(recipient)]
        return sorted([*self._exact.get(recipient, ()), *prefixed])


class Turn:
    """The fates of one batch of messages, and the counts they move on."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._plain = not script.rules and not script.handsets
        self._ordinals: dict[str, int] = {}
        self.rules: dict[int, Rule] = {}
        """Rules by place whose counts have moved."""
        self.handsets: dict[str, Handset] = {}
        """Handsets whose counts have moved."""

    def decide(self, recipient: str) -> Fate:
        """The fate of the next message to `recipient`: by the first rule that fires, else by its handset."""
        if self._plain:
            return PROMPT
        places = self._script.rules_for(recipient)
        rules = [self.rules.get(place, self._script.rules[place]) for place in places]
        handset = self._script.handsets.get(recipient)
        behaviour = handset.behaviour if handset else None
        random = any(rule.rate is not None or rule.jitter_s for rule in rules)
        ordinal = self._next_ordinal(recipient) if random or (behaviour and behaviour.jitter_s) else 0
        fate: Fate | None = None
        for place, rule in zip(places, rules, strict=True):
            fires = fate is None and self._fires(rule, place, recipient, ordinal)
            self.rules[place] = replace(rule, seen=rule.seen + 1, fired=rule.fired + fires)
            if fires:
                jitter_s = rule.jitter_s and rule.jitter_s * self._chance(f"delay{place}", recipient, ordinal)
                fate = Fate(rule.code, rule.point, rule.after_s + jitter_s, rule.temporary)
        return fate or self._by_handset(behaviour, recipient, ordinal)

    def reply(self, recipient: str, sender: str) -> tuple[str, float] | None:
        """The text that the handset answers `sender`'s message with, and after how many seconds."""
        if self._plain:
            return None
        handset = self.handsets.get(recipient) or self._script.handsets.get(recipient)
        if handset is None or not handset.behaviour.replies:
            return None
        if phone.sender_kind(sender) in (None, SenderKind.ALPHANUMERIC):
            return None  # nobody can text a sender name
        self.handsets[recipient] = replace(handset, replied=handset.replied + 1)
        replies = handset.behaviour.replies
        return replies[handset.replied % len(replies)], handset.behaviour.reply_after_s

    def keep(self) -> None:
        """The batch is committed: count on from here."""
        for place, rule in self.rules.items():
            self._script.rules[place] = rule
        self._script.handsets.update(self.handsets)
        ordinals = self._script.ordinals
        ordinals.update(self._ordinals)
        while len(ordinals) > _ORDINALS_LIMIT:
            ordinals.popitem(last=False)

    def _fires(self, rule: Rule, place: int, recipient: str, ordinal: int) -> bool:
        if not rule.chooses(rule.seen + 1, rule.fired):
            return False
        return rule.rate is None or self._chance(f"rate{place}", recipient, ordinal) < rule.rate

    def _by_handset(self, behaviour: Behaviour | None, recipient: str, ordinal: int) -> Fate:
        if behaviour is None:
            return PROMPT
        jitter_s = behaviour.jitter_s and behaviour.jitter_s * self._chance("handset", recipient, ordinal)
        after_s = behaviour.after_s + jitter_s
        match behaviour.conduct:
            case Conduct.ANSWERS | Conduct.SLOW:
                return Fate(DELIVERED, after_s=after_s)
            case Conduct.ROAMING:
                return Fate(UNREACHABLE, after_s=after_s, held=True)
            case Conduct.LANDLINE:
                return Fate(UNREACHABLE, after_s=after_s)
            case Conduct.REJECTS:
                return Fate(behaviour.code, behaviour.point, after_s)
            case Conduct.SILENT:
                return Fate(None)

    def _next_ordinal(self, recipient: str) -> int:
        ordinal = self._ordinals.get(recipient, self._script.ordinals.get(recipient, 0)) + 1
        self._ordinals[recipient] = ordinal
        return ordinal

    def _chance(self, purpose: str, recipient: str, ordinal: int) -> float:
        """A number from 0 to 1 that is the same in every run with this seed."""
        drawn = blake2b(f"{self._script.seed}/{purpose}/{recipient}/{ordinal}".encode(), digest_size=7).digest()
        return int.from_bytes(drawn, "big") / 2**56
