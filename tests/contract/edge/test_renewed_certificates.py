"""Certificates of a running server: renewed ones are shown to new connections, and their ends are told in time."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from cryptography import x509
from prometheus_client import CollectorRegistry
from trustme import KeyType

from landline.app import certificates
from landline.app.config import Config, load
from landline.app.served_certificates import Certificates, Served
from landline.core.errors import Unavailable
from landline.edge.app import Edge
from landline.edge.cors import Cors
from landline.edge.gate import Gate
from landline.edge.metrics import RequestMetrics
from landline.edge.server import bind, listen
from landline.engines.clock import SystemClock

NAME = "sms.example.com"
USE = "landline_certificate_ends_timestamp_seconds"


class Site:
    """An authority, the files of what it issued, and a listener that serves with them."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.chain, self.key = directory / "chain.pem", directory / "key.pem"
        self.now = datetime.now(UTC)
        self.port = 0

    def issue(self, days: float = 80, *, life: float = 90, kind: KeyType = KeyType.ECDSA) -> datetime:
        """Put a new certificate in place, as ACME clients do; when it ends."""
        ends = (self.now + timedelta(days=days)).replace(microsecond=0)
        leaf = self.authority.issue_cert(NAME, not_before=ends - timedelta(days=life), not_after=ends, key_type=kind)
        self.put(self.key, leaf.private_key_pem.bytes())
        self.put(self.chain, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return ends

    def put(self, file: Path, content: bytes) -> None:
        making = file.with_suffix(".making")
        making.write_bytes(content)
        os.replace(making, file)

    def config(self, **more: object) -> Config:
        flags: dict[str, Any] = {"certificate": str(self.chain), "certificate_key": str(self.key), **more}
        return load("serve", environment={}, flags=flags)

    async def shown(self, *, tls12: bool = False) -> datetime:
        """The end of the certificate that a new client is shown."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=NAME)
        shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()
        return shown.not_valid_after_utc


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def serve(site: Site) -> AsyncGenerator[Any]:
    listeners: list[Any] = []

    async def started() -> Served:
        served = Served(site.config())
        app = Edge([], Gate(), metrics=RequestMetrics(CollectorRegistry()), cors=Cors(()))
        listeners.append(await listen(app, bind("127.0.0.1", 0), served.context))
        site.port = listeners[-1].port
        return served

    yield started
    for listener in listeners:
        await listener.close()


def watch(config: Config, served: Served | None, *, leads: bool = True) -> tuple[Certificates, CollectorRegistry]:
    registry = CollectorRegistry()
    watching = Certificates(config, SystemClock(), registry, leads=leads)
    watching.served = served
    return watching, registry


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in KeyType for b in KeyType], ids=str)
async def test_a_renewed_certificate_is_shown_to_new_connections(
    first: KeyType, second: KeyType, site: Site, serve: Any
) -> None:
    former = site.issue(20, kind=first)
    served = await serve()
    assert await site.shown() == former
    renewed = site.issue(80, kind=second)
    served.look(site.now)
    assert await site.shown() == former  # its files may be half written
    served.look(site.now)
    assert await site.shown() == renewed
    assert await site.shown(tls12=True) == renewed


async def test_files_that_do_not_work_are_told_once_and_the_former_certificate_goes_on(site: Site, serve: Any) -> None:
    former = site.issue(20)
    served = await serve()
    chain, key = site.chain.read_bytes(), site.key.read_bytes()
    site.put(site.chain, chain[:100])
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            served.look(site.now)
    assert [each["event"] for each in logs] == ["certificate.not_loaded"]
    assert await site.shown() == former
    assert served.life.ends == former
    site.chain.unlink()
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            served.look(site.now)
    assert [each["event"] for each in logs] == ["certificate.not_loaded"]
    site.put(site.chain, chain)
    site.put(site.key, key)
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            served.look(site.now)
    assert [each["event"] for each in logs] == ["certificate.loaded"]
    assert await site.shown() == former


async def test_a_link_to_another_file_counts_as_a_change(site: Site, serve: Any, tmp_path: Path) -> None:
    site.issue(20)
    live = [tmp_path / "live-chain.pem", tmp_path / "live-key.pem"]
    for link, file in zip(live, (site.chain, site.key), strict=True):
        file.rename(tmp_path / f"1-{file.name}")
        link.symlink_to(tmp_path / f"1-{file.name}")
    renewed = site.issue(80)
    made = [site.chain, site.key]
    site.chain, site.key = live
    served = await serve()
    for link, file in zip(live, made, strict=True):
        link.unlink()
        link.symlink_to(file)
    for _ in range(2):
        served.look(site.now)
    assert await site.shown() == renewed


async def test_sighup_takes_up_another_kind_of_key_at_once(site: Site, serve: Any) -> None:
    site.issue(20, kind=KeyType.ECDSA)
    served = await serve()
    renewed = site.issue(80, kind=KeyType.RSA)
    served.load()
    assert await site.shown() == renewed


async def test_its_end_is_a_metric_of_what_is_served_and_not_of_a_broken_file(site: Site) -> None:
    ends = site.issue(20)
    served = Served(site.config())
    watching, registry = watch(site.config(), served)
    site.put(site.chain, b"broken")
    for _ in range(3):
        watching.look(site.now)
    assert registry.get_sample_value(USE, {"certificate": "served"}) == ends.timestamp()


async def test_the_log_and_the_health_tell_of_the_end_in_time_and_once_a_day(site: Site) -> None:
    site.issue(29, life=365)
    watching, _ = watch(site.config(), Served(site.config()))
    hours = [site.now + timedelta(hours=hour) for hour in range(49)]
    with structlog.testing.capture_logs() as logs:
        for at in hours:
            watching.look(at)
    assert [(each["event"], each["log_level"]) for each in logs] == [("certificate.ends_soon", "warning")] * 3
    with pytest.raises(Unavailable, match=r"the certificate served ends on .*: renew it"):
        await watching.check()
    with structlog.testing.capture_logs() as logs:
        watching.look(site.now + timedelta(days=29, minutes=1))
    assert [(each["event"], each["log_level"]) for each in logs] == [("certificate.ended", "error")]


@pytest.mark.parametrize(("life", "days", "told"), [(365, 31, False), (365, 29, True), (90, 29, False), (90, 22, True)])
async def test_the_end_is_near_at_30_days_or_a_quarter_of_a_shorter_life(
    life: int, days: int, told: bool, site: Site
) -> None:
    site.issue(days, life=life)
    watching, _ = watch(site.config(), Served(site.config()))
    with structlog.testing.capture_logs() as logs:
        watching.look(site.now)
    assert [each["event"] for each in logs] == ["certificate.ends_soon"] * told


async def test_only_one_process_of_a_server_tells_and_all_are_degraded(site: Site) -> None:
    site.issue(5)
    watching, _ = watch(site.config(), Served(site.config()), leads=False)
    with structlog.testing.capture_logs() as logs:
        watching.look(site.now)
    assert logs == []
    with pytest.raises(Unavailable):
        await watching.check()


async def test_what_is_shown_to_a_carrier_is_watched_too(site: Site) -> None:
    ends = site.issue(3)
    carrier = {"kind": "smpp", "name": "north", "host": "h", "port": 1, "system_id": "me", "password": "pw"}
    tls = {"certificate_file": str(site.chain), "key_file": str(site.key)}
    config = load("worker", environment={}, flags={"carriers": [{**carrier, "tls": tls}]})
    watching, registry = watch(config, None)
    with structlog.testing.capture_logs() as logs:
        watching.look(site.now)
    assert [each["use"] for each in logs] == ["carrier:north"]
    assert registry.get_sample_value(USE, {"certificate": "carrier:north"}) == ends.timestamp()
    with pytest.raises(Unavailable, match="carrier:north"):
        await watching.check()
    site.issue(80)
    watching.look(site.now)
    await watching.check()


async def test_the_certificate_of_dev_is_renewed_while_it_runs(tmp_path: Path) -> None:
    config = load("dev", environment={}, flags={"data": str(tmp_path)})
    served = Served(config)
    former, late = served.life.ends, served.life.ends - timedelta(days=29)
    served.look(late, makes=False)
    served.look(late, makes=False)
    assert served.life.ends == former
    served.look(late)
    served.look(late)
    assert served.life.ends > former + timedelta(days=700)
    assert certificates.ends(tmp_path / "certificates" / "certificate.pem") == served.life.ends
