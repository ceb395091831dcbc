"""What the Callout port promises, on real local servers; and every way around its address check we know of."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from tests.support.serving import serving

from landline.core.errors import Invalid
from landline.engines import callout_url
from landline.engines.callout import HttpCallout
from landline.engines.callout_addresses import is_internal
from landline.engines.callout_dial import Address
from landline.ports.callout import CalloutFailed


@asynccontextmanager
async def server(handle: object, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server on loopback; its port."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
async def callout() -> AsyncGenerator[HttpCallout]:
    engine = HttpCallout(loopback_open=True)
    yield engine
    await engine.close()


class Names:
    """A resolver with answers of its own, one after the other for each name."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        known = self.answers[host]
        address = known.pop(0) if len(known) > 1 else known[0]
        return [Address(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))]


async def test_a_request_arrives_as_it_was_given_and_the_answer_comes_back(callout: HttpCallout) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append((request.method, request.path_qs, headers, await request.read()))
        return web.Response(status=418, text="short", headers={"X-Odd": "yes", "Set-Cookie": "a=b"})

    async with server(handle) as port:
        url, sent = f"http://127.0.0.1:{port}/a%2Fb?c=d%20e", {"content-type": "x/y"}
        answer = [await callout.request("POST", url, headers=sent, body=b"{}") for _ in range(2)][1]
        assert (answer.status, answer.body, answer.headers["x-odd"]) == (418, b"short", "yes")
        method, path, headers, body = seen[1]
        assert (method, path, body) == ("POST", "/a%2Fb?c=d%20e", b"{}")
        assert headers == {"host": f"127.0.0.1:{port}", "content-type": "x/y", "content-length": "2"}


async def test_redirects_are_not_followed(callout: HttpCallout) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with server(handle) as port:
        answer = await callout.request("GET", f"http://127.0.0.1:{port}/", headers={})
        assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")


async def test_an_answer_is_cut_at_its_limit_even_when_it_never_ends(callout: HttpCallout) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 4096)
        return response

    async with server(handle) as port:
        answer = await callout.request("GET", f"http://127.0.0.1:{port}/", headers={}, answer_limit_bytes=10_000)
        assert len(answer.body) == 10_000


async def test_an_answer_that_does_not_come_is_a_timeout(callout: HttpCallout) -> None:
    async def handle(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with server(handle) as port:
        with pytest.raises(CalloutFailed) as caught:
            await callout.request("GET", f"http://127.0.0.1:{port}/", headers={}, timeout_s=0.05)
        assert caught.value.reason == "timeout"


async def test_a_refused_connection_and_a_broken_answer_are_told_apart(callout: HttpCallout) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.example ESMTP\r\n")

    async with serving(talk) as port:
        with pytest.raises(CalloutFailed) as caught:
            await callout.request("GET", f"http://127.0.0.1:{port}/", headers={})
        assert caught.value.reason == "protocol"
        assert "smtp" not in str(caught.value)
        with pytest.raises(CalloutFailed) as caught:
            await callout.request("GET", f"http://127.0.0.1:{port}/", headers={"a": "b\r\nc: d"})
        assert caught.value.reason == "protocol"
    with pytest.raises(CalloutFailed) as caught:
        await callout.request("GET", f"http://127.0.0.1:{port}/", headers={})
    assert caught.value.reason == "connection"


async def test_a_kept_connection_that_died_is_replaced(callout: HttpCallout) -> None:
    served = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")  # takes the second request and hangs up

    async with serving(talk) as port:
        for _ in range(2):
            answer = await callout.request("POST", f"http://127.0.0.1:{port}/", headers={})
            assert answer.status == 200
    assert served == 2


async def test_certificates_are_verified_and_a_bundle_can_be_added(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    async with server(handle, context) as port:
        strict = HttpCallout(loopback_open=True)
        with pytest.raises(CalloutFailed) as caught:
            await strict.request("GET", f"https://localhost:{port}/", headers={})
        assert caught.value.reason == "tls"
        await strict.close()
        trusting = HttpCallout(loopback_open=True, ca_bundle=bundle)
        assert (await trusting.request("GET", f"https://localhost:{port}/", headers={})).status == 204
        with pytest.raises(CalloutFailed) as caught:  # the certificate is for another name
            await trusting.request("GET", f"https://127.0.0.1:{port}/", headers={})
        assert caught.value.reason == "tls"
        await trusting.close()


async def test_a_name_that_changes_its_answer_is_refused_at_the_next_connection() -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(headers={"Connection": "close"})

    names = Names(hook_example=["127.0.0.1", "10.0.0.1"])
    callout = HttpCallout(resolve=names.resolve, loopback_open=True)
    async with server(handle) as port:
        # The scheme is http because the server is; what matters is the second answer of the resolver.
        url = f"http://hook.example:{port}/"
        callout._endpoints[url] = callout_url.parse(url)
        assert (await callout.request("GET", url, headers={})).status == 200
        with pytest.raises(CalloutFailed) as caught:
            await callout.request("GET", url, headers={})
        assert caught.value.reason == "refused-address"
    assert names.asked == ["hook.example", "hook.example"]
    await callout.close()


async def test_a_name_with_an_internal_answer_is_refused_unless_it_is_allowed() -> None:
    reached = 0

    async def handle(_request: web.Request) -> web.Response:
        nonlocal reached
        reached += 1
        return web.Response()

    async with server(handle) as port:
        strict = HttpCallout(resolve=Names(inside_example=["127.0.0.1"]).resolve)
        with pytest.raises(CalloutFailed) as caught:
            await strict.request("GET", f"https://inside.example:{port}/", headers={})
        assert caught.value.reason == "refused-address"
        assert reached == 0
        await strict.close()
        allowing = HttpCallout(resolve=Names(inside_example=["127.0.0.1"]).resolve, allowed_hosts=["Inside.Example"])
        assert (await allowing.request("GET", f"http://inside.example:{port}/", headers={})).status == 200
        await allowing.close()


INTERNAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",
    "::a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::5efe:a00:1",
    "fec0::1",
    "ff02::1",
    "2606:4700::5efe:7f00:1",
    "3fff::1",
    "5f00::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INTERNAL)
def test_an_internal_address_is_known_in_every_clothing(address: str) -> None:
    assert is_internal(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Invalid):
        HttpCallout().check(f"https://{host}/hook")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_open(address: str) -> None:
    assert not is_internal(ip_address(address))
    HttpCallout().check(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://1.1.1.1./",
        "https://256.1.1.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://%31%32%37.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "http://hook.example/",
        "ftp://hook.example/",
        "file:///etc/passwd",
        "//hook.example/",
        "/hook",
        "",
        "https://",
        "https://hook.example:0/",
        "https://hook.example:99999/",
        "https://user:secret@hook.example/",
        "https://hook.example@127.0.0.1/",
        "http://localhost/",
        "javascript:alert(1)",
    ],
)
def test_a_url_that_could_only_do_harm_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        HttpCallout().check(url)


def test_dev_opens_loopback_and_nothing_else() -> None:
    dev = HttpCallout(loopback_open=True)
    for url in ("http://localhost:3000/", "http://hook.localhost/", "http://127.0.0.1:1/", "http://[::1]/x"):
        dev.check(url)
    for url in ("http://10.0.0.1/", "http://hook.example/", "https://169.254.169.254/", "http://[::ffff:10.0.0.1]/"):
        with pytest.raises(Invalid):
            dev.check(url)


def test_an_allowed_host_may_be_anything() -> None:
    callout = HttpCallout(allowed_hosts=["hooks.internal", "10.1.2.3", "[fd00::7]"])
    for url in ("http://HOOKS.internal/", "https://hooks.internal.:8443/", "http://10.1.2.3/", "http://[fd00::7]/"):
        callout.check(url)
    with pytest.raises(Invalid):
        callout.check("http://10.1.2.4/")


async def test_an_allowed_network_is_open_by_address_and_by_name_but_only_with_tls() -> None:
    names = Names(hook_example=["10.1.2.3"], other_example=["10.2.2.3"])
    callout = HttpCallout(allowed_hosts=["10.1.0.0/16", "fd00::/8"], resolve=names.resolve)
    callout.check("https://10.1.9.9/")
    callout.check("https://[fd00::7]/")
    for url in ("https://10.2.0.1/", "http://10.1.9.9/"):
        with pytest.raises(Invalid):
            callout.check(url)
    assert [found.host for found in await callout._dialer.addresses("hook.example", 443)] == ["10.1.2.3"]
    with pytest.raises(CalloutFailed):
        await callout._dialer.addresses("other.example", 443)
