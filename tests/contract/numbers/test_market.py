"""Buying and releasing on a real database: one number, one owner; holds that end; operations that survive."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.support.numbers_world import OURS, THEIRS, World, world
from tests.support.portions import portions

from landline.core.errors import Conflict, Forbidden, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.services.numbers.inventory import HELD_AT_MOST, TooManyHeld
from landline.services.numbers.purchases import SEARCH_LIFE, Expired
from landline.services.numbers.worker import NumbersWorker
from landline.store.database import Database

FIVE = "number,carrier,cost\n" + "".join(f"+1833234560{last},north,1.50\n" for last in range(5))


@pytest.fixture
async def market(database: Database, dsn: str) -> AsyncGenerator[World]:
    """Nothing for sale but what a test puts there."""
    async with world(database, dsn) as made:
        yield made


async def test_real_numbers_are_sold_with_their_carrier_and_cost(market: World) -> None:
    assert (await market.stock(FIVE)).body == {"added": 5, "known": 0}
    assert (await market.stock(FIVE)).body == {"added": 0, "known": 5}
    search = await market.search(quantity=2)
    found = await market.found(search)
    assert len(found["phoneNumbers"]) == 2
    assert found["cost"] == {"amount": 1.5, "currencyCode": "USD", "billingFrequency": "monthly"}
    assert (await market.buy(search))["status"] == "succeeded"
    assert await market.owned() == found["phoneNumbers"]
    owner = await market.numbers.owner(found["phoneNumbers"][0])
    assert owner is not None
    assert (owner.resource, owner.carrier, owner.calling_outbound, owner.sms_outbound) == (OURS, "north", True, False)
    shown = (await market.administer("GET", "/numbers/stock")).body["value"]
    assert sorted(each["status"] for each in shown) == ["free", "free", "free", "owned", "owned"]
    assert {each.get("owner") for each in shown} == {None, "ours"}


async def test_a_released_number_is_for_sale_again(market: World) -> None:
    await market.stock("number\n+18332345600\n")
    await market.buy(await market.search())
    assert (await market.operation(await market.call("POST", *_search())))["error"]["code"] == "OutOfStock"
    released = await market.call("DELETE", "/phoneNumbers/%2B18332345600")
    assert (await market.operation(released))["operationType"] == "releasePhoneNumber"
    assert await market.numbers.owner("+18332345600") is None
    with pytest.raises(NotFound, match="cannot be found"):
        await market.call("DELETE", "/phoneNumbers/+18332345600")
    search = await market.search(by=THEIRS)
    assert (await market.buy(search, by=THEIRS))["status"] == "succeeded"
    assert await market.owned(THEIRS) == ["+18332345600"]


def _search() -> tuple[str, dict[str, object]]:
    body: dict[str, object] = {
        "phoneNumberType": "tollFree",
        "assignmentType": "application",
        "capabilities": {"sms": "none", "calling": "outbound"},
    }
    return "/availablePhoneNumbers/countries/US/:search", body


async def test_of_many_buyers_each_number_has_one(market: World) -> None:
    await market.stock("number\n" + "".join(f"+18332345{last:03d}\n" for last in range(40)))
    buyers = [ResourceId(UUID(int=number)) for number in range(1, 81)]

    async def buy(buyer: ResourceId) -> bool:
        begun = await market.call("POST", *_search(), by=buyer)
        if (await market.operation(begun, by=buyer))["status"] == "failed":
            return False
        return (await market.buy(begun.headers["search-id"], by=buyer))["status"] == "succeeded"

    sold = await asyncio.gather(*(buy(buyer) for buyer in buyers))
    assert sum(sold) == 40
    every = [number for buyer in buyers for number in await market.owned(buyer)]
    assert len(every) == len(set(every)) == 40


async def test_a_search_bought_many_times_at_once_is_bought_once(market: World) -> None:
    await market.stock(FIVE)
    search = await market.search(quantity=5)
    ended = await asyncio.gather(*(market.buy(search) for _ in range(6)))
    assert all(each == ended[0] for each in ended)
    assert len(await market.owned()) == 5
    await market.call("DELETE", "/phoneNumbers/+18332345600")
    assert (await market.buy(search)) == ended[0], "a late repetition buys nothing again"
    assert len(await market.owned()) == 4


async def test_an_expired_search_sells_nothing_and_its_numbers_are_free(market: World) -> None:
    await market.stock("number\n+18332345600\n")
    search = await market.search()
    await market.clock.advance(SEARCH_LIFE - timedelta(seconds=1))
    assert (await market.found(search))["phoneNumbers"] == ["+18332345600"]
    await market.clock.advance(timedelta(seconds=2))
    found = await market.found(search)
    assert (found["phoneNumbers"], found["error"], found["errorCode"]) == ([], "ReservationExpired", 12)
    with pytest.raises(Expired):
        await market.buy(search)
    theirs = await market.search(by=THEIRS)
    assert (await market.found(theirs, by=THEIRS))["phoneNumbers"] == ["+18332345600"]
    with pytest.raises(Expired):
        await market.buy(search)
    assert (await market.buy(theirs, by=THEIRS))["status"] == "succeeded"


async def test_a_cancelled_search_gives_its_numbers_back(market: World) -> None:
    await market.stock("number\n+18332345600\n")
    search = await market.search()
    assert (await market.call("DELETE", f"/phoneNumbers/operations/search_{search}")).status == 204
    assert (await market.call("DELETE", f"/phoneNumbers/operations/search_{search}")).status == 204
    with pytest.raises(Conflict, match="cancelled"):
        await market.buy(search)
    other = await market.search()
    await market.buy(other)
    for operation in (f"search_{other}", f"purchase_{other}"):
        with pytest.raises(Conflict):
            await market.call("DELETE", f"/phoneNumbers/operations/{operation}")
    with pytest.raises(NotFound):
        await market.call("DELETE", "/phoneNumbers/operations/purchase_nothing")


async def test_what_an_operator_gave_away_is_not_sold_and_the_rest_is(market: World) -> None:
    await market.stock(FIVE)
    search = await market.search(quantity=3)
    first, *rest = (await market.found(search))["phoneNumbers"]
    await market.numbers.add(THEIRS, first)
    operation = await market.buy(search)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "NumbersPartiallyAcquired")
    assert await market.owned() == rest
    assert (await market.found(search))["error"] == "NumbersPartiallyAcquired"
    last = await market.search(quantity=2)
    for number in (await market.found(last))["phoneNumbers"]:
        await market.numbers.add(THEIRS, number)
    assert (await market.buy(last))["error"]["code"] == "AllNumbersNotAcquired"
    assert await market.owned() == rest


async def test_other_resources_see_and_touch_nothing_of_ours(market: World) -> None:
    await market.stock(FIVE)
    search = await market.search(quantity=2)
    number = (await market.found(search))["phoneNumbers"][0]
    identifier = str(uuid4())
    reserved = {"phoneNumbers": {"18332345604": _number()}}
    path = f"/availablePhoneNumbers/reservations/{identifier}"
    assert (await market.call("PATCH", path, reserved)).status == 201
    with pytest.raises(NotFound):
        await market.found(search, by=THEIRS)
    with pytest.raises(NotFound):
        await market.buy(search, by=THEIRS)
    await market.buy(search)
    for method, target, body in [
        ("GET", f"/phoneNumbers/operations/purchase_{search}", None),
        ("DELETE", f"/phoneNumbers/operations/search_{search}", None),
        ("GET", f"/phoneNumbers/{number}", None),
        ("DELETE", f"/phoneNumbers/{number}", None),
        ("PATCH", f"/phoneNumbers/{number}/capabilities", {"sms": "outbound"}),
        ("GET", path, None),
        ("DELETE", path, None),
        ("POST", f"{path}/:purchase", {}),
    ]:
        with pytest.raises(NotFound):
            await market.call(method, target, body, by=THEIRS)
    assert await market.owned(THEIRS) == []
    assert (await market.call("GET", "/availablePhoneNumbers/reservations", by=THEIRS)).body == {"reservations": []}
    # The same reservation id is theirs to use, and is another reservation.
    assert (await market.call("PATCH", path, reserved, by=THEIRS)).status == 207
    assert (await market.call("GET", path)).body["phoneNumbers"]["18332345604"]["status"] == "reserved"


def _number(country: str = "US", kind: str = "tollFree", **capabilities: str) -> dict[str, object]:
    return {
        "countryCode": country,
        "phoneNumberType": kind,
        "assignmentType": "application",
        "capabilities": {"calling": "outbound", "sms": "none", **capabilities},
    }


async def test_nobody_holds_the_whole_shelf(market: World) -> None:
    await market.stock("number\n" + "".join(f"+1833234{last:04d}\n" for last in range(HELD_AT_MOST + 50)))
    for _ in range(HELD_AT_MOST // 100):
        await market.search(quantity=5000)
    with pytest.raises(TooManyHeld) as refused:
        await market.search()
    assert isinstance(refused.value, Forbidden)
    assert len((await market.found(await market.search(by=THEIRS), by=THEIRS))["phoneNumbers"]) == 1
    await market.clock.advance(SEARCH_LIFE)
    await market.search()


async def test_capabilities_change_within_what_the_number_can_do(market: World) -> None:
    await market.stock("number,sms,calling\n+18332345600,outbound,inbound+outbound\n")
    await market.buy(await market.search())
    path = "/phoneNumbers/+18332345600/capabilities"
    changed = await market.call("PATCH", path, {"sms": "outbound", "calling": None})
    operation = await market.operation(changed)
    assert operation["resourceLocation"] == changed.headers["location"]
    shown = (await market.call("GET", changed.headers["location"])).body
    assert shown["capabilities"] == {"calling": "outbound", "sms": "outbound"}
    for refused in ({"sms": "inbound"}, {"calling": "sometimes"}):
        with pytest.raises(Invalid):
            await market.call("PATCH", path, refused)
    assert (await market.call("PATCH", path)).status == 202
    by_hand = await market.numbers.add(OURS, "55501")
    with pytest.raises(Invalid):
        await market.call("PATCH", f"/phoneNumbers/{by_hand.number}/capabilities", {"calling": "inbound"})


async def test_what_has_ended_is_cleared_away(market: World) -> None:
    await market.stock(FIVE)
    sold, left = await market.search(), await market.search()
    await market.buy(sold)
    worker = NumbersWorker(market.database, market.clock)
    await market.clock.advance(SEARCH_LIFE)
    await worker.clear()
    assert await market.database.fetchval("SELECT count(*) FROM numbers_holds") == 1
    assert (await market.found(left))["error"] == "ReservationExpired"
    await market.clock.advance(timedelta(days=32))
    await worker.clear()
    with pytest.raises(NotFound):
        await market.found(left)
    with pytest.raises(NotFound):
        await market.call("GET", f"/phoneNumbers/operations/purchase_{sold}")
    assert len(await market.owned()) == 1


async def test_what_has_ended_is_cleared_away_in_portions(market: World) -> None:
    """A statement that took all would be given up after the pool's time, and then each hour again."""
    await market.stock(FIVE)
    kept = await market.search()
    tables = ("numbers_holds", "numbers_searches", "numbers_operations", "numbers_reservations")
    taken = await portions(market.database, *tables)
    old = market.clock.now() - timedelta(days=32)
    for table, columns, values in (
        (
            "numbers_holds",
            "number, resource_id, holder, expires_at, country, kind, assignment, sms, calling, offered_sms,"
            " offered_calling, cost, currency, not_resell",
            "i::text, $1, $1, $2, '', '', '', '', '', '', '', 1, 'USD', false",
        ),
        (
            "numbers_searches",
            "search_id, resource_id, state, kind, assignment, sms, calling, numbers, cost, currency, not_resell,"
            " expires_at",
            "gen_random_uuid(), $1, '', '', '', '', '', '{}', 1, 'USD', false, $2",
        ),
        ("numbers_operations", "operation_id, resource_id, type, created_at", "i::text, $1, '', $2"),
        (
            "numbers_reservations",
            "reservation_id, resource_id, state, created_at, expires_at",
            "gen_random_uuid(), $1, '', $2, $2",
        ),
    ):
        sql = f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, 1001) AS i"
        await market.database.execute(sql, OURS, old)
    await NumbersWorker(market.database, market.clock).clear()
    for table in tables:
        assert await taken(table) == [1000, 1]
    assert len((await market.found(kept))["phoneNumbers"]) == 1


async def test_operations_are_polled_in_another_process(market: World, database: Database, dsn: str) -> None:
    await market.stock(FIVE)
    search = await market.search()
    bought = await market.buy(search)
    async with world(database, dsn) as other:
        assert (await other.call("GET", f"/phoneNumbers/operations/purchase_{search}")).body == bought
        assert await other.owned() == await market.owned()
        assert await other.buy(search) == bought


async def test_who_releases_the_numbers_of_a_page_is_shown_all_others_on_the_next_ones(market: World) -> None:
    await market.stock(FIVE)
    await market.buy(await market.search(quantity=5))
    every, link = await market.owned(), "/phoneNumbers?skip=1&top=2"
    shown: list[str] = []
    while link:
        page = (await market.call("GET", link)).body
        numbers = [each["phoneNumber"] for each in page["phoneNumbers"]]
        for number in numbers:
            await market.operation(await market.call("DELETE", f"/phoneNumbers/{number}"))
        shown += numbers
        link = page.get("nextLink")
    assert shown == every[1:]
    assert await market.owned() == every[:1]
