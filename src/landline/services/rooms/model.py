"""Rooms as values and the rules on them: ids, when they are open, who is invited as what (acs-wire.md 8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import NewType
from uuid import UUID

from landline.core.errors import Invalid, Refusal
from landline.core.ids import RawId, ResourceId, split_user_raw_id, user_raw_id

LONGEST = timedelta(days=180)
"""How long a room may be open, how far ahead it may open, and how far from now it ends when nothing is said."""
KEPT = timedelta(days=30)
"""How long an ended room can still be read, and opened again, before it is removed."""
TRACKED = timedelta(minutes=5)
"""How long after it was first sent a request to make a room may come again (ACS REST reference)."""
PARTICIPANTS = 2_000
"""Invited to one room, at most: our own bound, above what a call holds."""

RoomId = NewType("RoomId", str)
_ROOM_ID = re.compile(r"[0-9]{17}", re.ASCII)
_YEARS = range(2000, 9000)  # instants outside cannot all be added to, nor moved to UTC


class Role(Enum):
    """What a participant may do in the room's call."""

    PRESENTER = "Presenter"
    ATTENDEE = "Attendee"
    CONSUMER = "Consumer"
    COLLABORATOR = "Collaborator"


@dataclass(frozen=True, slots=True)
class Room:
    """One room: open to its participants from `valid_from` until before `valid_until`."""

    room_id: RoomId
    created_at: datetime
    valid_from: datetime
    valid_until: datetime
    pstn_dial_out_enabled: bool


@dataclass(frozen=True, slots=True)
class Repeatable:
    """The id under which a creation may be sent again, and what it asks."""

    request_id: UUID
    digest: bytes


class Rejected(Refusal):
    """A repeatable request cannot be told from others (ACS REST reference, repeatable requests)."""

    headers = MappingProxyType({"repeatability-result": "rejected"})


class NotTracked(Rejected):
    """A request was first sent so long ago that nobody may know any more whether it was done."""

    status = 412
    code = "PreconditionFailed"


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody invited to a room."""

    resource_id: ResourceId
    user_id: UUID
    role: Role

    @property
    def raw_id(self) -> RawId:
        return user_raw_id(self.resource_id, self.user_id)


def room_id(entropy: int) -> RoomId:
    """A room's id from a random number below 10**15: 17 digits that begin with 99, as the public service's do."""
    return RoomId(f"99{entropy:015d}")


def checked_room_id(text: str) -> RoomId:
    """`text` when it can be a room's id. Raises `Invalid`."""
    if _ROOM_ID.fullmatch(text) is None:
        raise Invalid("Invalid room ID.", target="roomId")
    return RoomId(text)


def repeatable(request_id: str, first_sent: str | None, body: bytes, wall: datetime) -> Repeatable:
    """What names the creation that `body` asks for (OASIS Repeatable Requests 1.0). `first_sent`, an HTTP date, is
    judged by `wall`, the machine's time. Raises `Rejected`."""
    try:
        found = UUID(request_id)
    except ValueError:
        raise Rejected("Repeatability-Request-ID is not a uuid.", target="Repeatability-Request-ID") from None
    if first_sent is not None and wall - _http_date(first_sent) > TRACKED:
        minutes = TRACKED // timedelta(minutes=1)
        message = f"Repeatability-First-Sent header is not within the {minutes} minute window."
        raise NotTracked(message, target="Repeatability-First-Sent")
    return Repeatable(found, sha256(body).digest())


def _http_date(text: str) -> datetime:
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected("Repeatability-First-Sent is not an HTTP date.", target="Repeatability-First-Sent") from None


def opened(
    room_id: RoomId, now: datetime, valid_from: datetime | None, valid_until: datetime | None, *, dial_out: bool
) -> Room:
    """A new room. By default it opens now, and ends 180 days from now, also when it opens later (Azure's recorded
    answers); where it opened before, as a caller's "now" always has, 180 days after that. Raises `Invalid`."""
    opens = _opening(valid_from, now) or now
    ends = _instant(valid_until, "validUntil") or min(opens, now) + LONGEST
    return _checked(Room(room_id, now, opens, ends, dial_out), now)


def changed(
    room: Room,
    now: datetime,
    *,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    dial_out: bool | None = None,
) -> Room:
    """`room` with what is not None changed; an ended room can so be opened again. Raises `Invalid`."""
    if valid_from is None and valid_until is None and dial_out is None:
        return room
    wanted = replace(
        room,
        valid_from=_opening(valid_from, now) or room.valid_from,
        valid_until=_instant(valid_until, "validUntil") or room.valid_until,
        pstn_dial_out_enabled=room.pstn_dial_out_enabled if dial_out is None else dial_out,
    )
    return _checked(wanted, now)


def invited(resource: ResourceId, roles: Mapping[str, str | None]) -> list[Participant]:
    """Participants by raw id and role, Attendee when that is None. Raises `Invalid`."""
    found = {user(resource, raw_id): _role(role) for raw_id, role in roles.items()}
    return [Participant(resource, user_id, role) for user_id, role in found.items()]


def user(resource: ResourceId, raw_id: str) -> UUID:
    """The user of `resource` that `raw_id` names. Raises `Invalid`: nobody else can get a token to join with."""
    ids = split_user_raw_id(raw_id)
    if ids is None:
        raise Invalid("Invalid format for communication identifier.", target="participants")
    if ids[0] != resource:
        raise Invalid("A participant belongs to another resource.", target="participants")
    return ids[1]


def _role(text: str | None) -> Role:
    if text is None:
        return Role.ATTENDEE
    try:
        return Role(text)
    except ValueError:
        known = ", ".join(role.value for role in Role)
        raise Invalid(f"A role is one of {known}.", target="participants.role") from None


def _opening(at: datetime | None, now: datetime) -> datetime | None:
    opens = _instant(at, "validFrom")
    if opens is not None and opens - now > LONGEST:
        raise Invalid(f"The value is more than {LONGEST.days} days in the future.", target="validFrom")
    return opens


def _instant(at: datetime | None, target: str) -> datetime | None:
    """`at` in UTC, which it is in when it does not say."""
    if at is None:
        return None
    if at.year not in _YEARS:
        raise Invalid("The year is out of range.", target=target)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _checked(room: Room, now: datetime) -> Room:
    if room.valid_until <= now:
        raise Invalid("The time range end is in the past.", target="validUntil")
    if room.valid_until <= room.valid_from:
        raise Invalid("The time range ends before it begins.", target="validUntil")
    if room.valid_until - room.valid_from > LONGEST:
        raise Invalid(f"The time range is longer than {LONGEST.days} days.", target="validUntil")
    return room
