"""Whatever is sent, signed or not, the answer is one of ours and never a 500."""

import json
import random
import sys
from typing import Any

import pytest
from tests.support.front import HOST, VERSION, Front, call, front

from landline.store.database import Database

SCRAPS: list[Any] = [
    None, True, 0, -1, 59, 60, 1440, 1e308, 10**400, "", "chat", "voip", "\x00", "\ud800", "é😀", "a" * 5000, [], {},
    ["chat"], ["chat", "chat"], [[]], {"scopes": ["chat"]},
]  # fmt: skip
KEYS = ["scopes", "createTokenWithScopes", "expiresInMinutes", "token", "appId", "userId", "", "extra"]
PATHS = [
    "/identities", "/identities/{}", "/identities/{}/:issueAccessToken", "/identities/{}/:revokeAccessTokens",
    "/teamsUser/:exchangeAccessToken", "/.well-known/jwks.json", "/{}", "/{}/{}", "",
]  # fmt: skip
PIECES = [
    "8:acs:x", "8%3Aacs%3A", "%", "%zz", "%ff", "%2F", "..", "", "+", "%F0%9F%98%80", ":issueAccessToken", "a" * 300,
]  # fmt: skip


@pytest.fixture
async def server(database: Database, dsn: str) -> Any:
    async with front(database, dsn) as running:
        yield running


def some_body(dice: random.Random) -> bytes:
    if dice.random() < 0.2:
        return dice.randbytes(dice.randrange(40))
    body = {dice.choice(KEYS): dice.choice(SCRAPS) for _ in range(dice.randrange(4))}
    text = json.dumps(body if dice.random() < 0.9 else dice.choice(SCRAPS)).encode()
    return text[: dice.randrange(len(text) + 1)] if dice.random() < 0.2 else text


@pytest.mark.parametrize("seed", range(4))
async def test_no_request_is_answered_500(server: Front, seed: int) -> None:
    dice = random.Random(seed)
    user, token = await server.user_token()
    key = await server.key()
    for _ in range(250):
        pieces = [dice.choice([*PIECES, user, user]) for _ in range(2)]
        target = dice.choice(PATHS).format(*pieces)
        target += dice.choice(["", "?", f"?{VERSION}", f"?{VERSION}&a=%zz&b=+%20", "?api-version=%00"])
        method = dice.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"])
        body = some_body(dice)
        if dice.random() < 0.7:
            reply = await server.signed(method, target, body, key=key)
        else:
            scraps = ["", "Bearer", f"Bearer {token}", "HMAC-SHA256 SignedHeaders=&Signature=", "\xff", "Bearer \xe9"]
            host = dice.choice([HOST, "", "[::1]:1", "x.localhost", "\xff"])
            headers = {"host": host, "authorization": dice.choice(scraps)}
            reply = await call(server.app, method, target, headers, body)
        assert reply.status < 500 or reply.status == 501, (method, target, body)
        if reply.status >= 400 and method != "HEAD":
            assert "error" in reply.json()


@pytest.mark.parametrize("depth", [2_000, 200_000])
async def test_a_body_is_nested_as_deep_as_it_likes(server: Front, depth: int) -> None:
    for opened, closed in ((b"[", b"]"), (b'{"":', b"}"), (b"[", b"")):
        nested = opened * depth + b"0" + closed * depth
        reply = await server.signed("POST", f"/identities?{VERSION}", b'{"unknown":' + nested + b"}")
        if reply.status != 201:  # from Python 3.13 on 10,000 levels are read, and passed over
            assert (reply.status, reply.json()["error"]["code"]) == (400, "BadRequest")
        else:
            assert sys.version_info >= (3, 13)
            assert (depth, nested.count(b"}") + nested.count(b"]")) == (2_000, 2_000)
