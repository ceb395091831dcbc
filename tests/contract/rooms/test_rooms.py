"""Rooms through their service on a real database: who may join when, ends by the clock, what happens at once."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from landline.core.errors import Invalid, NotFound
from landline.core.ids import RawId, ResourceId, user_raw_id
from landline.engines.clock import DrivenClock
from landline.services.rooms import model
from landline.services.rooms.model import Rejected, Repeatable, Role
from landline.services.rooms.service import Rooms
from landline.services.rooms.worker import RoomsWorker
from landline.store.database import Database

OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> DrivenClock:
    return DrivenClock()


@pytest.fixture
def rooms(database: Database, clock: DrivenClock) -> Rooms:
    return Rooms(database, clock)


@pytest.fixture
async def worker(rooms: Rooms, clock: DrivenClock) -> AsyncGenerator[None]:
    running = asyncio.create_task(RoomsWorker(rooms, clock).run())
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def someone(resource: ResourceId = OURS) -> RawId:
    return user_raw_id(resource, uuid4())


async def test_participants_may_join_while_the_room_is_open(rooms: Rooms, clock: DrivenClock) -> None:
    user, now = someone(), clock.now()
    room = await rooms.create(OURS, valid_from=now + DAY, valid_until=now + 2 * DAY, roles={user: "Consumer"})
    opens, ends = room.valid_from, room.valid_until
    moment = timedelta(microseconds=1)
    assert await rooms.may_join(OURS, room.room_id, user, opens - moment) is None
    assert await rooms.may_join(OURS, room.room_id, user, opens) is Role.CONSUMER
    assert await rooms.may_join(OURS, room.room_id, user, ends - moment) is Role.CONSUMER
    assert await rooms.may_join(OURS, room.room_id, user, ends) is None


async def test_nobody_else_may_join(rooms: Rooms, clock: DrivenClock) -> None:
    user = someone()
    room = await rooms.create(OURS, roles={user: None})
    now = clock.now()
    assert await rooms.may_join(OURS, room.room_id, user, now) is Role.ATTENDEE
    assert await rooms.may_join(OURS, room.room_id, someone(), now) is None
    assert await rooms.may_join(THEIRS, room.room_id, user, now) is None
    assert await rooms.may_join(OURS, "99000000000000001", user, now) is None
    assert await rooms.may_join(OURS, "no room", user, now) is None
    assert await rooms.may_join(OURS, room.room_id, RawId("4:+14255550123"), now) is None


async def test_a_change_counts_at_once(rooms: Rooms, clock: DrivenClock) -> None:
    user = someone()
    room = await rooms.create(OURS, roles={user: "Attendee"})
    await rooms.update_participants(OURS, room.room_id, {user: "Presenter"}, [])
    assert await rooms.may_join(OURS, room.room_id, user, clock.now()) is Role.PRESENTER
    await rooms.update_participants(OURS, room.room_id, {}, [user])
    assert await rooms.may_join(OURS, room.room_id, user, clock.now()) is None
    await rooms.update_participants(OURS, room.room_id, {user: "Presenter"}, [])
    await rooms.delete(OURS, room.room_id)
    assert await rooms.may_join(OURS, room.room_id, user, clock.now()) is None


async def test_a_room_of_another_resource_is_not_there(rooms: Rooms) -> None:
    room = await rooms.create(OURS)
    assert await rooms.page(THEIRS, None, 10) == []
    for call in (
        rooms.get(THEIRS, room.room_id),
        rooms.delete(THEIRS, room.room_id),
        rooms.update(THEIRS, room.room_id, dial_out=True),
        rooms.update_participants(THEIRS, room.room_id, {}, []),
        rooms.participants(THEIRS, room.room_id, limit=1),
    ):
        with pytest.raises(NotFound):
            await call
    assert await rooms.get(OURS, room.room_id) == room


@pytest.mark.usefixtures("worker")
async def test_an_ended_room_stays_a_while_and_then_goes(rooms: Rooms, clock: DrivenClock) -> None:
    user, now = someone(), clock.now()
    room = await rooms.create(OURS, valid_until=now + DAY, roles={user: None})
    staying = await rooms.create(OURS, valid_until=now + 90 * DAY)
    await clock.advance(2 * DAY)
    assert await rooms.may_join(OURS, room.room_id, user, clock.now()) is None
    assert await rooms.get(OURS, room.room_id) == room
    with pytest.raises(Invalid):
        await rooms.update(OURS, room.room_id, dial_out=True)
    await clock.advance(model.KEPT - 3 * DAY)
    assert await rooms.get(OURS, room.room_id) == room
    await clock.advance(4 * DAY)
    assert await rooms.page(OURS, None, 10) == [staying]


@pytest.mark.usefixtures("worker")
async def test_an_ended_room_can_be_opened_again(rooms: Rooms, clock: DrivenClock) -> None:
    user, now = someone(), clock.now()
    room = await rooms.create(OURS, valid_until=now + DAY, roles={user: "Presenter"})
    await clock.advance(2 * DAY)
    await rooms.update(OURS, room.room_id, valid_until=clock.now() + 60 * DAY)
    await clock.advance(model.KEPT + 10 * DAY)
    assert await rooms.may_join(OURS, room.room_id, user, clock.now()) is Role.PRESENTER


async def test_pruning_reaches_every_room_that_ended_long_ago(
    rooms: Rooms, clock: DrivenClock, database: Database
) -> None:
    now = clock.now()
    await database.execute(
        "INSERT INTO rooms_room SELECT $1, '99' || lpad(number::text, 15, '0'), $2, $2, $3, false, NULL"
        " FROM generate_series(1, 2500) AS number",
        OURS,
        now - 40 * DAY,
        now - 31 * DAY,
    )
    kept = await rooms.create(OURS)
    await rooms.prune()
    assert await rooms.page(OURS, None, 10) == [kept]


async def test_the_same_request_at_once_makes_one_room(rooms: Rooms) -> None:
    request = Repeatable(uuid4(), b"digest")
    made = await asyncio.gather(*(rooms.create(OURS, repeatable=request) for _ in range(20)))
    assert len({room.room_id for room in made}) == 1
    assert await rooms.page(OURS, None, 10) == made[:1]
    other = await rooms.create(THEIRS, repeatable=request)
    assert other.room_id != made[0].room_id
    with pytest.raises(Rejected):
        await rooms.create(OURS, repeatable=Repeatable(request.request_id, b"another"))


async def test_changes_of_participants_at_once_lose_nobody(rooms: Rooms) -> None:
    room = await rooms.create(OURS)
    people = [someone() for _ in range(40)]
    await asyncio.gather(
        *(rooms.update_participants(OURS, room.room_id, {person: "Attendee"}, []) for person in people)
    )
    found = await rooms.participants(OURS, room.room_id, limit=100)
    assert {participant.raw_id for participant in found} == set(people)


async def test_the_bound_on_participants_holds_over_many_changes(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "PARTICIPANTS", 10)
    room = await rooms.create(OURS)
    done = await asyncio.gather(
        *(rooms.update_participants(OURS, room.room_id, {someone(): None}, []) for _ in range(15)),
        return_exceptions=True,
    )
    assert len([outcome for outcome in done if isinstance(outcome, Invalid)]) == 5
    assert len(await rooms.participants(OURS, room.room_id, limit=100)) == 10


async def test_pages_hold_every_room_once_the_youngest_first(rooms: Rooms) -> None:
    made = [await rooms.create(OURS) for _ in range(7)]
    seen = await rooms.page(OURS, None, 3)
    while page := await rooms.page(OURS, (seen[-1].created_at, seen[-1].room_id), 3):
        seen += page
    assert seen == sorted(made, key=lambda room: (room.created_at, room.room_id), reverse=True)


async def test_a_room_open_from_the_callers_now_ends_by_itself_180_days_later(rooms: Rooms, clock: DrivenClock) -> None:
    """Whoever says "from now" has read the clock before us: the end nobody named may not be what is refused."""
    earlier = clock.now() - timedelta(milliseconds=20)
    room = await rooms.create(OURS, valid_from=earlier)
    assert (room.valid_from, room.valid_until) == (earlier, earlier + model.LONGEST)
