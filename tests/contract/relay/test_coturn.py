"""A real coturn as Landline runs it: whom it lets in, whom it relays to, and what becomes of its process."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from secrets import token_urlsafe

import pytest
import pytest_asyncio
from tests.support import turn
from tests.support.patience import PATIENCE_S
from tests.support.turn import Refused, Turn

from landline.core.errors import Unavailable
from landline.engines.coturn.server import CannotRun, Coturn, free_port
from landline.engines.coturn.settings import DENIED, Settings, configuration, peers
from landline.services.relay import model
from landline.services.relay.model import Credentials

FIRST, SECOND = token_urlsafe(32), token_urlsafe(32)
LISTEN = ("127.0.0.1", "::1")
SECOND_PEER = "127.0.0.3"  # allowed as the first is, 127.0.0.1


def settings() -> Settings:
    return Settings(
        free_port(LISTEN),
        "landline.example",
        (FIRST, SECOND),
        LISTEN,
        first_port=49152,
        last_port=50151,
        allowed_peers=(ip_network("127.0.0.1/32"), ip_network(f"{SECOND_PEER}/32")),
        user_quota=3,
    )


def credentials(secret: str = FIRST, *, ttl_s: int = 600, user: str | None = None) -> Credentials:
    return model.credentials(secret.encode(), user or f"8:acs:test_{token_urlsafe(6)}", datetime.now(UTC), ttl_s)


def client(coturn: Coturn, proof: Credentials | None = None, *, address: str = "127.0.0.1") -> Turn:
    proof = proof or credentials()
    return Turn((address, coturn.port), proof.username, proof.password)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Coturn]:
    """One for the tests that leave it as it is."""
    coturn = Coturn(settings(), tmp_path_factory.mktemp("relay") / "coturn", host="127.0.0.1")
    await coturn.start()
    yield coturn
    await coturn.close()


@pytest.fixture
async def coturn(tmp_path: Path) -> AsyncGenerator[Coturn]:
    """One of a test's own."""
    coturn = Coturn(settings(), tmp_path / "relay" / "coturn", host="127.0.0.1")
    await coturn.start()
    yield coturn
    await coturn.close()


def test_issued_credentials_let_two_clients_reach_each_other_through_it(shared: Coturn) -> None:
    with client(shared) as one, client(shared, credentials(SECOND)) as other:
        one.allocate()
        other.allocate()
        assert one.relayed
        assert other.relayed
        one.permit(other.relayed[0])
        other.permit(one.relayed[0])
        one.send(other.relayed, b"hello")
        assert other.receive() == (one.relayed, b"hello")
        other.send(one.relayed, b"and back")
        assert one.receive() == (other.relayed, b"and back")


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(credentials("another secret of this length"), id="another secret"),
        pytest.param(credentials(ttl_s=-1), id="expired"),
        pytest.param(replace(credentials(), password="guessed"), id="another password"),
        pytest.param(replace(credentials(ttl_s=-1), username=credentials().username), id="a later end than proved"),
        pytest.param(Credentials("8:acs:no_end", "x", datetime.now(UTC)), id="no end"),
        pytest.param(Credentials("", "", datetime.now(UTC)), id="empty"),
    ],
)
def test_nothing_else_lets_a_client_in(shared: Coturn, proof: Credentials) -> None:
    with client(shared, proof) as one, pytest.raises(Refused) as refused:
        one.allocate()
    assert refused.value.code in {400, 401}


async def test_credentials_end_when_they_said(shared: Coturn) -> None:
    proof = await short_lived(shared)
    while await refusal(shared, proof) != 401:  # coturn reads the machine's clock: ask until it says that they ended
        await asyncio.sleep(0.05)
    assert datetime.now(UTC) >= proof.expires_at


async def short_lived(coturn: Coturn) -> Credentials:
    """Credentials that end soon and have let a client in: where that took longer than their life, others get more."""
    for ttl_s in (2, 10, 60):
        proof = credentials(ttl_s=ttl_s)
        refused = await refusal(coturn, proof)
        if refused is None:
            return proof
        assert (refused, datetime.now(UTC) >= proof.expires_at) == (401, True)
    raise AssertionError("a minute was not enough to ask for a relay")


async def refusal(coturn: Coturn, proof: Credentials) -> int | None:
    """How an allocation is refused (486 when those before it are not yet given back), or None."""
    with client(coturn, proof) as one:
        try:
            one.allocate()
            one.refresh(0)
        except Refused as refused:
            return refused.code
    return None


@pytest.mark.parametrize("network", DENIED, ids=str)
def test_it_relays_to_no_address_that_is_not_public(shared: Coturn, network: object) -> None:
    inside = ip_network(str(network))
    first, last = int(inside.network_address), int(inside.broadcast_address)
    middle = (first + last) // 2
    version = inside.version
    address, family = ("127.0.0.1", 1) if version == 4 else ("::1", 2)
    numbers = {first, first + 1, middle, middle ^ 0x5A, last - 1, last} - {int(ip_address("127.0.0.1"))}
    wanted = [ip_address(number) if version == 4 else ip_address(number.to_bytes(16)) for number in sorted(numbers)]
    with client(shared, address=address) as one:
        one.allocate(family=family)
        for peer in wanted:
            with pytest.raises(Refused) as refused:
                one.permit(str(peer))
            assert refused.value.code == 403, peer
            with pytest.raises(Refused) as refused:
                one.bind_channel((str(peer), 80))
            assert refused.value.code == 403, peer


@pytest.mark.parametrize(
    "peer",
    [
        "127.0.0.2",  # beside the one that is allowed
        "127.1.1.1",
        "0.0.0.0",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",  # Azure's, public by its range: its DNS knows the names of private zones
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::10.0.0.0",
        "64:ff9b::7f00:1",
        "fd00:ec2::254",
        "2002:7f00:1::",
    ],
)
def test_the_known_ways_around_are_closed(shared: Coturn, peer: str) -> None:
    six = ":" in peer
    with client(shared, address="::1" if six else "127.0.0.1") as one:
        one.allocate(family=2 if six else 1)
        with pytest.raises(Refused) as refused:
            one.permit(peer)
    assert refused.value.code == 403


@pytest.mark.parametrize("peer", ["8.8.8.8", "1.0.0.1", "223.255.255.1", "2606:4700::1111", "2a00::1", "3ffe::1"])
def test_it_may_relay_to_public_addresses(shared: Coturn, peer: str) -> None:
    six = ":" in peer
    with client(shared, address="::1" if six else "127.0.0.1") as one:
        one.allocate(family=2 if six else 1)
        one.permit(peer)


def test_what_was_not_permitted_does_not_arrive(shared: Coturn) -> None:
    # Two peers of which the client permits one. What crosses the relay after them, from one socket to one socket, keeps
    # its order: when it has arrived, the rest has been dropped and is not on its way.
    with client(shared) as one, peer_at("127.0.0.1") as permitted, peer_at(SECOND_PEER) as other:
        one.allocate()
        assert one.relayed
        other.sendto(b"before any permission", one.relayed)
        one.send(other.getsockname(), b"before any permission")
        one.permit("127.0.0.1")
        for _ in range(10):
            other.sendto(b"without a permission", one.relayed)
            one.send(other.getsockname(), b"without a permission")
        permitted.sendto(b"with one", one.relayed)
        assert one.receive() == (permitted.getsockname(), b"with one")
        one.send(permitted.getsockname(), b"and back")
        assert permitted.recvfrom(100) == (b"and back", one.relayed)
        one.permit(SECOND_PEER)
        one.send(other.getsockname(), b"now")
        assert other.recvfrom(100) == (b"now", one.relayed)
        other.sendto(b"now", one.relayed)
        assert one.receive() == (other.getsockname(), b"now")


def peer_at(address: str) -> socket.socket:
    """A peer without TURN."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((address, 0))
    peer.settimeout(PATIENCE_S)
    return peer


def test_it_relays_no_tcp(shared: Coturn) -> None:
    with client(shared) as one, pytest.raises(Refused) as refused:
        one.allocate(transport=turn.TCP)
    assert refused.value.code == 442


def test_one_user_has_a_quota(shared: Coturn) -> None:
    user = "8:acs:greedy_one"
    with ExitStack() as stack:
        held = [stack.enter_context(client(shared, credentials(user=user))) for _ in range(3)]
        for one in held:
            one.allocate()
        with client(shared, credentials(user=user)) as one, pytest.raises(Refused) as refused:
            one.allocate()
    assert refused.value.code == 486


def test_it_tells_nobody_what_it_is(shared: Coturn) -> None:
    with client(shared) as one:
        for answer in (one.binding(), one.allocate()):
            assert turn.SOFTWARE not in answer.attributes
            assert b"oturn" not in answer.packed()


def test_its_secret_is_for_its_user_alone(shared: Coturn) -> None:
    assert shared.pid
    file = shared.directory / "turnserver.conf"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    process = Path(f"/proc/{shared.pid}")
    assert file.stat().st_uid == process.stat().st_uid
    assert process.stat().st_uid != 0
    assert FIRST.encode() not in (process / "cmdline").read_bytes()


def test_only_its_own_port_listens(shared: Coturn) -> None:
    assert shared.pid
    inodes: set[str] = set()
    for entry in Path(f"/proc/{shared.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it may be closing what an earlier client had
            inodes.add(os.readlink(entry))
    listening: set[int] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{shared.pid}/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in inodes:
                listening.add(int(parts[1].rpartition(":")[2], 16))
    assert listening == {shared.port}


async def test_it_is_started_again_when_it_dies(coturn: Coturn) -> None:
    for _ in range(2):
        before = coturn.pid
        assert before
        os.kill(before, 9)
        while coturn.pid == before:
            await asyncio.sleep(0.01)
        while not await well(coturn):
            await asyncio.sleep(0.01)
        with client(coturn) as one:
            one.allocate()


async def well(coturn: Coturn) -> bool:
    try:
        await coturn.check()
    except Unavailable:
        return False
    return True


async def test_it_is_gone_when_it_is_closed(coturn: Coturn) -> None:
    pid = coturn.pid
    await coturn.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not await well(coturn)


async def test_a_port_that_is_taken_is_said(coturn: Coturn, tmp_path: Path) -> None:
    second = Coturn(replace(settings(), port=coturn.port), tmp_path / "second", host="127.0.0.1")
    with pytest.raises(CannotRun, match="relay_port"):
        await second.start()


async def test_a_program_that_is_not_there_or_no_coturn_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="apt-get install coturn"):
        await Coturn(settings(), tmp_path, host="127.0.0.1", program="no-such-turnserver").start()
    wrong = Coturn(settings(), tmp_path, host="127.0.0.1", program="false")
    with pytest.raises(CannotRun, match="did not start"):
        await wrong.start()
    assert wrong.pid is None


async def test_an_address_that_is_not_this_machines_is_said(tmp_path: Path) -> None:
    wrong = Coturn(replace(settings(), listen=("198.51.100.1",)), tmp_path, host="198.51.100.1")
    with pytest.raises(CannotRun):
        await wrong.start()


def test_loopback_is_only_open_when_it_is_allowed() -> None:
    assert "allow-loopback-peers" not in peers([])
    assert "allow-loopback-peers" not in peers([ip_network("10.1.0.0/16")])
    assert "allow-loopback-peers" in peers([ip_network("127.0.0.1/32")])
    assert "allow-loopback-peers" in peers([ip_network("::/0")])
    assert "allowed-peer-ip=10.1.0.0-10.1.255.255" in peers([ip_network("10.1.0.0/16")])


def test_nothing_in_the_settings_is_shown() -> None:
    assert FIRST not in repr(settings())
    assert f"static-auth-secret={FIRST}\nstatic-auth-secret={SECOND}" in configuration(settings())
