"""The official Python rooms clients, sync and async, unmodified, on a running server (acs-wire.md 8)."""

import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import azure.communication.rooms as rooms_sync
import azure.communication.rooms.aio as rooms_async
import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.rooms import ParticipantRole, RoomParticipant
from azure.core.exceptions import HttpResponseError
from tests.contract.sdk.conftest import Style, closed, listed, result
from tests.support.signed import Raw, http_date, signed_headers

from landline.services.rooms.api import PAGE
from landline.testing import Server

VERSION = "2025-03-13"
UNKNOWN = "99000000000000001"


def client_class(style: Style) -> Any:
    return (rooms_async if style.name == "async" else rooms_sync).RoomsClient


@pytest.fixture
async def rooms(style: Style, landline: Server) -> AsyncGenerator[Any]:
    client = client_class(style).from_connection_string(landline.connection_string)
    yield client
    await closed(client)


@pytest.fixture
async def someone(identity: Any) -> Callable[..., Any]:
    """Makes participants, each a new user."""

    async def make(role: Any = ParticipantRole.ATTENDEE) -> RoomParticipant:
        return RoomParticipant(communication_identifier=await result(identity.create_user()), role=role)

    return make


@pytest.fixture
def now(landline: Server) -> datetime:
    return landline.clock.now()


async def roles(client: Any, room_id: str) -> dict[str, str]:
    found = await listed(client.list_participants(room_id))
    return {participant.communication_identifier.raw_id: str(participant.role) for participant in found}


def instant(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


async def test_a_room_opens_now_and_lasts_180_days_when_nothing_is_said(rooms: Any, now: datetime) -> None:
    room = await result(rooms.create_room())
    assert re.fullmatch("99[0-9]{15}", room.id)
    assert room.pstn_dial_out_enabled is False
    assert abs(instant(room.valid_from) - now) < timedelta(minutes=1)
    assert instant(room.valid_until) - instant(room.valid_from) == timedelta(days=180)
    assert await listed(rooms.list_participants(room.id)) == []
    await result(rooms.delete_room(room.id))


async def test_a_room_that_opens_later_lasts_until_180_days_from_now_too(rooms: Any, now: datetime) -> None:
    """As Azure's recorded answers have it, and the documents: "the current date time plus 180 days"."""
    room = await result(rooms.create_room(valid_from=now + timedelta(days=3)))
    assert instant(room.valid_from) == now + timedelta(days=3)
    assert abs(instant(room.valid_until) - now - timedelta(days=180)) < timedelta(minutes=1)
    with pytest.raises(HttpResponseError) as refused:
        await result(rooms.create_room(valid_from=now + timedelta(weeks=29)))
    assert refused.value.status_code == 400


async def test_the_youngest_room_is_listed_first(rooms: Any) -> None:
    made = [(await result(rooms.create_room())).id for _ in range(3)]
    found = [room.id for room in await listed(rooms.list_rooms())]
    assert [room_id for room_id in found if room_id in made] == made[::-1]


async def test_a_room_is_made_with_everything_read_and_deleted(rooms: Any, someone: Any, now: datetime) -> None:
    people = [await someone(role) for role in ParticipantRole]
    opens, ends = now + timedelta(days=3), now + timedelta(weeks=4)
    room = await result(
        rooms.create_room(valid_from=opens, valid_until=ends, pstn_dial_out_enabled=True, participants=people)
    )
    found = await result(rooms.get_room(room.id))
    assert found == room
    assert (instant(found.valid_from), instant(found.valid_until)) == (opens, ends)
    assert found.pstn_dial_out_enabled is True
    assert await roles(rooms, room.id) == {person.communication_identifier.raw_id: person.role for person in people}
    await result(rooms.delete_room(room.id))
    for call in (
        lambda: rooms.get_room(room.id),
        lambda: rooms.delete_room(room.id),
        lambda: rooms.update_room(room_id=room.id, pstn_dial_out_enabled=True),
        lambda: rooms.add_or_update_participants(room_id=room.id, participants=people),
        lambda: listed(rooms.list_participants(room.id)),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 404


async def test_what_is_not_said_stays_as_it_is(rooms: Any, now: datetime) -> None:
    room = await result(rooms.create_room(valid_until=now + timedelta(days=10)))
    changed = await result(rooms.update_room(room_id=room.id, pstn_dial_out_enabled=True))
    assert changed.pstn_dial_out_enabled is True
    assert (changed.valid_from, changed.valid_until) == (room.valid_from, room.valid_until)
    later = await result(rooms.update_room(room_id=room.id, valid_until=now + timedelta(days=20)))
    assert instant(later.valid_until) == now + timedelta(days=20)
    assert later.pstn_dial_out_enabled is True
    assert await result(rooms.update_room(room_id=room.id)) == later


@pytest.mark.parametrize(
    ("opens_days", "ends_days"),
    [(0, 203), (3, 203), (-7, -1), (None, -7), (5, 5), (5, 4), (None, 181), (200, 150)],
)
async def test_a_time_that_cannot_be_is_refused(
    rooms: Any, now: datetime, opens_days: int | None, ends_days: int
) -> None:
    times: dict[str, datetime] = {"valid_until": now + timedelta(days=ends_days)}
    if opens_days is not None:
        times["valid_from"] = now + timedelta(days=opens_days)
    room = await result(rooms.create_room())
    for call in (lambda: rooms.create_room(**times), lambda: rooms.update_room(room_id=room.id, **times)):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 400
        assert refused.value.error is not None
    assert await result(rooms.get_room(room.id)) == room


async def test_participants_are_invited_changed_and_removed(rooms: Any, someone: Any) -> None:
    first, second, third = await someone("Presenter"), await someone("Attendee"), await someone(None)
    room = await result(rooms.create_room(participants=[first, second]))
    second.role = ParticipantRole.CONSUMER
    await result(rooms.add_or_update_participants(room_id=room.id, participants=[second, third]))
    ids = [person.communication_identifier.raw_id for person in (first, second, third)]
    assert await roles(rooms, room.id) == dict(zip(ids, ["Presenter", "Consumer", "Attendee"], strict=True))
    stranger = await someone()
    removed = [first, second.communication_identifier, stranger]
    await result(rooms.remove_participants(room_id=room.id, participants=removed))
    assert list(await roles(rooms, room.id)) == [ids[2]]


@pytest.mark.parametrize(
    "raw_id",
    [
        "wrong_mri",
        "8:acs:1_2",
        "+14255550123",
        "4:+14255550123",
        "8:orgid:11111111-2222-4333-8444-555555555555",
        "8:acs:11111111-2222-4333-8444-555555555555_11111111-2222-4333-8444-555555555555",
    ],
)
async def test_whoever_cannot_join_cannot_be_invited(rooms: Any, someone: Any, raw_id: str) -> None:
    nobody: Any = CommunicationUserIdentifier(raw_id)
    wrong = RoomParticipant(communication_identifier=nobody, role="Attendee")
    room = await result(rooms.create_room())
    both = [await someone(), wrong]
    for call in (
        lambda: rooms.create_room(participants=both),
        lambda: rooms.add_or_update_participants(room_id=room.id, participants=both),
        lambda: rooms.remove_participants(room_id=room.id, participants=both),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 400
    assert await roles(rooms, room.id) == {}


async def test_a_role_nobody_knows_is_refused(rooms: Any, someone: Any) -> None:
    for role in ("Kafka", "presenter", ""):
        person = await someone()
        person.role = role
        with pytest.raises(HttpResponseError) as refused:
            await result(rooms.create_room(participants=[person]))
        assert refused.value.status_code == 400


@pytest.mark.parametrize("room_id", ["89_invalid_room", "1234567890", "non-existingroomId", "9" * 18, "٩" * 17])
async def test_what_is_no_rooms_id_is_refused(rooms: Any, room_id: str) -> None:
    for call in (
        lambda: rooms.get_room(room_id),
        lambda: rooms.delete_room(room_id),
        lambda: rooms.update_room(room_id=room_id, pstn_dial_out_enabled=True),
        lambda: rooms.remove_participants(room_id=room_id, participants=[]),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 400


async def test_long_lists_come_in_pages(rooms: Any, raw: Raw, landline: Server) -> None:
    room = await result(rooms.create_room())
    resource = resource_of(raw)
    people = {f"8:acs:{resource}_{uuid4()}": {"role": "Attendee"} for _ in range(2 * PAGE + 1)}
    answer = raw.call("PATCH", f"/rooms/{room.id}/participants", {"participants": people}, version=VERSION)
    assert (answer.status, answer.json()) == (200, {})
    assert (await roles(rooms, room.id)).keys() == people.keys()
    made = {raw.call("POST", "/rooms", {}, version=VERSION).json()["id"] for _ in range(PAGE + 1)}
    found = [room.id for room in await listed(rooms.list_rooms())]
    assert made | {room.id} <= set(found)
    assert len(found) == len(set(found))
    first = raw.call("GET", "/rooms", version=VERSION).json()
    assert len(first["value"]) == PAGE
    assert f"api-version={VERSION}" in first["nextLink"]


def resource_of(raw: Raw) -> str:
    return raw.call("POST", "/identities", {}, version="2023-10-01").json()["identity"]["id"][6:42]


@pytest.mark.parametrize("after", ["x", "1.2", "-1.99000000000000001", "9" * 17 + ".99000000000000001", "1"])
def test_a_page_nobody_linked_to_is_refused(raw: Raw, after: str) -> None:
    assert raw.call("GET", f"/rooms?after={after}", version=VERSION).status == 400


def create(raw: Raw, body: bytes, request_id: str, first_sent: str | None) -> Any:
    target = f"/rooms?api-version={VERSION}"
    headers = signed_headers(raw.key, raw.host_header, "POST", target, body)
    headers |= {"repeatability-request-id": request_id, "content-type": "application/json"}
    if first_sent is not None:
        headers["repeatability-first-sent"] = first_sent
    return raw.send("POST", target, body, headers)


def test_the_same_request_again_makes_no_second_room(raw: Raw) -> None:
    identifier = str(uuid4())
    first = create(raw, b"{}", identifier, http_date())
    again = create(raw, b"{}", identifier.upper(), http_date())
    assert first.status == again.status == 201
    assert first.json() == again.json()
    assert again.headers["repeatability-result"] == "accepted"
    assert create(raw, b"{}", str(uuid4()), http_date()).json()["id"] != first.json()["id"]
    assert create(raw, b"{}", str(uuid4()), None).status == 201


def test_a_request_that_cannot_be_repeated_is_rejected(raw: Raw) -> None:
    """ACS's REST reference, "repeatable requests": which status and result each has."""
    identifier = str(uuid4())
    assert create(raw, b"{}", identifier, http_date()).status == 201
    long_ago = format_datetime(datetime.now(UTC) - timedelta(minutes=6), usegmt=True)
    for request_id, first_sent, body, status in (
        ("no uuid", http_date(), b"{}", 400),
        (str(uuid4()), "yesterday", b"{}", 400),
        (str(uuid4()), "", b"{}", 400),
        (str(uuid4()), long_ago, b"{}", 412),
        (identifier, http_date(), b'{"pstnDialOutEnabled":true}', 400),
    ):
        rejected = create(raw, body, request_id, first_sent)
        assert rejected.status == status, (request_id, first_sent)
        assert rejected.headers["repeatability-result"] == "rejected"
        assert rejected.json()["error"]["code"] == rejected.headers["x-ms-error-code"]


@pytest.mark.parametrize(
    "body",
    [
        {"validFrom": "yesterday"},
        {"validFrom": "9999-12-31T23:59:59-05:00"},
        {"validUntil": "9999-12-31T23:59:59Z"},
        {"validUntil": "0001-01-01T00:00:00+05:00"},
        {"pstnDialOutEnabled": "yes"},
        {"participants": ["8:acs:x"]},
        {"participants": {"": None}},
        [],
    ],
)
def test_a_request_that_is_none_is_refused(raw: Raw, body: Any) -> None:
    assert raw.call("POST", "/rooms", body, version=VERSION).status == 400


def test_too_many_participants_are_refused(raw: Raw) -> None:
    resource = resource_of(raw)
    people = {f"8:acs:{resource}_{uuid4()}": {"role": "Attendee"} for _ in range(2001)}
    assert raw.call("POST", "/rooms", {"participants": people}, version=VERSION).status == 400
    assert raw.call("DELETE", f"/rooms/{UNKNOWN}", version=VERSION).status == 404


def test_each_version_the_released_sdks_ask_for_is_served(raw: Raw) -> None:
    for version in ("2023-06-14", "2024-04-15", VERSION):
        assert raw.call("POST", "/rooms", {"validFrom": None, "validUntil": None}, version=version).status == 201


def test_an_instant_without_an_offset_is_utc(raw: Raw, landline: Server) -> None:
    ends = (landline.clock.now() + timedelta(days=30)).replace(tzinfo=None, microsecond=0)
    made = raw.call("POST", "/rooms", {"validUntil": f"{ends.isoformat()}.1234567"}, version=VERSION)
    assert made.status in {201, 400}, made
    made = raw.call("POST", "/rooms", {"validUntil": ends.isoformat()}, version=VERSION)
    assert datetime.fromisoformat(made.json()["validUntil"]) == ends.replace(tzinfo=UTC)


async def test_the_client_can_be_given_the_resource_in_each_way(style: Style, given: Callable[[Any], Any]) -> None:
    client = given(client_class(style))
    assert (await result(client.create_room())).id
    await closed(client)
