"""The pure half of event delivery: which subscription wants which event, what follows from a try, and signatures.

Rules: the delivery and retry table of Event Grid (capabilities.md, "Reliability": Events), acs-wire.md 10.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from msgspec import Struct

from landline.core.ids import ResourceId


class Event(Struct, frozen=True):
    """Something that happened. Its id stays the same however often and to whomever it is delivered."""

    event_id: UUID
    resource: ResourceId
    type: str
    subject: str
    data: bytes
    """JSON of the data object."""
    at: datetime
    about: UUID | None
    """The message it tells of."""
    envelopes: "dict[Schema, bytes] | None" = None
    """What it looks like on the wire, once made: kept when several subscriptions are sent the same."""


class Schema(Enum):
    """The envelopes a subscription may ask for."""

    EVENT_GRID = "EventGridSchema"
    CLOUD_EVENTS = "CloudEventSchemaV1_0"


class State(Enum):
    """Where a subscription stands; only an enabled one is sent events."""

    VALIDATING = "validating"
    """The endpoint was asked; its operator may still consent by the validation URL."""
    ENABLED = "enabled"
    DISABLED = "disabled"
    FAILED = "failed"


class Settings(Struct, frozen=True):
    """What a subscription was asked to do, without secrets; stored as JSON."""

    endpoint: str
    schema: Schema = Schema.EVENT_GRID
    types: tuple[str, ...] | None = None
    """None: every type."""
    subject_begins: str = ""
    subject_ends: str = ""
    case_sensitive: bool = False
    max_attempts: int = 30
    ttl_minutes: int = 1440
    batch_events: int = 1
    batch_kilobytes: int = 64
    headers: tuple[tuple[str, str], ...] = ()
    secret_headers: tuple[str, ...] = ()
    """Names; their values are among the secrets."""
    signed: bool = False
    rate_per_minute: int | None = None
    """What the endpoint allowed (CloudEvents `WebHook-Allowed-Rate`)."""


class Secrets(Struct, frozen=True):
    """The secret half of a subscription; stored sealed."""

    signatures: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook that wants events of one resource."""

    subscription_id: UUID
    resource: ResourceId
    name: str
    settings: Settings
    state: State
    reason: str | None
    created_at: datetime
    validating_until: datetime | None = None
    pending: Settings | None = None
    """What it becomes when its new endpoint consents until then."""
    version: str | None = None
    """Another once the row is written again; None of a new one."""


class Delivery(Struct, eq=False):
    """One event on its way to one subscription."""

    event: Event
    subscription: UUID
    since: datetime
    """When delivering began: the time to live counts from here."""
    attempts: int = 0
    """Tries made so far."""
    block: UUID | None = None
    """The batch or block that holds it; None when it waits in the database, due at some time."""
    stored: bool = False
    """Whether it has a row of its own. Else it is known by its batch."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What `Events.emit` wrote, to be given to `Events.committed` after the commit."""

    deliveries: Sequence[Delivery] = ()
    overflow: bool = False
    """Some deliveries did not fit in memory; they lie in the database, due."""


class Outcome(Struct, frozen=True):
    """What a try met: the endpoint's status, or why there was none."""

    at: datetime
    status: int | None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took the events."""
        return self.status in _SUCCESS


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a delivery, for a message's timeline. `next_at` is set while another will follow."""

    subscription: str
    at: datetime
    attempt: int
    status: int | None
    error: str | None
    next_at: datetime | None


class Delivered(Struct, frozen=True):
    """Nothing more to do."""


class Again(Struct, frozen=True):
    """Try again at `next_at`."""

    next_at: datetime


class Dead(Struct, frozen=True):
    """Given up; `reason` in Event Grid's words for dead letters."""

    reason: str


class Gone(Struct, frozen=True):
    """Its subscription is no more: nothing is to be kept."""


Verdict = Delivered | Again | Dead | Gone
DELIVERED = Delivered()

_SUCCESS = frozenset({200, 201, 202, 203, 204})
_HOPELESS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 413: "RequestEntityTooLarge"}
_LADDER_S = (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
_JITTER = 0.05
"""Of a step, at most: with it the ladder's 82,000 s to the 11th try still fit in the 24 h of time to live."""
SIGNATURE_HEADER = "x-landline-signature"


def matches(settings: Settings, event_type: str, subject: str) -> bool:
    """Whether the filters of a subscription let an event through; an absent filter lets everything through."""
    if not matches_type(settings, event_type):
        return False
    begins, ends = settings.subject_begins, settings.subject_ends
    if not begins and not ends:
        return True
    if not settings.case_sensitive:
        begins, ends, subject = begins.lower(), ends.lower(), subject.lower()
    return subject.startswith(begins) and subject.endswith(ends)


def matches_type(settings: Settings, event_type: str) -> bool:
    """Whether the types a subscription asks for let an event through."""
    return settings.types is None or event_type in settings.types


def state_at(subscription: Subscription, now: datetime) -> tuple[State, str | None]:
    """Where a subscription stands at `now`, and why: the time to consent may have passed."""
    until = subscription.validating_until
    if subscription.state is State.VALIDATING and until is not None and until <= now:
        return State.FAILED, "The endpoint did not consent in time."
    pending = subscription.pending
    if pending is not None and until is not None:
        if until <= now:
            return subscription.state, f"{pending.endpoint} did not consent in time: events go where they went."
        waits = "has not consented yet; a GET of the validation URL does. Until then events go where they went."
        return subscription.state, f"{pending.endpoint} {waits}"
    return subscription.state, subscription.reason


def verdict(delivery: Delivery, outcome: Outcome, settings: Settings) -> Verdict:
    """What follows from the try number `delivery.attempts + 1` of a delivery."""
    if outcome.delivered:
        return DELIVERED
    if outcome.status in _HOPELESS:
        return Dead(_HOPELESS[outcome.status])
    attempts = delivery.attempts + 1
    if attempts >= settings.max_attempts:
        return Dead("MaxDeliveryAttemptsExceeded")
    next_at = outcome.at + retry_delay(attempts, delivery.event.event_id, delivery.subscription)
    if next_at >= expires_at(delivery, settings):
        return Dead("TimeToLiveExceeded")
    return Again(next_at)


def expires_at(delivery: Delivery, settings: Settings) -> datetime:
    """When a delivery is given up, whatever became of its tries."""
    return delivery.since + timedelta(minutes=settings.ttl_minutes)


def retry_delay(attempts: int, event_id: UUID, subscription: UUID) -> timedelta:
    """How long to wait after the failed try number `attempts` (from 1): the ladder's step and up to a twentieth more.

    The addition is drawn from the ids, so that a crowd of events does not come back all at once and a run repeats.
    """
    step_s = _LADDER_S[min(attempts, len(_LADDER_S)) - 1]
    seed = event_id.bytes + subscription.bytes + attempts.to_bytes(2, "big")
    drawn = int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest(), "big") / 2**32
    return timedelta(seconds=step_s * (1 + _JITTER * drawn))


def topic(resource: ResourceId, name: str) -> str:
    """The topic (Event Grid) or source (CloudEvents) of a resource's events."""
    return (
        f"/subscriptions/{resource}/resourceGroups/landline"
        f"/providers/Microsoft.Communication/communicationServices/{name}"
    )


def signature(body: bytes, secrets: Sequence[str], at: datetime) -> str:
    """The value of `x-landline-signature`: the time, and one HMAC of time and body for each secret."""
    seconds = int(at.timestamp())
    return ",".join([f"t={seconds}", *(f"v1={_hmac(secret, seconds, body)}" for secret in secrets)])


def verify_signature(header: str, body: bytes, secret: str, now: datetime, *, tolerance_s: float = 300.0) -> bool:
    """For receivers: whether `header` (`x-landline-signature`) proves that `body` was signed with `secret` at most
    `tolerance_s` seconds from `now`. A malformed header proves nothing."""
    pairs = [part.partition("=") for part in header.split(",")]
    times = [value for key, _, value in pairs if key.strip() == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12):
        return False
    seconds = int(times[0])
    if abs(now.timestamp() - seconds) > tolerance_s:
        return False
    expected = _hmac(secret, seconds, body).encode()
    return any(hmac.compare_digest(expected, value.encode()) for key, _, value in pairs if key.strip() == "v1")


def _hmac(secret: str, seconds: int, body: bytes) -> str:
    return hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
