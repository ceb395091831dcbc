"""Two resources on one server: every operation of the wire and of the admin API is asked by the one for what is the
other's. It is told what it would be told of something that never was, and nothing of the other's changes. Operations
come from the tables that the server itself is made of: a new one fails here until it is said what it is asked with.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from tests.support.admin import admin
from tests.support.patience import PATIENCE_S
from tests.support.signed import Answer, Raw, http_date, signed_headers, sms_body

from landline.app.coverage import served
from landline.edge.unserved import place
from landline.testing import Server
from landline.testing.server import RESOURCE
from landline.wire.operations import API_VERSIONS, SERVICES, USER_SERVICES

OTHER = "shop"
TRUNK = "sbc.contoso.example"
_PARAMETER = re.compile(r"\{(\w+)\}")
_THERE = {place(route.method, route.template) for route in served()}
Things = dict[str, str]
"""What may stand in paths and bodies, by the names that the templates' parameters have, or ours."""
Body = Callable[[Things], Any] | None

OFFER = {
    "phoneNumberType": "tollFree",
    "assignmentType": "application",
    "capabilities": {"calling": "none", "sms": "inbound+outbound"},
}


@dataclass
class Tenant:
    """One resource, and one of its users."""

    raw: Raw
    user: str = ""
    token: str = field(default="", repr=False)

    def enter(self) -> None:
        """Make its user."""
        made = self.good("Identity", "POST", "/identities", {"createTokenWithScopes": ["chat"]})
        self.user, self.token = made["identity"]["id"], made["accessToken"]["token"]

    def ask(
        self, service: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """As whoever the service is for."""
        joint = "&" if "?" in path else "?"
        target = path if "api-version=" in path else f"{path}{joint}api-version={API_VERSIONS[service][-1]}"
        data = b"" if body is None else json.dumps(body).encode()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        if service in USER_SERVICES:
            proof = {"authorization": f"Bearer {self.token}"}
        else:
            proof = signed_headers(self.raw.key, self.raw.host_header, method, target, data)
        return self.raw.send(method, target, data, {"content-type": kind, **proof, **(headers or {})})

    def good(self, service: str, method: str, path: str, body: Any = None) -> Any:
        """The answer of what has to succeed."""
        answer = self.ask(service, method, path, body)
        assert answer.status < 300, (method, path, str(answer))
        return json.loads(answer.body or b"{}") | {"headers": answer.headers}


def person(raw_id: str) -> dict[str, Any]:
    return {"communicationIdentifier": {"rawId": raw_id}}


def repeatable(to: str, request_id: str) -> dict[str, str]:
    return {"to": to, "repeatabilityRequestId": request_id, "repeatabilityFirstSent": http_date()}


def opt_out(things: Things) -> Any:
    return {"from": things["phoneNumber"], "recipients": [{"to": things["stopped"]}]}


BODIES: dict[str, Body] = {
    "communicationIdentityOperations_create": None,
    "communicationIdentityOperations_revokeAccessTokens": None,
    "communicationIdentityOperations_issueAccessToken": lambda _: {"scopes": ["chat"]},
    "communicationIdentityOperations_exchangeTeamsUserAccessToken": lambda _: {
        "token": "x.y.z",
        "appId": str(UUID(int=1)),
        "userId": str(UUID(int=2)),
    },
    "OptOuts_Add": opt_out,
    "OptOuts_Remove": opt_out,
    "OptOuts_Check": opt_out,
    "Sms_Send": lambda things: sms_body(
        things["phoneNumber"],
        [
            {
                "to": things["phone"],
                "repeatabilityRequestId": things["repeatable"],
                "repeatabilityFirstSent": http_date(),
            }
        ],
        "from a stranger",
    ),
    "phoneNumbers_browseAvailableNumbers": lambda _: {"phoneNumberType": "tollFree"},
    "phoneNumbers_createOrUpdateReservation": lambda things: {"phoneNumbers": {things["reserved"]: None}},
    "phoneNumbers_purchaseReservation": lambda _: {"agreeToNotResell": False},
    "phoneNumbers_searchAvailablePhoneNumbers": lambda _: OFFER,
    "phoneNumbers_purchasePhoneNumbers": lambda things: {"searchId": things["searchId"]},
    "phoneNumbers_updateCapabilities": lambda _: {"sms": "none", "calling": "inbound"},
    "phoneNumbers_operatorInformationSearch": lambda things: {"phoneNumbers": [things["phoneNumber"]]},
    "sipRouting_update": lambda _: {"trunks": {TRUNK: {"sipSignalingPort": 9}}},
    "chat_createChatThread": lambda things: {"topic": "Ours", "participants": [person(things["id"])]},
    "chatThread_sendChatReadReceipt": lambda things: {"chatMessageId": things["chatMessageId"]},
    "chatThread_sendChatMessage": lambda _: {"content": "from a stranger"},
    "chatThread_updateChatMessage": lambda _: {"content": "from a stranger"},
    "chatThread_removeChatParticipant": lambda things: {"rawId": things["id"]},
    "chatThread_addChatParticipants": lambda things: {"participants": [person(things["id"])]},
    "chatThread_updateChatThreadProperties": lambda _: {"topic": "Theirs"},
    "chatThread_sendTypingNotification": lambda _: {},
    "participants_update": lambda things: {"participants": {things["id"]: None}},
    "rooms_create": lambda things: {"participants": {things["id"]: {"role": "Presenter"}}},
    "rooms_update": lambda _: {"pstnDialOutEnabled": True},
    "communicationNetworkTraversal_issueRelayConfiguration": lambda things: {"id": things["id"]},
}
"""What each operation with a body is asked with."""

WIRE = {
    service: found
    for service, operations in SERVICES.items()
    if (found := [each for each in operations if place(each.method, each.template) in _THERE])
}
"""The operations that are served, by service."""

ADMIN_BODIES: dict[str, Body] = {
    "POST /resources/{name}/subscriptions/{subscription}:replay": lambda _: {},
    "POST /resources/{name}/subscriptions/{subscription}:validate": None,
    "PATCH /resources/{name}/subscriptions/{subscription}": lambda _: {"endpoint": "https://localhost:9/theirs"},
    "PUT /resources/{name}/numbers/{number}/keywords": lambda _: {"languages": [{"language": "en", "stop": ["NO"]}]},
    "PUT /resources/{name}/numbers/{number}/rate": lambda _: {"messagesPerSecond": 1},
    "PATCH /resources/{name}/smpp-accounts/{systemId}": lambda _: {"enabled": False},
    "POST /resources/{name}/smpp-accounts/{systemId}:rotate": None,
    "PUT /resources/{name}/sms/pools/{pool}": lambda things: {"senders": [things["number"]]},
    "POST /resources/{name}/keys/{slot}:rotate": None,
}
"""What each operation of the admin API with a body and more than a resource in its path is asked with."""


class Asked(dict[str, str]):
    """`Things` that know which of them were used."""

    def __init__(self, things: Things) -> None:
        super().__init__(things)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)


@dataclass
class Town:
    """The two, what each has, and things of the same forms that nobody has."""

    server: Server
    ours: Tenant
    theirs: Tenant
    our_things: Things
    their_things: Things
    nothing: Things

    def everything(self) -> dict[str, Answer]:
        """All that the first resource can read of itself, and its operator of it."""
        found: dict[str, Answer] = {}
        for service, operations in WIRE.items():
            for operation in operations:
                if operation.method == "GET":
                    path = filled(operation.template, self.our_things)
                    found[operation.name] = self.ours.ask(service, "GET", path)
        for method, template in admin_operations(self.server):
            if method == "GET" and template.startswith("/resources/{name}/"):
                path = filled(template, self.our_things | {"name": RESOURCE})
                found[template] = admin(self.server, "GET", path)
        return found

    def check(self, method: str, template: str, make: Body, ask: Callable[[str, Any], Answer]) -> None:
        """Put each thing of the first resource in the place of the second's own, and compare what that is told with
        what it is told of nothing."""
        uses = Asked(self.their_things)
        filled(template, uses)
        if make is not None:
            make(uses)
        for name in sorted(uses.used) or [""]:
            told = []
            for things in (self.our_things, self.nothing):
                mixed = self.their_things | {name: things[name]} if name else self.their_things
                path, body = filled(template, mixed), make(mixed) if make is not None else None
                answer = ask(path, body)
                text = re.sub(r'"traceId":"[^"]*"', "", answer.body.decode()).replace(mixed.get(name, "-"), "-")
                self.leaks_nothing(text)
                told.append((answer.status, text if answer.status >= 300 else ""))
            assert told[0] == told[1], (method, template, name)

    def leaks_nothing(self, text: str) -> None:
        """`text`, without what was asked with, says nothing of the first resource."""
        secrets = {value for name, value in self.our_things.items() if value != self.their_things[name]}
        assert not [value for value in [*secrets, "secret"] if value in text], text


def filled(template: str, things: Things) -> str:
    return _PARAMETER.sub(lambda match: quote(things[match.group(1)], safe=""), template)


def admin_operations(server: Server) -> list[tuple[str, str]]:
    paths = admin(server, "GET", "/openapi.json").json()["paths"]
    return [(method.upper(), template) for template, methods in paths.items() for method in methods]


@pytest.fixture(scope="module")
def town(landline_trust: Any) -> Iterator[Town]:
    with Server() as server:
        landline_trust.add(server.ca_bundle)
        server.admin.call("POST", "/resources", {"name": OTHER})
        server.admin.call("POST", f"/resources/{OTHER}/numbers", {"number": "+18005550177"})
        key = server.admin.call("GET", f"/resources/{OTHER}/keys")["primaryKey"]
        ours = Tenant(Raw(server.endpoint, server.access_key, server.ca_bundle))
        theirs = Tenant(Raw(server.endpoint, key, server.ca_bundle))
        our_things = settled(server, ours, RESOURCE, server.phone_number, "secret")
        their_things = settled(server, theirs, OTHER, "+18005550177", "plain")
        yield Town(server, ours, theirs, our_things, their_things, of_nobody(our_things))


def settled(server: Server, tenant: Tenant, resource: str, number: str, words: str) -> Things:
    """What `resource` comes to have; `words` are in all that it writes."""
    tenant.enter()
    things = {"id": tenant.user, "phoneNumber": number, "number": number, "countryCode": "US", "slot": "primary"}
    return (
        things
        | texted(server, tenant, resource, number, words)
        | chatted(tenant, words)
        | held(tenant)
        | set_up(server, resource, number, words)
    )


def texted(server: Server, tenant: Tenant, resource: str, number: str, words: str) -> Things:
    phone, stopped = (server.handset(f"+1425555{number[-2:]}{end}") for end in ("11", "12"))
    request_id = str(uuid4())
    to = [repeatable(phone.number, request_id)]
    sent = tenant.good("SMS", "POST", "/sms", sms_body(number, [*to], f"{words} text", tag=f"{words}-tag"))
    phone.send(f"{words} answer", to=number)
    stopped.send("STOP", to=number)
    stopped.wait_for_sms()
    message = sent["value"][0]["messageId"]
    comes_true(lambda: tenant.ask("SMS", "GET", f"/deliveryReports/{message}").status == 200)
    path = f"/resources/{resource}/insights"
    comes_true(lambda: server.admin.call("GET", path)["totals"]["pending"] == 0)
    return {
        "phone": phone.number,
        "stopped": stopped.number,
        "repeatable": request_id,
        "outgoingMessageId": message,
    }


def chatted(tenant: Tenant, words: str) -> Things:
    made = tenant.good("Chat", "POST", "/chat/threads", {"topic": f"{words} topic", "participants": []})
    thread = made["chatThread"]["id"]
    at = f"/chat/threads/{quote(thread, safe='')}"
    message = tenant.good("Chat", "POST", f"{at}/messages", {"content": f"{words} message"})["id"]
    tenant.good("Chat", "POST", f"{at}/readReceipts", {"chatMessageId": message})
    return {"chatThreadId": thread, "chatMessageId": message}


def held(tenant: Tenant) -> Things:
    room = tenant.good("Rooms", "POST", "/rooms", {"participants": {tenant.user: {"role": "Presenter"}}})["id"]
    tenant.good("SIP routing", "PATCH", "/sip", {"trunks": {f"sbc{room}.example.org": {"sipSignalingPort": 5061}}})
    offers, numbers = "/availablePhoneNumbers", "Phone numbers"
    searched = tenant.good(numbers, "POST", f"{offers}/countries/US/:search", OFFER | {"quantity": 1})["headers"]
    found = tenant.good(numbers, "POST", f"{offers}/countries/US/:browse", OFFER)["phoneNumbers"]
    reservation = str(uuid4())
    wanted = {"phoneNumbers": {found[0]["id"]: found[0]}}
    tenant.good(numbers, "PATCH", f"{offers}/reservations/{reservation}", wanted)
    return {
        "roomId": room,
        "searchId": searched["search-id"],
        "operationId": searched["operation-id"],
        "reservationId": reservation,
        "reserved": found[0]["id"],
    }


def set_up(server: Server, resource: str, number: str, words: str) -> Things:
    base, name = f"/resources/{resource}", f"{words}-one"
    hook = {"name": name, "endpoint": "https://localhost:9/hook", "schema": "EventGridSchema"}
    server.admin.call("POST", f"{base}/subscriptions", hook)
    server.admin.call("PUT", f"{base}/sms/pools/{name}", {"senders": [number]})
    server.admin.call("POST", f"{base}/smpp-accounts", {"systemId": name})
    path = f"{base}/subscriptions/{name}"
    comes_true(lambda: server.admin.call("GET", path)["state"] == "failed")
    return {"subscription": name, "systemId": name, "pool": name}


def comes_true(condition: Callable[[], bool]) -> None:
    """Ask until it is so, for as long as anybody waits."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it did not come to rest"


def of_nobody(things: Things) -> Things:
    """The like of `things`, which nobody has."""
    nobody = str(uuid4())
    return things | {
        "id": f"8:acs:{nobody}_{nobody}",
        "phoneNumber": "+18005559999",
        "number": "+18005559999",
        "phone": "+14255559911",
        "stopped": "+14255559912",
        "outgoingMessageId": f"{things['outgoingMessageId'][:-12]}000000000000",
        "repeatable": str(uuid4()),
        "searchId": str(uuid4()),
        "operationId": f"{things['operationId'][:-12]}000000000000",
        "reservationId": str(uuid4()),
        "reserved": "18005559999",
        "chatThreadId": f"19:{'0' * 32}@thread.v2",
        "chatMessageId": "1",
        "roomId": "99000000000000001",
        "subscription": "none",
        "systemId": "none",
        "pool": "none",
    }


@pytest.mark.parametrize("service", WIRE)
def test_what_is_anothers_is_as_if_it_were_not(town: Town, service: str) -> None:
    before = town.everything()
    for operation in WIRE[service]:
        if operation.method in ("POST", "PUT", "PATCH"):
            assert operation.name in BODIES, f"say in BODIES what {operation.name} is asked with"

        def ask(path: str, body: Any, method: str = operation.method) -> Answer:
            return town.theirs.ask(service, method, path, body)

        town.check(operation.method, operation.template, BODIES.get(operation.name), ask)
    unchanged(before, town.everything())


def test_the_operator_finds_nothing_of_one_resource_below_another(town: Town) -> None:
    before = town.everything()
    for method, template in admin_operations(town.server):
        if not template.startswith("/resources/{name}/") or template.count("{") == 1:
            continue
        if method in ("POST", "PUT", "PATCH"):
            assert f"{method} {template}" in ADMIN_BODIES, f"say in ADMIN_BODIES what {method} {template} is asked with"

        def ask(path: str, body: Any, method: str = method) -> Answer:
            return admin(town.server, method, path, body)

        below = template.replace("{name}", OTHER)
        town.check(method, below, ADMIN_BODIES.get(f"{method} {template}"), ask)
    unchanged(before, town.everything())


def unchanged(before: dict[str, Answer], after: dict[str, Answer]) -> None:
    for name, answer in before.items():
        assert (after[name].status, after[name].body) == (answer.status, answer.body), name
