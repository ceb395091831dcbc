"""The inventory of senders: kinds and capabilities, one owner per number, caches that see a change at once."""

import asyncio
import json
from collections.abc import AsyncGenerator
from uuid import UUID

import pytest
from tests.support.patience import PATIENCE_S

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.edge.http import Request, Response
from landline.edge.routes import Router
from landline.engines.clock import SystemClock
from landline.services.numbers import admin, model
from landline.services.numbers.model import Directions, OwnedNumber
from landline.services.numbers.service import Numbers
from landline.store.changes import Changes
from landline.store.database import Database

OURS = ResourceId(UUID(int=1))
THEIRS = ResourceId(UUID(int=2))


@pytest.fixture
async def changes(dsn: str) -> AsyncGenerator[Changes]:
    changes = Changes(dsn)
    await changes.start()
    yield changes
    await changes.close()


@pytest.fixture
def numbers(database: Database, changes: Changes) -> Numbers:
    return Numbers(database, SystemClock(), changes)


def owned(number: str, kind: SenderKind | None = None) -> OwnedNumber:
    return model.owned(OURS, number, kind=kind, sms=None, calling=None, carrier=None)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+18005550100", SenderKind.TOLL_FREE),
        ("+14255550100", SenderKind.GEOGRAPHIC),
        ("+15551234567", SenderKind.GEOGRAPHIC),  # in no known range: possible, and test numbers are such
        ("+33612345678", SenderKind.MOBILE),
        ("+442071838750", SenderKind.GEOGRAPHIC),
        ("+448081570000", SenderKind.TOLL_FREE),
        ("55501", SenderKind.SHORT_CODE),
        ("555012", SenderKind.SHORT_CODE),
        ("LANDLINE", SenderKind.ALPHANUMERIC),
        ("My Shop & Co", None),
        ("Shop-24", SenderKind.ALPHANUMERIC),
        ("5550", None),
        ("5550123", None),
        ("+12", None),
        ("+1425555010", None),
        ("+142555501000", None),
        ("+99912345678", None),
        ("14255550100", None),
        ("", None),
        ("Tschüss", None),
    ],
)
def test_a_senders_kind_follows_from_its_form(number: str, kind: SenderKind | None) -> None:
    if kind is None:
        with pytest.raises(Invalid) as refused:
            owned(number)
        assert refused.value.target == "number"
    else:
        assert owned(number).kind is kind


def test_a_kind_may_be_chosen_where_the_form_leaves_it_open() -> None:
    assert owned("+442071838750", SenderKind.MOBILE).kind is SenderKind.MOBILE
    for number, kind in (("+18005550100", SenderKind.GEOGRAPHIC), ("55501", SenderKind.ALPHANUMERIC)):
        with pytest.raises(Invalid, match="by its form"):
            owned(number, kind)


def test_capabilities_are_those_of_the_kind_and_cannot_go_beyond_it() -> None:
    assert (owned("LANDLINE").sms, owned("LANDLINE").calling) == (Directions.OUTBOUND, Directions.NONE)
    assert owned("+14255550100").sms is Directions.BOTH
    with pytest.raises(Invalid, match="cannot receive"):
        model.owned(OURS, "LANDLINE", kind=None, sms=Directions.BOTH, calling=None, carrier=None)
    with pytest.raises(Invalid, match="cannot call"):
        model.owned(OURS, "55501", kind=None, sms=None, calling=Directions.INBOUND, carrier=None)


async def test_a_number_has_one_owner_and_a_name_may_have_several(numbers: Numbers) -> None:
    added = await numbers.add(OURS, "+14255550100", carrier="north")
    await numbers.add(OURS, "SHOP")
    await numbers.add(THEIRS, "SHOP")
    with pytest.raises(Conflict, match="Another resource"):
        await numbers.add(THEIRS, "+14255550100")
    with pytest.raises(Conflict, match="already"):
        await numbers.add(OURS, "SHOP")
    assert await numbers.owner("+14255550100") == added
    assert await numbers.owner("SHOP") is None
    assert await numbers.sender(THEIRS, "+14255550100") is None
    assert [number.number for number in await numbers.list(OURS)] == ["+14255550100", "SHOP"]


async def test_of_many_that_want_a_number_at_once_one_gets_it(numbers: Numbers) -> None:
    wanted = [numbers.add(ResourceId(UUID(int=index)), "55501") for index in range(1, 9)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert [type(result) for result in results].count(OwnedNumber) == 1
    assert [type(result) for result in results].count(Conflict) == 7


async def test_a_change_is_seen_at_once_here_and_soon_in_other_processes(
    numbers: Numbers, database: Database, dsn: str
) -> None:
    there = Changes(dsn)
    await there.start()
    heard = asyncio.Event()
    other = Numbers(database, SystemClock(), there)
    there.watch("numbers", lambda _: heard.set())
    try:
        assert await numbers.sender(OURS, "55501") is None
        assert await other.sender(OURS, "55501") is None
        assert await other.owner("55501") is None
        added = await numbers.add(OURS, "55501")
        assert await numbers.sender(OURS, "55501") == added
        await asyncio.wait_for(heard.wait(), PATIENCE_S)
        assert await other.sender(OURS, "55501") == await other.owner("55501") == added
        await numbers.remove(OURS, "55501")
        assert await numbers.sender(OURS, "55501") is None
        with pytest.raises(NotFound):
            await numbers.remove(OURS, "55501")
    finally:
        await there.close()


async def test_without_news_of_changes_the_database_is_asked(numbers: Numbers, database: Database, dsn: str) -> None:
    deaf = Numbers(database, SystemClock(), Changes(dsn))
    assert await deaf.sender(OURS, "55501") is None
    added = await numbers.add(OURS, "55501")
    assert await deaf.sender(OURS, "55501") == added


async def test_what_can_be_no_sender_is_nobodys_and_nothing_is_asked_or_kept_of_it(
    database: Database, changes: Changes
) -> None:
    numbers = Numbers(database, SystemClock(), changes)
    await database.close()
    for address in ("1" * 60_000, "", "+1²³", "\x1b[2J"):  # as carriers may bring them
        assert await numbers.owner(address) is None
        assert await numbers.sender(OURS, address) is None


async def test_dev_numbers_are_there_once_and_stay_with_their_first_owner(numbers: Numbers) -> None:
    first = await numbers.ensure_dev_numbers(OURS)
    assert {number.number: number.kind for number in first} == {
        "+18005550100": SenderKind.TOLL_FREE,
        "+14255550100": SenderKind.GEOGRAPHIC,
        "55501": SenderKind.SHORT_CODE,
        "LANDLINE": SenderKind.ALPHANUMERIC,
    }
    assert await numbers.ensure_dev_numbers(OURS) == first
    assert [number.number for number in await numbers.ensure_dev_numbers(THEIRS)] == ["LANDLINE"]


async def call(router: Router, method: str, target: str, body: object = None) -> Response:
    route, params = router.find(method, target)
    octets = json.dumps(body).encode() if body is not None else b""
    return await route.handler(Request(method, target, {}, octets, "request", params=params))


async def test_the_admin_api_adds_lists_and_removes(numbers: Numbers) -> None:
    async def resource_named(name: str) -> ResourceId:
        if name != "local":
            raise NotFound("There is no such resource.")
        return OURS

    router = Router(admin.routes(numbers, resource_named, lambda _carrier: None))
    added = await call(router, "POST", "/resources/local/numbers", {"number": "+14255550100", "carrier": "north"})
    shown = {
        "number": "+14255550100",
        "kind": "geographic",
        "capabilities": {"calling": "none", "sms": "inbound+outbound"},
        "carrier": "north",
    }
    assert (added.status, json.loads(added.body)) == (201, shown)
    quiet = {"number": "55501", "capabilities": {"sms": "outbound", "calling": "none"}}
    assert json.loads((await call(router, "POST", "/resources/local/numbers", quiet)).body)["capabilities"] == {
        "calling": "none",
        "sms": "outbound",
    }
    listed = json.loads((await call(router, "GET", "/resources/local/numbers")).body)["value"]
    assert listed[0] == shown
    assert len(listed) == 2
    assert (await call(router, "DELETE", "/resources/local/numbers/%2B14255550100")).status == 204
    assert (await call(router, "DELETE", "/resources/local/numbers/55501")).status == 204
    assert json.loads((await call(router, "GET", "/resources/local/numbers")).body) == {"value": []}
    with pytest.raises(Invalid, match="Must be one of"):
        await call(router, "POST", "/resources/local/numbers", {"number": "55501", "kind": "landline"})
    with pytest.raises(NotFound):
        await call(router, "GET", "/resources/elsewhere/numbers")
