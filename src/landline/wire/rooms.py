"""JSON shapes of the rooms service (acs-wire.md 8)."""

from datetime import datetime

from msgspec import UNSET, UnsetType

from landline.wire.base import Wire


class ParticipantProperties(Wire):
    role: str | None = None
    """Attendee when it is not said."""


class CreateRoomRequest(Wire):
    """null is as good as absent: the Python client writes it for what was not given."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None
    pstn_dial_out_enabled: bool | None = None
    participants: dict[str, ParticipantProperties | None] | None = None
    """By raw id."""


class UpdateRoomRequest(Wire):
    """null leaves the room as it is, for the same reason; nothing of a room can be taken away."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None
    pstn_dial_out_enabled: bool | None = None


class UpdateParticipantsRequest(Wire):
    """A merge patch (RFC 7396): a participant that is null goes."""

    participants: dict[str, ParticipantProperties | None] | UnsetType = UNSET


class RoomModel(Wire):
    """Instants as `wire.base.timestamp` writes them."""

    id: str
    created_at: str
    valid_from: str
    valid_until: str
    pstn_dial_out_enabled: bool


class RoomsCollection(Wire):
    value: list[RoomModel]
    next_link: str | None = None


class RoomParticipant(Wire):
    raw_id: str
    role: str


class ParticipantsCollection(Wire):
    value: list[RoomParticipant]
    next_link: str | None = None
