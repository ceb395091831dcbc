"""Reservations on a real database: lives by the clock, partial failures, the numbers' fates."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.numbers_world import OURS, THEIRS, Reply, World, world

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.services.numbers.reservations import LIFE, LIFE_AT_MOST, NUMBERS_AT_MOST
from landline.store.database import Database

MINUTE = timedelta(minutes=1)
NUMBER: dict[str, Any] = {
    "countryCode": "US",
    "phoneNumberType": "tollFree",
    "assignmentType": "application",
    "capabilities": {"calling": "outbound", "sms": "none"},
}
FIRST, SECOND, THIRD = "18332345600", "18332345601", "18332345602"


@pytest.fixture
async def market(database: Database, dsn: str) -> AsyncGenerator[World]:
    """Three toll-free numbers of the US and one of France for sale."""
    async with world(database, dsn) as made:
        await made.stock(f"number\n+{FIRST}\n+{SECOND}\n+{THIRD}\n+33800123456\n")
        yield made


async def change(market: World, identifier: str, *, by: ResourceId = OURS, **numbers: Any) -> Reply:
    """Add and remove numbers: `n18332345600=NUMBER`, or None."""
    body = {"phoneNumbers": {name[1:]: value for name, value in numbers.items()}}
    return await market.call("PATCH", f"/availablePhoneNumbers/reservations/{identifier}", body, by=by)


async def show(market: World, identifier: str) -> Any:
    return (await market.call("GET", f"/availablePhoneNumbers/reservations/{identifier}")).body


async def purchase(market: World, identifier: str, *, agreed: bool = False) -> Any:
    path = f"/availablePhoneNumbers/reservations/{identifier}/:purchase"
    begun = await market.call("POST", path, {"agreeToNotResell": agreed})
    assert begun.headers["reservation-purchase-id"] == identifier
    return await market.operation(begun)


async def test_it_lives_15_minutes_after_its_last_change_and_2_hours_at_most(market: World) -> None:
    identifier, began = str(uuid4()), market.clock.now()
    made = await change(market, identifier, n18332345600=NUMBER)
    assert made.status == 201
    lived = datetime.fromisoformat(made.body["expiresAt"]) - began
    assert LIFE <= lived < LIFE + MINUTE
    while market.clock.now() - began < LIFE_AT_MOST - MINUTE:
        await market.clock.advance(timedelta(minutes=14))
        if market.clock.now() - began < LIFE_AT_MOST:
            made = await change(market, identifier)
            assert made.status == 200
    assert datetime.fromisoformat(made.body["expiresAt"]) - began < LIFE_AT_MOST + MINUTE
    shown = await show(market, identifier)
    assert (shown["status"], shown["phoneNumbers"][FIRST]["status"]) == ("expired", "expired")
    with pytest.raises(Conflict, match="expired"):
        await change(market, identifier, n18332345601=NUMBER)
    with pytest.raises(Conflict, match="expired"):
        await purchase(market, identifier)
    theirs = await change(market, str(uuid4()), by=THEIRS, n18332345600=NUMBER)
    assert theirs.body["phoneNumbers"][FIRST]["status"] == "reserved"


async def test_an_extended_reservation_keeps_all_its_numbers(market: World) -> None:
    identifier = str(uuid4())
    await change(market, identifier, n18332345600=NUMBER)
    await market.clock.advance(timedelta(minutes=10))
    await change(market, identifier, n18332345601=NUMBER)
    await market.clock.advance(timedelta(minutes=10))
    assert (await change(market, str(uuid4()), by=THEIRS, n18332345600=NUMBER)).status == 207
    assert (await purchase(market, identifier))["status"] == "succeeded"
    assert await market.owned() == [f"+{FIRST}", f"+{SECOND}"]


async def test_a_number_already_in_it_is_ignored_and_null_takes_one_out(market: World) -> None:
    identifier = str(uuid4())
    await change(market, identifier, n18332345600=NUMBER, n18332345601=NUMBER)
    other = {**NUMBER, "capabilities": {"calling": "inbound", "sms": "none"}}
    again = await change(market, identifier, n18332345600=other, n18332345601=None, n18332345602=None)
    assert again.status == 200
    assert {key: each["capabilities"]["calling"] for key, each in again.body["phoneNumbers"].items()} == {
        FIRST: "outbound"
    }
    assert (await change(market, str(uuid4()), by=THEIRS, n18332345601=NUMBER)).status == 201


async def test_what_is_not_for_sale_as_wanted_is_refused_alone(market: World) -> None:
    identifier = str(uuid4())
    satellite = {**NUMBER, "capabilities": {"calling": "none", "sms": "inbound+outbound"}}
    elsewhere = {**NUMBER, "countryCode": "CA"}
    refused = await change(
        market, identifier, n18332345600=NUMBER, n18332345601=elsewhere, n18332349999=NUMBER, nx=NUMBER
    )
    assert refused.status == 207
    assert {key: each["status"] for key, each in refused.body["phoneNumbers"].items()} == {
        FIRST: "reserved",
        SECOND: "error",
        "18332349999": "error",
        "x": "error",
    }
    assert set((await show(market, identifier))["phoneNumbers"]) == {FIRST}
    assert (await change(market, identifier, n18332345602=satellite)).status == 200, "toll-free numbers can text"


async def test_it_is_bought_once_with_the_agreement_where_it_is_needed(market: World) -> None:
    identifier = str(uuid4())
    french = {**NUMBER, "countryCode": "FR"}
    made = await change(market, identifier, n18332345600=NUMBER, n33800123456=french)
    assert made.body["phoneNumbers"]["33800123456"]["isAgreementToNotResellRequired"]
    with pytest.raises(Invalid, match="resell"):
        await purchase(market, identifier)
    ended = await asyncio.gather(*(purchase(market, identifier, agreed=True) for _ in range(4)))
    assert all(each == ended[0] for each in ended)
    assert (ended[0]["status"], ended[0]["operationType"]) == ("succeeded", "reservationPurchase")
    for act in (change(market, identifier), market.call("DELETE", f"/availablePhoneNumbers/reservations/{identifier}")):
        with pytest.raises(Conflict, match="completed"):
            await act
    assert await market.owned() == [f"+{FIRST}", "+33800123456"]


async def test_a_number_given_away_in_the_meantime_fails_alone(market: World) -> None:
    identifier = str(uuid4())
    await change(market, identifier, n18332345600=NUMBER, n18332345601=NUMBER)
    await market.numbers.add(THEIRS, f"+{FIRST}")
    operation = await purchase(market, identifier)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "NumbersPartiallyAcquired")
    shown = await show(market, identifier)
    assert shown["status"] == "completed"
    assert {key: each["status"] for key, each in shown["phoneNumbers"].items()} == {
        FIRST: "error",
        SECOND: "purchased",
    }
    assert shown["phoneNumbers"][FIRST]["error"]["code"] == "PurchaseFailed"
    assert await market.owned() == [f"+{SECOND}"]


async def test_two_who_want_the_same_numbers_share_them(market: World) -> None:
    wanted: dict[str, Any] = {f"n{each}": NUMBER for each in (FIRST, SECOND, THIRD)}
    made = await asyncio.gather(*(change(market, str(uuid4()), by=ResourceId(uuid4()), **wanted) for _ in range(8)))
    got = [key for each in made for key, number in each.body["phoneNumbers"].items() if number["status"] == "reserved"]
    assert sorted(got) == [FIRST, SECOND, THIRD]


async def test_an_empty_or_unknown_one_cannot_be_bought(market: World) -> None:
    identifier = str(uuid4())
    assert (await change(market, identifier)).body["status"] == "active"
    with pytest.raises(Invalid, match="no numbers"):
        await purchase(market, identifier)
    with pytest.raises(NotFound):
        await purchase(market, str(uuid4()))
    with pytest.raises(Invalid, match="UUID"):
        await change(market, "not-a-uuid")
    many: dict[str, Any] = {f"n1833{number}": NUMBER for number in range(2_000_000, 2_000_000 + NUMBERS_AT_MOST + 1)}
    with pytest.raises(Invalid, match="at most"):
        await change(market, identifier, **many)
    assert (await show(market, identifier))["phoneNumbers"] == {}
