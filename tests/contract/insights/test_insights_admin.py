"""The insights as an operator asks for them: groups, filters, pages, CSV, and what is refused."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.contract.insights.conftest import DE, OURS, TOKEN, US, sent, store
from tests.support.front import Reply, call

from landline.edge.app import Edge
from landline.engines.clock import DrivenClock
from landline.services.insights.model import Tally
from landline.services.insights.service import Insights
from landline.store.database import Database

HOUR = timedelta(hours=1)


async def get(app: Edge, query: dict[str, Any] | str = "", *, name: str = "local", **headers: str) -> Reply:
    query = query if isinstance(query, str) else urlencode(query)
    target = f"/resources/{name}/insights" + (f"?{query}" if query else "")
    return await call(app, "GET", target, {"host": "localhost", "authorization": f"Bearer {TOKEN}", **headers})


async def asked(app: Edge, query: dict[str, Any] | str = "") -> Any:
    reply = await get(app, query)
    assert reply.status == 200, reply.body
    return reply.json()


def yesterday(midnight: datetime, **more: Any) -> dict[str, Any]:
    return {"from": f"{midnight:%Y-%m-%d}", "to": f"{midnight + timedelta(days=1):%Y-%m-%d}", **more}


async def pages(app: Edge, query: dict[str, Any]) -> list[Any]:
    rows: list[Any] = []
    found = await asked(app, query)
    while True:
        rows += found["value"]
        if "continuationToken" not in found:
            return rows
        token = found["continuationToken"]
        found = await asked(app, {"continuationToken": token, "pageSize": query["pageSize"]})


def parsed(reply: Reply) -> list[list[str]]:
    assert reply.status == 200, reply.body
    return list(csv.reader(io.StringIO(reply.body.decode(), newline=""), strict=True))


async def test_a_campaign_from_acceptance_to_opt_out(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    tally = sent(midnight + HOUR, tag="spring", delivered=6, failed=1, code=4006, took=10)
    sent(midnight + HOUR, tally=tally, tag="spring", failed=1, pending=2, code=5002)
    for _ in range(3):
        tally.replied(OURS, midnight + 2 * HOUR, "SHOP", "spring", US, "north")
    tally.opted_out(OURS, midnight + 2 * HOUR, "SHOP", "spring", US, "north")
    await store(database, insights, tally)
    wanted = {
        "accepted": 10,
        "segments": 20,
        "delivered": 6,
        "segmentsDelivered": 12,
        "failed": 2,
        "failedByCode": {"4006": 1, "5002": 1},
        "pending": 2,
        "deliveryRate": 0.75,
        "replies": 3,
        "responseRate": 0.5,
        "optOuts": 1,
        "optOutRate": 0.166667,
    }
    for _ in range(2):
        found = await asked(app, yesterday(midnight, by="tag"))
        assert found["from"] == f"{midnight:%Y-%m-%d}T00:00:00Z"
        assert found["to"] == f"{midnight + timedelta(days=1):%Y-%m-%d}T00:00:00Z"
        assert found["by"] == ["tag"]
        (row,) = found["value"]
        for shown in (row, found["totals"]):
            assert all(abs(seconds - 10) <= 0.5 for seconds in shown.pop("deliverySeconds").values())
        assert row == {"tag": "spring"} | wanted
        assert found["totals"] == wanted
        by_hour = await asked(app, yesterday(midnight, by="hour"))
        first, second = by_hour["value"]
        assert first["hour"] == f"{midnight:%Y-%m-%d}T01:00:00Z"
        assert (first["accepted"], first["replies"]) == (10, 0)
        assert (second["accepted"], second["replies"]) == (0, 3)
        assert not {"deliveryRate", "deliverySeconds", "responseRate", "optOutRate"} & second.keys()
        await insights.fold()


async def various(database: Database, insights: Insights, midnight: datetime) -> None:
    await store(
        database,
        insights,
        sent(midnight, tag="a", delivered=1),
        sent(midnight + HOUR, tag="a", to=DE, carrier="south", delivered=2),
        sent(midnight + HOUR, sender="+18005550100", tag="b", delivered=4),
        sent(midnight - HOUR, sender="+18005550100", delivered=8),
    )


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("number", {("+18005550100",): 12, ("SHOP",): 3}),
        ("tag", {("",): 8, ("a",): 3, ("b",): 4}),
        ("country", {("DE",): 2, ("US",): 13}),
        ("carrier", {("north",): 13, ("south",): 2}),
        ("tag,country", {("", "US"): 8, ("a", "DE"): 2, ("a", "US"): 1, ("b", "US"): 4}),
        ("country, tag", {("DE", "a"): 2, ("US", ""): 8, ("US", "a"): 1, ("US", "b"): 4}),
    ],
)
async def test_counts_are_grouped_by_any_dimensions_in_order(
    app: Edge, database: Database, insights: Insights, midnight: datetime, by: str, wanted: dict[Any, int]
) -> None:
    await various(database, insights, midnight)
    names = [name.strip() for name in by.split(",")]
    for _ in range(2):
        found = await asked(app, {"from": f"{midnight - HOUR:%Y-%m-%dT%H:%M}Z", "by": by})
        rows = {tuple(row[name] for name in names): row["delivered"] for row in found["value"]}
        assert list(rows.items()) == list(wanted.items())
        assert found["totals"]["delivered"] == 15
        await insights.fold()


async def test_counts_by_hour_and_day_are_of_utc(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await various(database, insights, midnight)
    await insights.fold()
    found = await asked(app, {"from": f"{midnight - HOUR:%Y-%m-%dT%H:%M}Z", "by": "day,hour"})
    shown = [(row["day"], row["hour"], row["delivered"]) for row in found["value"]]
    hours = [(midnight - HOUR, 8), (midnight, 1), (midnight + HOUR, 6)]
    assert shown == [(f"{at:%Y-%m-%d}", f"{at:%Y-%m-%dT%H}:00:00Z", count) for at, count in hours]
    days = await asked(app, {"from": f"{midnight - timedelta(days=1):%Y-%m-%d}", "by": "day"})
    assert [row["delivered"] for row in days["value"]] == [8, 7]


@pytest.mark.parametrize(
    ("where", "delivered"),
    [
        ({"number": "+18005550100"}, 12),
        ("number=+18005550100", 12),  # as people type it
        ({"tag": "a"}, 3),
        ({"tag": ""}, 8),
        ({"tag": "nobody's"}, 0),
        ({"country": "de"}, 2),
        ({"carrier": "south"}, 2),
        ({"tag": "a", "carrier": "north"}, 1),
    ],
)
async def test_counts_are_selected_by_value(
    app: Edge, database: Database, insights: Insights, midnight: datetime, where: Any, delivered: int
) -> None:
    await various(database, insights, midnight)
    span = urlencode({"from": f"{midnight - HOUR:%Y-%m-%dT%H:%M}Z"})
    query = f"{span}&{where if isinstance(where, str) else urlencode(where)}"
    for _ in range(2):
        found = await asked(app, query)
        assert found["value"] == []
        assert found["totals"]["delivered"] == delivered
        await insights.fold()


async def test_costs_are_exact_and_left_out_where_nothing_had_a_price(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(
        database,
        insights,
        sent(midnight, tag="a", pending=3, cost=7_500),
        sent(midnight, tag="a", pending=1),
        sent(midnight, tag="b", pending=2),
        sent(midnight, tag="c", pending=2, cost=0),
    )
    for _ in range(2):
        found = await asked(app, yesterday(midnight, by="tag"))
        shown = {row["tag"]: (row.get("cost"), row.get("priced")) for row in found["value"]}
        assert shown == {"a": ("0.0225", 3), "b": (None, None), "c": ("0", 2)}
        assert (found["totals"]["cost"], found["totals"]["priced"], found["currency"]) == ("0.0225", 5, "EUR")
        assert "currency" not in await asked(app, yesterday(midnight, by="tag", tag="b"))
        await insights.fold()


async def test_without_a_range_it_is_the_last_24_hours(
    app: Edge, database: Database, insights: Insights, clock: DrivenClock
) -> None:
    now = clock.now()
    await store(database, insights, sent(now, delivered=1), sent(now - timedelta(hours=25), delivered=1))
    found = await asked(app)
    assert found["totals"]["delivered"] == 1
    assert found["to"] > f"{now:%Y-%m-%dT%H:%M:%SZ}"
    await clock.advance(timedelta(days=2))
    assert (await asked(app))["totals"]["delivered"] == 0


async def test_a_range_is_widened_to_whole_hours(app: Edge, midnight: datetime) -> None:
    day = f"{midnight:%Y-%m-%d}"
    for begin, end in (
        ("T10:20:00+02:00", "T09:59:59.5Z"),
        ("T08:00:00Z", "T10:00"),
        ("T08:59:59", "T09:00:00.000001"),
    ):
        found = await asked(app, {"from": day + begin, "to": day + end})
        assert (found["from"], found["to"]) == (f"{day}T08:00:00Z", f"{day}T10:00:00Z")


async def test_pages_neither_repeat_nor_skip_while_counts_change(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    tags = [f"{at:02}" for at in range(0, 40, 2)]
    await store(database, insights, *(sent(midnight, tag=tag, delivered=1) for tag in tags))
    query = yesterday(midnight, by="tag,hour", pageSize=7)
    found = await asked(app, query)
    shown = [row["tag"] for row in found["value"]]
    delivered = 20
    while "continuationToken" in found:
        for tag in ("00", "01", "39", shown[-1]):
            await store(database, insights, sent(midnight, tag=tag, delivered=1))
            delivered += 1
        await insights.fold()
        found = await asked(app, {**query, "continuationToken": found["continuationToken"]})
        shown += [row["tag"] for row in found["value"]]
        assert found["totals"]["delivered"] == delivered
    assert shown == [*tags, "39"]


async def test_pages_of_any_size_are_the_whole(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await various(database, insights, midnight)
    await store(database, insights, sent(midnight, tag="Ünï, \"quoted\" 'x'", delivered=1))
    query = {"from": f"{midnight - HOUR:%Y-%m-%dT%H:%M}Z", "by": "tag,country,hour,number,carrier,day"}
    whole = await pages(app, {**query, "pageSize": 1000})
    assert len(whole) == 5
    for size in (1, 2, 4, 5, 6):
        assert await pages(app, {**query, "pageSize": size}) == whole


@pytest.mark.parametrize("by", ["carrier", "carrier,tag"])
async def test_pages_go_on_behind_groups_that_came_to_nothing(
    app: Edge, database: Database, insights: Insights, midnight: datetime, by: str
) -> None:
    await store(database, insights, sent(midnight, carrier="a", pending=1), sent(midnight, carrier="b", pending=1))
    await insights.fold()
    moved = Tally()
    for carrier in ("a", "b"):
        moved.moved(OURS, midnight, "SHOP", None, US, carrier, "c", 2)
    await store(database, insights, moved, sent(midnight, carrier="d", delivered=1))
    for _ in range(2):
        for size in (1, 2, 3, 4):
            found = await pages(app, yesterday(midnight, by=by, pageSize=size))
            assert [(row["carrier"], row["accepted"]) for row in found] == [("c", 2), ("d", 1)]
        await insights.fold()


async def test_a_token_continues_its_own_question_only(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await various(database, insights, midnight)
    query = yesterday(midnight, by="tag", country="US", pageSize=1)
    token = (await asked(app, query))["continuationToken"]
    (row,) = (await asked(app, {"continuationToken": token}))["value"]
    assert row["tag"] == "b"
    changed = [("by", "country"), ("tag", "a"), ("country", "DE"), ("from", "2026-01-01"), ("to", "2026-01-01")]
    for name, value in changed:
        reply = await get(app, {"continuationToken": token, name: value})
        assert (reply.status, reply.json()["error"]["target"]) == (400, name)
    deep = base64.urlsafe_b64encode(base64.urlsafe_b64decode(token + "==")[:-1] + b"," + b"[" * 3000).decode()
    for wrong in ("", "x", "é", token[:-3], token[4:], "AAAA", "W10", "bnVsbA", deep):
        reply = await get(app, {"continuationToken": wrong})
        assert (reply.status, reply.json()["error"]["target"]) == (400, "continuationToken"), wrong
    elsewhere = await get(app, {"continuationToken": token}, name="shop")
    assert elsewhere.status == 400


FORGED: list[dict[int, Any]] = [
    {5: [5]},
    {5: []},
    {3: [], 5: []},
    {3: ["tag", "tag"], 5: ["a", "b"]},
    {3: ["month"]},
    {3: ["hour"], 5: [1 << 31]},
    {1: -1},
    {2: 1 << 31},
    {1: 500_000, 2: 500_000},
    {4: [["hour", "1"]]},
    {4: [["month", "1"]]},
]
"""What is another in a token: (resource, start, end, by, where, after), by its place."""


async def test_a_token_that_nobody_was_given_is_refused(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await various(database, insights, midnight)
    token = (await asked(app, yesterday(midnight, by="tag", pageSize=1)))["continuationToken"]
    given = json.loads(base64.urlsafe_b64decode(token + "=="))
    for changes in FORGED:
        forged = json.dumps([changes.get(place, value) for place, value in enumerate(given)])
        reply = await get(app, {"continuationToken": base64.urlsafe_b64encode(forged.encode()).decode()})
        assert (reply.status, reply.json()["error"]["target"]) == (400, "continuationToken"), changes


REFUSED: list[tuple[Any, str]] = [
    ({"by": "campaign"}, "by"),
    ({"by": "tag,,hour"}, "by"),
    ({"by": "tag,tag"}, "by"),
    ({"from": "yesterday"}, "from"),
    ({"from": "2026-02-30"}, "from"),
    ({"from": "0001-01-01"}, "from"),
    ({"to": "9999-12-31T23:59:59Z"}, "to"),
    ("from=2026-03-01T10:00:00+01:00", "from"),  # its + is a space by the time it is read
    ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
    ({"from": "2026-03-01", "to": "2026-03-01"}, "from"),
    ({"from": "2001-01-01"}, "from"),
    ({"country": "USA"}, "country"),
    ({"country": "U1"}, "country"),
    ({"country": "ß1"}, "country"),
    ({"number": ""}, "number"),
    ({"carrier": ""}, "carrier"),
    ({"pageSize": 0}, "pageSize"),
    ({"pageSize": 1001}, "pageSize"),
    ({"pageSize": "ten"}, "pageSize"),
    ({"pageSize": "²"}, "pageSize"),
    ({"format": "xml"}, "format"),
    ({"group": "tag"}, "group"),
]


async def test_what_cannot_be_asked_is_refused_by_name(app: Edge) -> None:
    for query, target in REFUSED:
        reply = await get(app, query)
        error = reply.json()["error"]
        assert (reply.status, error["target"]) == (400, target), query
        assert len(error["message"]) > 15


async def test_only_an_operator_asks_and_only_for_resources_there_are(app: Edge) -> None:
    assert (await call(app, "GET", "/resources/local/insights", {"host": "localhost"})).status == 401
    assert (await get(app, name="nobody")).status == 404


COLUMNS = [
    *("accepted", "segments", "delivered", "segmentsDelivered", "failed", "failedByCode", "pending", "deliveryRate"),
    *("deliverySecondsP50", "deliverySecondsP90", "deliverySecondsP95", "deliverySecondsP99"),
    *("replies", "responseRate", "optOuts", "optOutRate", "cost", "priced"),
]


async def test_csv_is_the_same_as_json(app: Edge, database: Database, insights: Insights, midnight: datetime) -> None:
    await various(database, insights, midnight)
    await store(database, insights, sent(midnight, tag="c", failed=2, pending=1, code=4006, cost=7_500))
    await store(database, insights, sent(midnight, tag="d", pending=2, cost=0))
    query = {"from": f"{midnight - HOUR:%Y-%m-%dT%H:%M}Z", "by": "tag,hour"}
    rows = (await asked(app, query))["value"]
    for reply in (await get(app, {**query, "format": "csv"}), await get(app, query, accept="text/csv")):
        assert reply.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert reply.headers["content-disposition"].startswith('attachment; filename="insights-local-')
        assert "content-length" not in reply.headers
        head, *body = parsed(reply)
        assert head == ["tag", "hour", *COLUMNS]
        assert [_as_json(head, line) for line in body] == rows
        assert reply.body.endswith(b"\r\n")
        assert reply.body.count(b"\n") == reply.body.count(b"\r\n") == len(rows) + 1


def _as_json(head: Sequence[str], line: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name, text in zip(head, line, strict=True):
        if name in ("tag", "hour"):
            row[name] = text
        elif name == "failedByCode":
            pairs = [pair.split(":") for pair in text.split()]
            row[name] = {code: int(count) for code, count in pairs}
        elif name.startswith("deliverySeconds"):
            seconds |= {name[-3:].lower(): float(text)} if text else {}
        elif name == "cost":
            row |= {name: text} if text else {}
        elif name == "priced":
            row |= {name: int(text)} if text != "0" else {}
        elif text:
            row[name] = float(text)
    return row | ({"deliverySeconds": seconds} if seconds else {})


CELLS = {
    "=1+1": "'=1+1",
    "@SUM(A1)": "'@SUM(A1)",
    "-2+3": "'-2+3",
    "+2+3": "'+2+3",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "\n=1": "'\n=1",
    "＝1": "'＝1",
    "+14255550100": "+14255550100",
    'say "hi", you;=1': 'say "hi", you;=1',
    "two\r\nlines": "two\r\nlines",
    "Frühling 🌷": "Frühling 🌷",
    "": "",
}


async def test_csv_holds_tags_as_text_and_never_as_formulas(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(database, insights, *(sent(midnight, tag=tag, delivered=1) for tag in CELLS))
    for tag, cell in CELLS.items():
        reply = await get(app, yesterday(midnight, by="tag,number", tag=tag, format="csv"))
        _, line = parsed(reply)
        assert line[:2] == [cell, "SHOP"]
        assert reply.body.split(b"\r\n", 1)[1].startswith(b'"')  # quoted, whatever other programs part cells by


async def test_messages_without_a_carrier_have_a_name_to_ask_by(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    await store(database, insights, sent(midnight, carrier="", failed=2), sent(midnight, delivered=1))
    shown = [each["carrier"] for each in (await asked(app, yesterday(midnight, by="carrier")))["value"]]
    assert shown == ["(none)", "north"]
    (found,) = (await asked(app, yesterday(midnight, by="carrier", carrier="(none)")))["value"]
    assert (found["carrier"], found["failed"]) == ("(none)", 2)
    first = await asked(app, yesterday(midnight, by="carrier,hour", carrier="(none)", pageSize=1))
    assert [each["carrier"] for each in first["value"]] == ["(none)"]


async def test_csv_comes_whole_however_long(
    app: Edge, database: Database, insights: Insights, midnight: datetime
) -> None:
    tally = Tally()
    for at in range(2300):
        sent(midnight, tally=tally, tag=f"{at:05}", delivered=1)
    await store(database, insights, tally)
    lines = parsed(await get(app, yesterday(midnight, by="tag", format="csv", pageSize=10)))
    assert [line[0] for line in lines[1:]] == [f"{at:05}" for at in range(2300)]
    (head, everything) = parsed(await get(app, yesterday(midnight, format="csv")))
    assert dict(zip(head, everything, strict=True))["delivered"] == "2300"


@pytest.mark.parametrize("by", ["tag", "tag,hour,number"])
async def test_csv_of_nothing_is_its_head(app: Edge, by: str) -> None:
    reply = await get(app, {"by": by, "format": "csv"})
    assert reply.status == 200
    assert parsed(reply) == [[*by.split(","), *COLUMNS]]


async def test_csv_is_refused_as_json_is(app: Edge) -> None:
    for query in ({"from": "2001-01-01"}, {"continuationToken": "x"}, {"by": "no"}):
        reply = await get(app, {**query, "format": "csv"})
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (400, "application/json")


async def test_csv_for_nobody_but_a_head_lets_go_of_its_connection(app: Edge, insights: Insights) -> None:
    headers = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
    for _ in range(6):
        reply = await call(app, "HEAD", "/resources/local/insights?format=csv", headers)
        assert (reply.status, reply.body) == (200, b"")
    assert (await get(app, {"format": "csv"})).status == 200
