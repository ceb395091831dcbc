"""Attacks on chat: other tenants' and other users' threads and messages, scopes, sizes, ids, and noise."""

import json
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.chat import process
from tests.support.front import HOST, Front, Reply, call, front

from landline.edge.routes import Route
from landline.services.chat import api
from landline.store.database import Database

VERSION = "api-version=2025-03-15"
NOWHERE = "19:00000000000000000000000000000000@thread.v2"


@dataclass
class Person:
    """A user with its token, and where it calls."""

    raw_id: str
    token: str
    host: str
    server: Front

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        joint = "&" if "?" in path else "?"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"host": self.host, "authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return await call(self.server.app, method, f"{path}{joint}{VERSION}", given | headers, data)

    async def thread(self, *others: "Person") -> str:
        """The path of a new thread."""
        participants = [{"communicationIdentifier": {"rawId": other.raw_id}} for other in others]
        reply = await self.call("POST", "/chat/threads", {"topic": "Lunch", "participants": participants})
        assert reply.status == 201, reply.body
        return f"/chat/threads/{quote(reply.json()['chatThread']['id'], safe='')}"

    async def send(self, thread: str, content: str = "hi") -> str:
        """The path of a new message."""
        reply = await self.call("POST", f"{thread}/messages", {"content": content})
        assert reply.status == 201, reply.body
        return f"{thread}/messages/{reply.json()['id']}"


@dataclass
class Town:
    """Two tenants."""

    server: Front
    shop_key: str
    routes: list[Route]

    async def person(self, *scopes: str) -> Person:
        raw_id, token = await self.server.user_token(*(scopes or ("chat",)))
        return Person(raw_id, token, HOST, self.server)

    async def stranger(self) -> Person:
        """A user of the other resource, calling where that is served."""
        host = f"shop.{HOST}"
        raw_id, token = await self.server.user_token("chat", key=self.shop_key, host=host)
        return Person(raw_id, token, host, self.server)


@pytest.fixture
async def town(database: Database, dsn: str) -> AsyncGenerator[Town]:
    one = process(database, dsn)
    routes = api.routes(one.chat, one.messages)
    async with front(database, dsn, extra=routes) as running:
        await running.resources.create("shop")
        yield Town(running, await running.key("shop"), routes)


def refused(reply: Reply, *statuses: int) -> None:
    assert reply.status in statuses, (reply.status, reply.body)
    assert set(reply.json()["error"]) >= {"code", "message"}
    assert reply.headers["x-ms-error-code"] == reply.json()["error"]["code"]


def everything(thread: str, message: str, raw_id: str) -> list[tuple[str, str, Any]]:
    """Each operation on a thread."""
    identifier = {"rawId": raw_id}
    return [
        ("GET", thread, None),
        ("PATCH", thread, {"topic": "Mine"}),
        ("GET", f"{thread}/messages", None),
        ("POST", f"{thread}/messages", {"content": "hi"}),
        ("GET", message, None),
        ("PATCH", message, {"content": "mine"}),
        ("DELETE", message, None),
        ("GET", f"{thread}/participants", None),
        ("POST", f"{thread}/participants/:add", {"participants": [{"communicationIdentifier": identifier}]}),
        ("POST", f"{thread}/participants/:remove", identifier),
        ("POST", f"{thread}/typing", {}),
        ("POST", f"{thread}/readReceipts", {"chatMessageId": message.rpartition("/")[2]}),
        ("GET", f"{thread}/readReceipts", None),
        ("DELETE", thread, None),
    ]


async def test_another_tenants_thread_is_not_there(town: Town) -> None:
    ann, stranger = await town.person(), await town.stranger()
    thread = await ann.thread()
    message = await ann.send(thread)
    nowhere = f"/chat/threads/{quote(NOWHERE, safe='')}"
    for (method, path, body), (_, missing, _) in zip(
        everything(thread, message, stranger.raw_id), everything(nowhere, f"{nowhere}/messages/1", ""), strict=True
    ):
        reply, other = await stranger.call(method, path, body), await stranger.call(method, missing, body)
        refused(reply, 404)
        assert reply.body == other.body  # nothing tells a thread of others from none
    assert (await ann.call("GET", message)).json()["content"]["message"] == "hi"


async def test_another_tenants_user_cannot_be_added(town: Town) -> None:
    ann, stranger = await town.person(), await town.stranger()
    thread = await ann.thread()
    body = {"participants": [{"communicationIdentifier": {"rawId": stranger.raw_id}}]}
    reply = await ann.call("POST", f"{thread}/participants/:add", body)
    assert reply.json()["invalidParticipants"][0]["target"] == stranger.raw_id
    assert len((await ann.call("GET", f"{thread}/participants")).json()["value"]) == 1


async def test_a_token_counts_at_its_own_resource_alone(town: Town) -> None:
    ann = await town.person()
    thread = await ann.thread()
    ann.host = f"shop.{HOST}"
    refused(await ann.call("GET", thread), 401)


async def test_who_is_not_in_a_thread_may_do_nothing_there(town: Town) -> None:
    ann, eve = await town.person(), await town.person()
    thread = await ann.thread()
    message = await ann.send(thread)
    for method, path, body in everything(thread, message, eve.raw_id):
        refused(await eve.call(method, path, body), 403)
    assert (await ann.call("GET", message)).json()["content"]["message"] == "hi"


async def test_nobody_changes_anothers_message_or_the_systems(town: Town) -> None:
    ann, bob = await town.person(), await town.person()
    thread = await ann.thread(bob)
    message = await ann.send(thread)
    listed = (await ann.call("GET", f"{thread}/messages")).json()["value"]
    system = f"{thread}/messages/{listed[-1]['id']}"
    for path, who in ((message, bob), (system, ann), (system, bob)):
        refused(await who.call("PATCH", path, {"content": "x"}), 403)
        refused(await who.call("DELETE", path), 403)
    refused(await bob.call("PATCH", message, {"metadata": {"a": "b"}}), 403)
    unchanged = (await ann.call("GET", f"{thread}/messages")).json()["value"]
    assert unchanged == listed


@pytest.mark.parametrize("scope", ["voip", "voip.join"])
async def test_a_token_without_chat_does_nothing(town: Town, scope: str) -> None:
    ann, bob = await town.person(), await town.person(scope)
    thread = await ann.thread(bob)
    message = await ann.send(thread)
    for method, path, body in everything(thread, message, ann.raw_id):
        refused(await bob.call(method, path, body), 403)
    refused(await bob.call("GET", "/chat/threads"), 403)
    refused(await bob.call("POST", "/chat/threads", {"topic": "x"}), 403)


async def test_a_key_is_no_user(town: Town) -> None:
    refused(await town.server.signed("GET", f"/chat/threads?{VERSION}"), 401)


@pytest.mark.parametrize(
    "thread",
    [
        "x",
        "19:",
        NOWHERE.upper(),
        f"{NOWHERE}x",
        NOWHERE.replace("0", "g"),
        "19:' OR 1=1--@thread.v2",
        "..",
        "%00",
        "é",
    ],
)
async def test_what_is_no_threads_id_is_refused(town: Town, thread: str) -> None:
    ann = await town.person()
    refused(await ann.call("GET", f"/chat/threads/{quote(thread, safe='')}"), 400)


@pytest.mark.parametrize("message", ["x", "-1", "1.5", "9" * 40, "²", "1e3", "0x10", "%2e%2e"])
async def test_what_is_no_messages_id_is_not_found(town: Town, message: str) -> None:
    ann = await town.person()
    thread = await ann.thread()
    for method, body in (("GET", None), ("PATCH", {"content": "x"}), ("DELETE", None)):
        refused(await ann.call(method, f"{thread}/messages/{quote(message, safe='')}", body), 404)
    refused(await ann.call("POST", f"{thread}/readReceipts", {"chatMessageId": message}), 404)


async def test_what_is_too_large_is_refused(town: Town) -> None:
    ann = await town.person()
    thread = await ann.thread()
    for body in (
        {"content": "é" * 14_337},
        {"content": "x", "metadata": {"k": "v" * 28_672}},
        {"content": "x" * 20_000, "metadata": {"k": "v" * 10_000}},
    ):
        refused(await ann.call("POST", f"{thread}/messages", body), 413)
    message = await ann.send(thread, "x" * 20_000)
    refused(await ann.call("PATCH", message, {"metadata": {"k": "v" * 10_000}}), 413)
    refused(await ann.call("POST", f"{thread}/messages", {"content": "x", "senderDisplayName": "n" * 257}), 400)
    refused(await ann.call("PATCH", thread, {"topic": "t" * 1025}), 400)
    many = [
        {"communicationIdentifier": {"rawId": ann.raw_id}, "metadata": {"k": "v" * 20_000}, "displayName": str(n)}
        for n in range(6)
    ]
    refused(await ann.call("POST", "/chat/threads", {"topic": "Lunch", "participants": many}), 400)
    refused(await ann.call("POST", f"{thread}/participants/:add", {"participants": many}), 400)
    refused(await ann.call("PATCH", thread, {"metadata": {str(n): "v" * 1000 for n in range(30)}}), 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": ""},
        {"content": " "},
        {"content": None},
        {"content": 1},
        {"content": "x", "type": "topicUpdated"},
        {"content": "x", "type": "participantAdded"},
        {"content": "x", "metadata": {"a": 1}},
        {"content": "x", "attachments": [{"id": "1", "attachmentType": "file", "url": "javascript:alert(1)"}]},
        {"content": "x", "attachments": [{"id": "1", "attachmentType": "program"}]},
        {"content": "a\x00b"},
        b'{"content": "\\ud800"}',
        b"{",
    ],
)
async def test_what_is_no_message_is_refused(town: Town, body: Any) -> None:
    ann = await town.person()
    refused(await ann.call("POST", f"{await ann.thread()}/messages", body), 400)


async def test_attachments_are_kept_with_their_message(town: Town) -> None:
    ann = await town.person()
    thread = await ann.thread()
    files = [{"id": "1", "attachmentType": "image", "name": "a.png", "url": "/images/1", "previewUrl": "/images/2"}]
    reply = await ann.call("POST", f"{thread}/messages", {"content": "look", "attachments": files})
    message = f"{thread}/messages/{reply.json()['id']}"
    assert (await ann.call("GET", message)).json()["content"]["attachments"] == files
    await ann.call("PATCH", message, {"content": "see"})
    assert (await ann.call("GET", message)).json()["content"]["attachments"] == files
    await ann.call("PATCH", message, {"attachments": []})
    assert "attachments" not in (await ann.call("GET", message)).json()["content"]


@pytest.mark.parametrize(
    "query",
    ["maxPageSize=0", "maxPageSize=-1", "maxPageSize=x", "maxPageSize=99999999999", "startTime=x", "startTime=2026"],
)
async def test_a_page_nobody_can_give_is_refused(town: Town, query: str) -> None:
    ann = await town.person()
    thread = await ann.thread()
    refused(await ann.call("GET", f"{thread}/messages?{query}"), 400)


async def test_a_page_is_at_most_200(town: Town) -> None:
    ann = await town.person()
    thread = await ann.thread()
    for _ in range(205):
        await ann.send(thread)
    page = (await ann.call("GET", f"{thread}/messages?maxPageSize=1000")).json()
    assert len(page["value"]) == 200
    rest = await call(town.server.app, "GET", page["nextLink"], {"host": HOST, "authorization": f"Bearer {ann.token}"})
    assert len(rest.json()["value"]) == 7
    assert "nextLink" not in rest.json()


SCRAPS: list[Any] = [
    None, True, 0, -1, 1e308, 10**400, "", "text", "html", "\ud800", "é😀", "a" * 5000, [], {}, ["x"], [[]],
    "2026-11-21T12:00:00Z", "9999-12-31T23:59:59-23:59", {"rawId": "8:acs:x"}, [{"communicationIdentifier": {}}],
    {"kind": "none"}, {"kind": "threadCreationDate", "deleteThreadAfterDays": 10**30},
]  # fmt: skip
KEYS = [
    "topic", "participants", "metadata", "retentionPolicy", "content", "senderDisplayName", "type", "attachments",
    "chatMessageId", "rawId", "communicationUser", "kind", "extra",
]  # fmt: skip
QUERIES = [
    "?startTime=%ff", "?skip=1", "?before=9&maxPageSize=2", "?after=x", "?startTime=0001-01-01T00:00", "?skip=1e9",
    "?startTime=0001-01-01T00:00:00%2B10:00", "?before=" + "9" * 18, "",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_noise_is_answered_and_never_500(town: Town, seed: int) -> None:
    dice = random.Random(seed)
    ann, bob = await town.person(), await town.person()
    for _ in range(250):
        thread = (await ann.thread(bob)).rpartition("/")[2] if dice.random() < 0.1 else quote(NOWHERE, safe="")
        route = dice.choice(town.routes)
        path = route.template.replace("{chatThreadId}", thread).replace("{chatMessageId}", dice.choice(["1", "%ff"]))
        value = {dice.choice(KEYS): dice.choice(SCRAPS) for _ in range(dice.randrange(4))}
        query = dice.choice(
            ["", "?startTime=%ff", "?skip=1", "?before=9&maxPageSize=2", "?after=x", "?startTime=0001-01-01T00:00"]
        )
        body = json.dumps(value).encode() if dice.random() < 0.9 else dice.randbytes(20)
        reply = await ann.call(route.method, f"{path}{query}", body)
        assert reply.status < 500, (route, body, reply.body)
