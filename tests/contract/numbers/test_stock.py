"""The operator's numbers for sale: import, ranges, paging, taking off; and what of them the public API shows."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.numbers_world import OURS, World, world

from landline.core.errors import Conflict, Invalid, NotFound
from landline.store.database import Database


@pytest.fixture
async def market(database: Database, dsn: str) -> AsyncGenerator[World]:
    async with world(database, dsn) as made:
        yield made


CSV = """number,country,kind,assignments,sms,calling,areaCode,locality,division,cost,currency,notResell,carrier
+12062345678,US,geographic,person|application,none,inbound+outbound,206,Seattle,WA,0.80,USD,yes,north
+442079460000,,,,,,,London,,1.5,GBP,,south
55512,US,shortCode,,,,,,,500,,,north
"""


async def test_a_file_says_all_about_numbers_or_only_the_numbers(market: World) -> None:
    assert (await market.stock("\ufeff" + CSV)).body == {"added": 3, "known": 0}
    shown = {each["number"]: each for each in (await market.administer("GET", "/numbers/stock")).body["value"]}
    assert shown["+12062345678"] == {
        "number": "+12062345678",
        "country": "US",
        "kind": "geographic",
        "assignments": ["person", "application"],
        "capabilities": {"calling": "inbound+outbound", "sms": "none"},
        "cost": 0.8,
        "currency": "USD",
        "notResell": True,
        "status": "free",
        "areaCode": "206",
        "locality": "Seattle",
        "division": "WA",
        "carrier": "north",
    }
    london = shown["+442079460000"]
    assert (london["country"], london["kind"], london["areaCode"], london["currency"]) == (
        "GB",
        "geographic",
        "20",
        "GBP",
    )
    assert (shown["55512"]["kind"], shown["55512"]["capabilities"]["calling"]) == ("shortCode", "none")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "first line"),
        ("phone\n+12062345678\n", "first line"),
        ("number,number\n+12062345678,1\n", "first line"),
        ("number\n+12062345678\nhello there world\n", "line 3"),
        ("number\nSHOP\n", "Names are not sold"),
        ("number\n+1\n", "line 2"),
        ("number,sms\n+12062345678,sometimes\n", "sms"),
        ("number,kind\n+12062345678,tollFree\n", "by its form"),
        ("number,cost\n+12062345678,-1\n", "cost"),
        ("number,cost\n+12062345678,NaN\n", "cost"),
        ("number,country\n+12062345678,XX\n", "country"),
        ("number,notResell\n+12062345678,perhaps\n", "notResell"),
        ("number,division\n+12062345678,WA\n", "division"),
        ("number\n+12062345678,more\n", "more values"),
        ('number\n"+12062345678\n', "not CSV"),
        ('"number', "not CSV"),
        ("number\r+12062345678\r", "not CSV"),
        ("number,locality\n+12062345678,\0\n", "NUL"),
    ],
)
async def test_a_bad_file_adds_nothing_and_says_why(market: World, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refused:
        await market.stock(text)
    assert refused.value.errors
    assert (await market.administer("GET", "/numbers/stock")).body == {"value": []}


async def test_a_file_that_is_not_text_is_refused(market: World) -> None:
    with pytest.raises(Invalid, match="UTF-8"):
        await market.administer("POST", "/numbers/stock:import", b"number\n\xff\n")


async def test_a_range_is_all_numbers_between_two(market: World) -> None:
    body = {"first": "+18332345600", "last": "+18332345699", "values": {"carrier": "north", "cost": "2"}}
    assert (await market.administer("POST", "/numbers/stock:addRange", body)).body == {"added": 100, "known": 0}
    pages: list[str] = []
    after = ""
    while after is not None:
        page = (await market.administer("GET", f"/numbers/stock?top=30&after={after.replace('+', '%2B')}")).body
        pages += [each["number"] for each in page["value"]]
        after = page.get("nextAfter")
    assert pages == [f"+183323456{number:02d}" for number in range(100)]
    for first, last in [
        ("+18332345699", "+18332345600"),
        ("+1833", "+18332345600"),
        ("+1", "x"),
        ("+18330000000", "+18339999999"),
    ]:
        with pytest.raises(Invalid):
            await market.administer("POST", "/numbers/stock:addRange", {"first": first, "last": last})


async def test_only_what_nobody_has_can_be_taken_off(market: World) -> None:
    await market.stock("number\n+18332345600\n+18332345601\n")
    search = await market.search()
    held = (await market.found(search))["phoneNumbers"][0]
    free = ({"+18332345600", "+18332345601"} - {held}).pop()
    with pytest.raises(Conflict):
        await market.administer("DELETE", f"/numbers/stock/{held}")
    assert (await market.administer("DELETE", f"/numbers/stock/{free}")).status == 204
    with pytest.raises(NotFound):
        await market.administer("DELETE", f"/numbers/stock/{free}")
    await market.buy(search)
    with pytest.raises(Conflict):
        await market.administer("DELETE", f"/numbers/stock/{held}")
    await market.numbers.remove(OURS, held)
    assert (await market.administer("DELETE", f"/numbers/stock/{held}")).status == 204


async def test_a_number_that_a_resource_has_already_is_not_sold(market: World) -> None:
    await market.numbers.add(OURS, "+18332345600")
    await market.stock("number\n+18332345600\n+18332345601\n")
    await market.numbers.add(OURS, "+18332345601")
    body = {"phoneNumberType": "tollFree"}
    browsed = await market.call("POST", "/availablePhoneNumbers/countries/US/:browse", body)
    assert browsed.body == {"phoneNumbers": []}
    await market.numbers.remove(OURS, "+18332345600")
    browsed = await market.call("POST", "/availablePhoneNumbers/countries/US/:browse", body)
    assert [each["phoneNumber"] for each in browsed.body["phoneNumbers"]] == ["+18332345600"]


async def test_the_public_lists_show_what_is_for_sale(market: World) -> None:
    await market.stock(CSV)
    base = "/availablePhoneNumbers/countries"
    assert [each["countryCode"] for each in (await market.call("GET", base)).body["countries"]] == ["GB", "US"]
    towns = (await market.call("GET", f"{base}/US/localities")).body["phoneNumberLocalities"]
    assert towns == [
        {"localizedName": "Seattle", "administrativeDivision": {"localizedName": "WA", "abbreviatedName": "WA"}}
    ]
    codes = (await market.call("GET", f"{base}/GB/areaCodes?phoneNumberType=geographic&locality=london")).body
    assert codes == {"areaCodes": [{"areaCode": "20"}]}
    offerings = (await market.call("GET", f"{base}/US/offerings?assignmentType=person")).body["phoneNumberOfferings"]
    assert [(each["phoneNumberType"], each["cost"]["amount"]) for each in offerings] == [("geographic", 0.8)]
    assert (await market.call("GET", f"{base}/IE/offerings")).body == {"phoneNumberOfferings": []}
    for query in ("", "?phoneNumberType=", "?phoneNumberType=alphanumeric"):
        with pytest.raises(Invalid):
            await market.call("GET", f"{base}/US/areaCodes{query}")
    for query in ("skip=-1", "skip=x", "maxPageSize=0", "maxPageSize=99999999999"):
        with pytest.raises(Invalid):
            await market.call("GET", f"{base}?{query}")


async def test_browsing_goes_by_prefix_and_least_capabilities(market: World) -> None:
    await market.stock("number,sms\n+12062345678,outbound\n+14252345678,inbound+outbound\n+14252345679,none\n")
    wanted = {
        "phoneNumberType": "geographic",
        "capabilities": {"sms": "outbound"},
        "phoneNumberPrefixes": ["1425", "1999"],
    }
    browsed = await market.call("POST", "/availablePhoneNumbers/countries/us/:browse", wanted)
    assert [each["id"] for each in browsed.body["phoneNumbers"]] == ["14252345678"]
    for prefix in ("", "+", "++1425", "%", "1_25", "1" * 16):
        with pytest.raises(Invalid):
            await market.call(
                "POST", "/availablePhoneNumbers/countries/US/:browse", {**wanted, "phoneNumberPrefixes": [prefix]}
            )
