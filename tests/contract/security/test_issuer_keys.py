"""The keys of a configured OIDC issuer, fetched over real TLS: discovery, rotation, outages, and issuers that lie."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from landline.core.errors import Refusal, Unavailable
from landline.edge.bearer import RemoteKeys
from landline.engines.callout import HttpCallout

CA = trustme.CA()


class IssuerSite:
    """An issuer's web site. `discovery` and `jwks` are what it answers; `asked` the paths it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.discovery: Any = None
        self.jwks: Any = {"keys": [jwk("one")]}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        body = self.jwks if request.path == "/keys" else self.discovery
        if isinstance(body, str | bytes):
            return web.Response(body=body)
        return web.json_response(body) if body is not None else web.Response(status=503)


def jwk(kid: str) -> dict[str, Any]:
    return ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True) | {"kid": kid}


@asynccontextmanager
async def issuer_site() -> AsyncGenerator[IssuerSite]:
    site = IssuerSite()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(tls)
    await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
    site.url = f"https://localhost:{runner.addresses[0][1]}"
    site.discovery = {"issuer": site.url, "jwks_uri": f"{site.url}/keys"}
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest.fixture
async def trusting(tmp_path: Path) -> AsyncGenerator[HttpCallout]:
    bundle = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(str(bundle))
    callout = HttpCallout(allowed_hosts=("0.0.0.0/0", "::/0"), ca_bundle=bundle)
    yield callout
    await callout.close()


async def test_keys_are_discovered_and_kept(trusting: HttpCallout) -> None:
    async with issuer_site() as site:
        keys = RemoteKeys(site.url, trusting)
        assert await keys.key("one") is not None
        assert await keys.key("one") is not None
        assert site.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_new_key_is_fetched_but_unknown_ones_do_not_hammer_the_issuer(trusting: HttpCallout) -> None:
    now = [0.0]
    async with issuer_site() as site:
        keys = RemoteKeys(site.url, trusting, jwks_url=f"{site.url}/keys", monotonic=lambda: now[0])
        assert await keys.key("one") is not None
        site.jwks = {"keys": [jwk("one"), jwk("two")]}
        assert await keys.key("two") is None
        now[0] += 11
        assert await keys.key("two") is not None
        for _ in range(20):
            assert await keys.key("nobody's") is None
        assert site.asked == ["/keys", "/keys"]


async def test_an_outage_keeps_the_keys_last_fetched(trusting: HttpCallout) -> None:
    now = [0.0]
    async with issuer_site() as site:
        keys = RemoteKeys(site.url, trusting, monotonic=lambda: now[0])
        assert await keys.key("one") is not None
        site.discovery = None
        now[0] += 7200
        assert await keys.key("one") is not None
        assert len(site.asked) == 3


@pytest.mark.parametrize(
    "no_jwks",
    [
        {"error": "try later"},
        {"keys": None},
        {"keys": {"one": "two"}},
        {"keys": "one"},
        {"keys": 1},
        [],
        b'{"\xff": 1}',
    ],
)
async def test_an_answer_that_is_no_jwks_keeps_the_keys_last_fetched(trusting: HttpCallout, no_jwks: Any) -> None:
    now = [0.0]
    async with issuer_site() as site:
        keys = RemoteKeys(site.url, trusting, monotonic=lambda: now[0])
        assert await keys.key("one") is not None
        site.jwks = no_jwks
        now[0] += 7200
        assert await keys.key("one") is not None
        assert site.asked.count("/keys") == 2
        with pytest.raises(Unavailable):
            await RemoteKeys(site.url, trusting).key("one")


@pytest.mark.parametrize("entry", [1, None, "one", [], {}, {"kid": "x", "kty": ["EC"]}, {"kid": {}, "kty": "EC"}])
async def test_an_entry_that_is_no_key_is_left_out(trusting: HttpCallout, entry: Any) -> None:
    async with issuer_site() as site:
        site.jwks = {"keys": [entry, jwk("one"), entry]}
        assert await RemoteKeys(site.url, trusting).key("one") is not None


async def test_a_key_the_issuer_withdrew_is_forgotten(trusting: HttpCallout) -> None:
    now = [0.0]
    async with issuer_site() as site:
        keys = RemoteKeys(site.url, trusting, monotonic=lambda: now[0])
        assert await keys.key("one") is not None
        site.jwks = {"keys": [jwk("two")]}
        now[0] += 3601
        assert await keys.key("one") is None


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "https://evil.example", "jwks_uri": "SELF/keys"},
        {"issuer": "SELF", "jwks_uri": "http://evil.example/keys"},
        {"issuer": "SELF"},
        [],
        "not json",
        '{"keys":' + "[" * 9000,
        '"' + "x" * (2 << 20) + '"',
    ],
)
async def test_an_issuer_that_cannot_be_believed_gives_no_keys(trusting: HttpCallout, lie: Any) -> None:
    async with issuer_site() as site:
        if isinstance(lie, dict):
            lie = {name: value.replace("SELF", site.url) for name, value in lie.items()}
        site.discovery = lie
        with pytest.raises(Unavailable):
            await RemoteKeys(site.url, trusting).key("one")


async def test_an_issuer_of_another_authority_gives_no_keys() -> None:
    callout = HttpCallout(allowed_hosts=("0.0.0.0/0", "::/0"))
    async with issuer_site() as site:
        with pytest.raises(Unavailable):
            await RemoteKeys(site.url, callout).key("one")
        assert not site.asked
    await callout.close()


def test_keys_are_fetched_over_https_only() -> None:
    for issuer, url in (("http://issuer.example", None), ("https://issuer.example", "http://issuer.example/keys")):
        with pytest.raises(Refusal):
            RemoteKeys(issuer, HttpCallout(), jwks_url=url)
