"""JSON shapes of the simulated carrier's admin API: handsets, their inboxes and behaviours, and the rules of faults."""

from typing import Annotated

from msgspec import Meta, field

from landline.wire.base import Wire

_DAYS_7_S = 7 * 24 * 3600
Seconds = Annotated[float, Meta(ge=0, le=_DAYS_7_S)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Text = Annotated[str, Meta(min_length=1, max_length=2048, pattern="^[^\\x00]*$")]


class HandsetBehaviour(Wire, forbid_unknown_fields=True):
    """Body of `PUT /handsets/{number}`; what is absent is as a plain handset has it."""

    behaviour: str = "answers"
    """`answers`, `roaming`, `landline`, `slow`, `rejects` or `silent`."""
    after: Seconds | None = None
    """Seconds until the receipt; for a roaming handset how long the carrier tries (an hour when absent)."""
    jitter: Seconds = 0.0
    code: int | None = None
    """Why it rejects (4005 when absent)."""
    at: str = "report"
    """Where it rejects: `submit` or `report`."""
    auto_replies: Annotated[list[Text], Meta(max_length=100)] = field(default_factory=list[str])
    auto_reply_after: Seconds = 0.0


class Handset(Wire, omit_defaults=False):
    """A handset as it is."""

    number: str
    behaviour: str
    texts: int
    """How many texts are on it."""
    after: float = 0.0
    jitter: float = 0.0
    code: int | None = None
    at: str | None = None
    auto_replies: list[str] = field(default_factory=list[str])
    auto_reply_after: float = 0.0


class InboxText(Wire):
    """A text on a handset. `id` is the cursor to read on from."""

    id: str
    from_: str = field(name="from")
    to: str
    text: str
    segments: int
    received_at: str
    message_key: str


class HandsetText(Wire, forbid_unknown_fields=True):
    """Body of `POST /handsets/{number}:text`: what the handset's owner texts."""

    to: str
    text: Text


class RuleOutcome(Wire, forbid_unknown_fields=True):
    """What happens when a rule fires: a detail code (2000 is delivered), or silence."""

    code: int | None = None
    silent: bool = False
    """No receipt ever comes."""
    temporary: bool = False
    """With `at` = `submit`: the message may be handed over again."""


class CarrierRule(Wire, forbid_unknown_fields=True):
    """Body of `POST /carrier/rules`."""

    number: str
    """An exact recipient, a prefix ending in `*`, or `*` for all."""
    outcome: RuleOutcome
    nth: Count | None = None
    every: Count | None = None
    count: Count | None = None
    """How often it fires at most."""
    rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    after: Seconds = 0.0
    jitter: Seconds = 0.0
    at: str = "report"


class CarrierRuleInForce(Wire, omit_defaults=False):
    """A rule with its counts."""

    id: str
    number: str
    outcome: RuleOutcome
    nth: int | None
    every: int | None
    count: int | None
    rate: float | None
    after: float
    jitter: float
    at: str
    seen: int
    """Messages it was asked about."""
    fired: int


class CarrierSeed(Wire, forbid_unknown_fields=True):
    """Body and answer of `/carrier/seed`."""

    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
