"""Whatever is asked of the phone numbers service, it answers or refuses: nothing else is ever raised."""

import json
import random
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
from tests.support.numbers_world import OURS, THEIRS, World, world

from landline.core.errors import Refusal
from landline.services.numbers import api
from landline.store.database import Database

SCRAPS: list[Any] = [
    None, True, 0, -1, 1, 3, 10**12, 1.5, "", "none", "outbound", "inbound+outbound", "tollFree", "geographic",
    "mobile", "shortCode", "alphanumeric", "person", "application", "US", "FR", "425", "1425", "é😀", "%", "a" * 3000,
    [], {}, ["1425"], [[]], ["+14255550123"], ["+9999999999"], {"sms": "none", "calling": "outbound"}, {"sms": 1},
]  # fmt: skip
KEYS = [
    "phoneNumberType", "assignmentType", "capabilities", "areaCode", "quantity", "searchId", "agreeToNotResell", "sms",
    "calling", "phoneNumberPrefixes", "phoneNumbers", "options", "countryCode",
]  # fmt: skip
GOOD: dict[str, Any] = {
    "phoneNumberType": "tollFree",
    "assignmentType": "application",
    "capabilities": {"sms": "none", "calling": "outbound"},
    "countryCode": "US",
}
QUERIES = ["", "?skip=1", "?skip=%zz", "?top=1&skip=999999999", "?maxPageSize=1", "?maxPageSize=0", "?after=x",
           "?phoneNumberType=geographic&locality=%C3%A9", "?phoneNumberType=tollFree"]  # fmt: skip


@pytest.fixture
async def market(database: Database, dsn: str) -> AsyncGenerator[World]:
    async with world(database, dsn, virtual_stock=True) as made:
        await made.stock("number\n+18332345600\n+12062345678\n")
        yield made


def some_body(dice: random.Random, known: list[str]) -> bytes:
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(20))
    body = {**(GOOD if dice.random() < 0.7 else {})}
    for _ in range(dice.randrange(3)):
        body[dice.choice(KEYS)] = dice.choice([*SCRAPS, *known])
    if dice.random() < 0.3:
        body["phoneNumbers"] = {dice.choice(known): dice.choice([None, GOOD, {**GOOD, **body}]) for _ in range(3)}
    return json.dumps(body).encode()


@pytest.mark.parametrize("seed", range(3))
async def test_every_request_is_answered_or_refused(market: World, seed: int) -> None:
    dice = random.Random(seed)
    routes = api.routes(None, None, None, None)  # type: ignore[arg-type]
    known = ["+18332345600", "18332345600", "x", str(uuid4()), "US", "FR", "us", "\u00e9", "+", "a" * 400]
    answered = 0
    for _ in range(400):
        route = dice.choice(routes)
        path = route.template
        while "{" in path:
            before, _, rest = path.partition("{")
            path = f"{before}{dice.choice(known).replace('/', '')}{rest.partition('}')[2]}"
        body = some_body(dice, known) if route.method in ("POST", "PATCH") else b""
        try:
            reply = await market.call(route.method, path + dice.choice(QUERIES), body, by=dice.choice([OURS, THEIRS]))
        except Refusal:
            continue
        answered += 1
        assert reply.status in (200, 201, 202, 204, 207)
        known += [value for name, value in reply.headers.items() if name.endswith("-id")]
        if reply.body and "phoneNumbers" in reply.body:
            known += [each if isinstance(each, str) else each["id"] for each in reply.body["phoneNumbers"]][:5]
    assert answered > 40
    both = [number for by in (OURS, THEIRS) for number in await market.owned(by)]
    assert len(both) == len(set(both))
