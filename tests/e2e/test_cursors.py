"""Every operation that gives its list in pages: followed link by link while rows come and go, and asked with links that
were never given, or to another. Whoever was there throughout is shown once, and nobody is shown what is another's."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import UUID

import pytest
from tests.support.admin import admin
from tests.support.signed import Answer, Raw, signed_headers, sms_body

from landline.services.rooms.api import PAGE as ROOMS_PAGE
from landline.testing import Server
from landline.testing.server import RESOURCE
from landline.wire.operations import API_VERSIONS

OTHER, CARRIER = "shop", "simulated"
MADE_UP = [
    "",
    "0",
    "-1",
    "x",
    "+",
    "%00",
    "%FF",
    "%ED%A0%80",
    "1.%00",
    "1.8:acs:%00",
    "99999999999999.x",
    "9999999999999999.99000000000000000",
    "00000000-0000-0000-0000-000000000000",
    "19%3A00000000000000000000000000000000%40thread.v2",
    "W10",
    "bnVsbA",
    "e30",
    "9" * 400,
    "A" * 4000,
    "%2B" * 200,
]
"""As they stand in a query."""
SIZES = ["0", "-1", "1.5", "1e9", "0x10", "1000000000", "99999999999999999999", "%D9%A1", "", "+1", "%00"]
CURSORS = ("after", "before", "continuationToken", "skip")


@dataclass(frozen=True)
class Paged:
    """An operation that gives pages."""

    service: str | None
    """None: the admin API."""
    path: str
    size: str | None
    """What the size of a page is called; None where nobody chooses it."""
    key: Callable[[Any], str]
    """What tells a row from others."""
    rows: str = "value"
    gone: Callable[[str], Any] | None = None
    """Takes a row away, by its key, or has another come."""


class Tenant:
    """One resource with some of everything that is listed."""

    def __init__(self, server: Server, resource: str, key: str) -> None:
        self.server, self.resource = server, resource
        self.raw = Raw(server.endpoint, key, server.ca_bundle)
        self.token = ""

    def ask(self, service: str | None, method: str, path: str, body: Any = None) -> Answer:
        if service is None:
            return admin(self.server, method, path, body)
        data = b"" if body is None else json.dumps(body).encode()
        joint = "&" if "?" in path else "?"
        target = path if "api-version=" in path else f"{path}{joint}api-version={API_VERSIONS[service][-1]}"
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        if service == "Chat":
            proof = {"authorization": f"Bearer {self.token}"}
        else:
            proof = signed_headers(self.raw.key, self.raw.host_header, method, target, data)
        return self.raw.send(method, target, data, {"content-type": kind, **proof})

    def good(self, service: str | None, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(service, method, path, body)
        assert answer.status < 300, (method, path, str(answer))
        return json.loads(answer.body or b"{}")

    def fill(self, first: int) -> dict[str, Paged]:
        """Have some of everything; what lists it, by name. `first`: its phone numbers begin there."""
        mine = f"/resources/{self.resource}"
        sold = self._sold(first)
        return {**self._met(), **self._chatted(), **self._texted(mine, first), **sold}

    def _sold(self, first: int) -> dict[str, Paged]:
        for last in range(first, first + 6):
            self.good(None, "POST", f"/resources/{self.resource}/numbers", {"number": f"+1800555{last}"})
            reserved = UUID(int=last, version=4)
            self.good("Phone numbers", "PATCH", f"/availablePhoneNumbers/reservations/{reserved}", {})
        numbers, reservations = "/phoneNumbers", "/availablePhoneNumbers/reservations"
        countries = "/availablePhoneNumbers/countries"
        return {
            "numbers": Paged(
                "Phone numbers",
                numbers,
                "top",
                itemgetter("id"),
                "phoneNumbers",
                self._deleted("Phone numbers", numbers),
            ),
            "reservations": Paged(
                "Phone numbers",
                reservations,
                "maxPageSize",
                itemgetter("id"),
                "reservations",
                self._deleted("Phone numbers", reservations),
            ),
            "countries": Paged("Phone numbers", countries, "maxPageSize", itemgetter("countryCode"), "countries"),
            "stock": Paged(None, "/numbers/stock", "top", itemgetter("number")),
        }

    def _met(self) -> dict[str, Paged]:
        people = [self.good("Identity", "POST", "/identities")["identity"]["id"] for _ in range(ROOMS_PAGE + 6)]
        invited = {"participants": {each: {"role": "Attendee"} for each in people}}
        room = self.good("Rooms", "POST", "/rooms", invited)["id"]
        participants = f"/rooms/{room}/participants"
        for _ in range(ROOMS_PAGE + 6):
            self.good("Rooms", "POST", "/rooms", {})

        def gone(raw_id: str) -> None:
            self.good("Rooms", "PATCH", participants, {"participants": {raw_id: None}})

        return {
            "rooms": Paged("Rooms", "/rooms", None, itemgetter("id"), gone=self._deleted("Rooms", "/rooms")),
            "room's participants": Paged("Rooms", participants, None, itemgetter("rawId"), gone=gone),
        }

    def _chatted(self) -> dict[str, Paged]:
        people = [self.good("Identity", "POST", "/identities")["identity"]["id"] for _ in range(6)]
        made = self.good("Identity", "POST", "/identities", {"createTokenWithScopes": ["chat"]})
        self.token = made["accessToken"]["token"]
        invited = {"topic": "Lunch", "participants": [{"communicationIdentifier": {"rawId": each}} for each in people]}
        threads = [self.good("Chat", "POST", "/chat/threads", invited)["chatThread"]["id"] for _ in range(6)]
        thread = f"/chat/threads/{quote(threads[-1], safe='')}"
        participants, messages = f"{thread}/participants", f"{thread}/messages"
        for number in range(6):
            self.good("Chat", "POST", messages, {"content": f"{number}", "type": "text"})

        def left(raw_id: str) -> None:
            if raw_id in people:
                self.good("Chat", "POST", f"{participants}/:remove", {"rawId": raw_id})

        def told(_: str) -> None:
            self.good("Chat", "POST", messages, {"content": "meanwhile", "type": "text"})

        size, id_of = "maxPageSize", itemgetter("id")
        return {
            "messages": Paged("Chat", messages, size, id_of, gone=told),
            "chat's participants": Paged(
                "Chat", participants, size, lambda row: row["communicationIdentifier"]["rawId"], gone=left
            ),
            "receipts": Paged("Chat", f"{thread}/readReceipts", size, itemgetter("chatMessageId")),
            "threads": Paged("Chat", "/chat/threads", size, id_of, gone=self._deleted("Chat", "/chat/threads")),
        }

    def _texted(self, mine: str, first: int) -> dict[str, Paged]:
        to = [f"+1425555{last}" for last in range(first, first + 6)]
        self.good("SMS", "POST", "/sms", sms_body(f"+1800555{first}", list(to), "Hello", tag="t"))
        stopped = {each: {"from": f"+1800555{first + 5}", "to": each} for each in to}
        self.good(None, "POST", f"{mine}/opt-outs", {"value": [*stopped.values()]})

        def lifted(phone: str) -> None:
            self.good(None, "POST", f"{mine}/opt-outs:remove", {"value": [stopped[phone]]})

        size = "pageSize"
        prices = Paged(
            None, "/sms/prices", size, itemgetter("prefix"), gone=self._deleted(None, f"/sms/prices/{CARRIER}")
        )
        return {
            "texts": Paged(None, f"{mine}/messages", size, itemgetter("messageId")),
            "opt-outs": Paged(None, f"{mine}/opt-outs", size, itemgetter("to"), gone=lifted),
            "insights": Paged(None, f"{mine}/insights", size, json.dumps),
            "dead letters": Paged(None, f"{mine}/deadletters", "limit", itemgetter("id")),
            "prices": prices,
        }

    def _deleted(self, service: str | None, path: str) -> Callable[[str], Any]:
        return lambda key: self.good(service, "DELETE", f"{path}/{quote(key, safe='')}")


Town = dict[str, tuple[Tenant, dict[str, Paged]]]


@pytest.fixture(scope="module")
def town(landline_trust: Any) -> Iterator[Town]:
    """Two tenants, each with its lists."""
    with Server() as server:
        landline_trust.add(server.ca_bundle)
        server.admin.call("POST", "/resources", {"name": OTHER})
        key = server.admin.call("GET", f"/resources/{OTHER}/keys")["primaryKey"]
        for prefix in range(1425, 1431):
            server.admin.call("PUT", f"/sms/prices/{CARRIER}/{prefix}", {"price": "0.01"})
        ours, theirs = Tenant(server, RESOURCE, server.access_key), Tenant(server, OTHER, key)
        yield {RESOURCE: (ours, ours.fill(1000)), OTHER: (theirs, theirs.fill(2000))}


def target(paged: Paged, **query: str) -> str:
    """Its path with `query`, as it stands there."""
    return "?".join([paged.path, *filter(None, ["&".join(f"{name}={value}" for name, value in query.items())])])


def in_twos(paged: Paged) -> dict[str, str]:
    return {} if paged.size is None else {paged.size: "2"}


def further(paged: Paged, page: Any) -> str | None:
    """Where the page after this one is."""
    if page.get("nextLink"):
        return page["nextLink"]
    for name, told in (("continuationToken", "continuationToken"), ("after", "nextAfter")):
        if page.get(told):
            return target(paged, **in_twos(paged), **{name: quote(page[told], safe="")})
    return None


def pages(tenant: Tenant, paged: Paged) -> Iterator[tuple[list[str], str | None]]:
    """What the pages show, and the link behind each, which is followed once the next is asked for."""
    link: str | None = target(paged, **in_twos(paged))
    while link:
        page = tenant.good(paged.service, "GET", link)
        link = further(paged, page)
        yield [paged.key(row) for row in page[paged.rows]], link


def everything(tenant: Tenant, paged: Paged) -> list[str]:
    return [key for shown, _ in pages(tenant, paged) for key in shown]


def test_nobody_but_the_own_is_shown_by_whatever_link_and_none_is_a_bug(town: Town) -> None:
    links = {
        link
        for tenant, lists in town.values()
        for paged in lists.values()
        for _, link in pages(tenant, paged)
        if link is not None
    }
    asked = {
        quote(value, safe="") for link in links for name, value in parse_qsl(urlsplit(link).query) if name in CURSORS
    }
    assert len(asked) > 40
    for tenant, lists in town.values():
        for name, paged in lists.items():
            own = set(everything(tenant, paged))
            for cursor, value in product(CURSORS, sorted(asked | {*MADE_UP})):
                answer = tenant.ask(paged.service, "GET", target(paged, **{cursor: value}))
                assert answer.status in (200, 400, 404), (name, cursor, value, str(answer))
                shown = answer.json()[paged.rows] if answer.status == 200 else ()
                assert {paged.key(row) for row in shown} <= own, (name, cursor, value)


def test_a_page_has_as_many_rows_as_are_asked_for_or_as_any_has_at_most(town: Town) -> None:
    tenant, lists = town[RESOURCE]
    for name, paged in lists.items():
        for size in SIZES if paged.size else ():
            answer = tenant.ask(paged.service, "GET", target(paged, **{str(paged.size): size}))
            many = answer.status == 200 and size in ("", "1000000000")
            assert many or answer.status == 400, (name, size, str(answer))


def test_who_is_there_throughout_is_shown_once_while_others_come_and_go(town: Town) -> None:
    """What the page ended with goes before the next is asked for."""
    tenant, lists = town[RESOURCE]
    for name, paged in lists.items():
        before, found = everything(tenant, paged), list[str]()
        assert len(before) == len(set(before)), name
        for shown, link in pages(tenant, paged):
            found += shown
            if link is not None and paged.gone is not None:
                paged.gone(shown[-1])
        assert found == before, name
