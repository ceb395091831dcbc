"""The public operations of rooms (acs-wire.md 8)."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import UNSET

from landline.core.errors import Invalid
from landline.core.ids import split_user_raw_id
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route
from landline.services.rooms import model
from landline.services.rooms.model import Repeatable, Room, RoomId
from landline.services.rooms.service import FIRST, Rooms
from landline.wire.base import timestamp
from landline.wire.rooms import (
    CreateRoomRequest,
    ParticipantProperties,
    ParticipantsCollection,
    RoomModel,
    RoomParticipant,
    RoomsCollection,
    UpdateParticipantsRequest,
    UpdateRoomRequest,
)

PAGE = 100
_CREATE = msgspec.json.Decoder(CreateRoomRequest)
_UPDATE = msgspec.json.Decoder(UpdateRoomRequest)
_PARTICIPANTS = msgspec.json.Decoder(UpdateParticipantsRequest)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def routes(rooms: Rooms) -> list[Route]:
    api = _Api(rooms)
    return [
        Route("POST", "/rooms", api.create, name="rooms_create"),
        Route("GET", "/rooms", api.list, name="rooms_list"),
        Route("GET", "/rooms/{roomId}", api.get, name="rooms_get"),
        Route("PATCH", "/rooms/{roomId}", api.update, name="rooms_update"),
        Route("DELETE", "/rooms/{roomId}", api.delete, name="rooms_delete"),
        Route("GET", "/rooms/{roomId}/participants", api.participants, name="participants_list"),
        Route("PATCH", "/rooms/{roomId}/participants", api.update_participants, name="participants_update"),
    ]


class _Api:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def create(self, request: Request) -> Response:
        wanted = request.decode(_CREATE) if request.body else CreateRoomRequest()
        repeatable = _repeatable(request)
        room = await self._rooms.create(
            request.caller.resource,
            valid_from=wanted.valid_from,
            valid_until=wanted.valid_until,
            dial_out=wanted.pstn_dial_out_enabled or False,
            roles={raw_id: _role(properties) for raw_id, properties in (wanted.participants or {}).items()},
            repeatable=repeatable,
        )
        headers: dict[str, str] = {"location": room.room_id}
        if repeatable is not None:
            headers["repeatability-result"] = "accepted"
        return json_response(201, _shape(room), headers)

    async def list(self, request: Request) -> Response:
        after = _place(request.query.get("after"))
        found = await self._rooms.page(request.caller.resource, after, PAGE + 1)
        shown = found[:PAGE]
        link = _next(request, _place_text(shown[-1])) if len(found) > PAGE else None
        return json_response(200, RoomsCollection([_shape(room) for room in shown], link))

    async def get(self, request: Request) -> Response:
        return json_response(200, _shape(await self._rooms.get(request.caller.resource, request.params["roomId"])))

    async def update(self, request: Request) -> Response:
        wanted = request.decode(_UPDATE)
        room = await self._rooms.update(
            request.caller.resource,
            request.params["roomId"],
            valid_from=wanted.valid_from,
            valid_until=wanted.valid_until,
            dial_out=wanted.pstn_dial_out_enabled,
        )
        return json_response(200, _shape(room))

    async def delete(self, request: Request) -> Response:
        await self._rooms.delete(request.caller.resource, request.params["roomId"])
        return Response(204)

    async def participants(self, request: Request) -> Response:
        room_id, after = request.params["roomId"], _user(request.query.get("after"))
        found = await self._rooms.participants(request.caller.resource, room_id, after=after, limit=PAGE + 1)
        shown = found[:PAGE]
        link = _next(request, shown[-1].raw_id) if len(found) > PAGE else None
        value = [RoomParticipant(participant.raw_id, participant.role.value) for participant in shown]
        return json_response(200, ParticipantsCollection(value, link))

    async def update_participants(self, request: Request) -> Response:
        wanted = request.decode(_PARTICIPANTS).participants
        changes = {} if wanted is UNSET else wanted
        await self._rooms.update_participants(
            request.caller.resource,
            request.params["roomId"],
            {raw_id: properties.role for raw_id, properties in changes.items() if properties is not None},
            [raw_id for raw_id, properties in changes.items() if properties is None],
        )
        return json_response(200, {})


def _role(properties: ParticipantProperties | None) -> str | None:
    return properties.role if properties is not None else None


def _repeatable(request: Request) -> Repeatable | None:
    """What names this request when it is sent again. Raises `Rejected`."""
    request_id = request.headers.get("repeatability-request-id")
    if request_id is None:
        return None
    return model.repeatable(
        request_id, request.headers.get("repeatability-first-sent"), request.body, datetime.now(UTC)
    )


def _shape(room: Room) -> RoomModel:
    return RoomModel(
        room.room_id,
        timestamp(room.created_at),
        timestamp(room.valid_from),
        timestamp(room.valid_until),
        room.pstn_dial_out_enabled,
    )


def _next(request: Request, after: str) -> str:
    """Where the next page is: the same path, for clients join what they are given to their endpoint."""
    path = request.target.partition("?")[0]
    return f"{path}?{urlencode({'api-version': request.query['api-version'], 'after': after})}"


def _place_text(room: Room) -> str:
    return f"{(room.created_at - _EPOCH) // timedelta(microseconds=1)}.{room.room_id}"


def _place(text: str | None) -> tuple[datetime, RoomId] | None:
    if text is None:
        return None
    microseconds, _, room_id = text.partition(".")
    if not (microseconds.isascii() and microseconds.isdigit() and len(microseconds) <= 16):
        raise Invalid("This is not a link that this server gave.", target="after")
    return _EPOCH + timedelta(microseconds=int(microseconds)), model.checked_room_id(room_id)


def _user(text: str | None) -> UUID:
    if text is None:
        return FIRST
    ids = split_user_raw_id(text)
    if ids is None:
        raise Invalid("This is not a link that this server gave.", target="after")
    return ids[1]
