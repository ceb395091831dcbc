"""The certificates of a running process: the one it serves with, loaded again when its files change so that a renewed
one is shown to new connections without a restart; those it shows to carriers and to NATS; and word of their ends.
"""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from landline.app import certificates
from landline.app.certificates import DevContexts, Life
from landline.app.config import Config
from landline.core.errors import Unavailable
from landline.edge.server import CannotListen, tls_context
from landline.ports.clock import Clock

log = structlog.get_logger()

LOOK_S = 10.0
"""How often files are looked at. They are loaded when they stay the same from one look to the next: a certificate and
its key are not written at once."""
_TOLD_EVERY = timedelta(days=1)

_Stamp = tuple[tuple[int, int, int], ...] | None


class Served:
    """What TLS is served with. `context` is given to listeners once, and shows new connections what was loaded last."""

    def __init__(self, config: Config) -> None:
        """Raises `CannotListen`. The certificates of `dev` are made where there are none."""
        self.bundle: Path | None = None
        """In `dev` what clients trust."""
        self._config = config
        self._dev = config.certificate is None or config.certificate_key is None
        self._seen = self._loaded = _stamp(self._files())
        self._choose, self.life = self._read()
        # Another chain is not loaded into the context itself: one with a key of another kind (RSA, EC) would be added
        # to the one that is there, and clients would be shown the old one.
        self.context = self._choose(None)
        self.context.sni_callback = self._show

    def look(self, now: datetime, *, makes: bool = True) -> None:
        """Load the files if they have changed. `makes`: in `dev` this process renews them before their end."""
        if self._dev and makes and self.life.ends <= now + certificates.RENEWED_BEFORE:
            certificates.ensure(self._config.data / "certificates", now)
        stamp, seen = _stamp(self._files()), self._seen
        self._seen = stamp
        if stamp == seen and stamp != self._loaded:
            self.load()

    def load(self) -> None:
        """Have new connections shown what the files hold now; what they were shown before when that does not work."""
        self._loaded = self._seen = _stamp(self._files())
        try:
            self._choose, self.life = self._read()
            log.info("certificate.loaded", ends=self.life.ends.isoformat())
        except (CannotListen, OSError, ValueError) as error:
            log.error("certificate.not_loaded", reason=str(error))

    def _read(self) -> tuple[Callable[[str | None], ssl.SSLContext], Life]:
        certificate, key = self._config.certificate, self._config.certificate_key
        if certificate is not None and key is not None:
            context = tls_context(certificate, key)
            return lambda _name: context, certificates.life(certificate)
        files = certificates.ensure(self._config.data / "certificates", datetime.now(UTC))
        self.bundle = files.bundle
        self._seen = self._loaded = _stamp(self._files())
        return DevContexts(files).of, certificates.life(files.certificate)

    def _files(self) -> list[Path]:
        certificate, key = self._config.certificate, self._config.certificate_key
        made = self._config.data / "certificates"
        return [certificate or made / "certificate.pem", key or made / "key.pem"]

    def _show(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        """Called for every connection, also for those that name no server."""
        connection.context = self._choose(name)


@dataclass(frozen=True, slots=True)
class Soon:
    """A certificate that is to be renewed."""

    use: str
    ends: datetime
    ended: bool

    def __str__(self) -> str:
        return f"the certificate {self.use} {'ended' if self.ended else 'ends'} on {self.ends:%Y-%m-%d}: renew it"


class Certificates(Collector):
    """Watches those of a process by the machine's own time, which nobody drives."""

    def __init__(self, config: Config, clock: Clock, registry: CollectorRegistry, *, leads: bool = True) -> None:
        """`leads`: this process tells for all of its server, and makes the certificates of `dev`."""
        self.served: Served | None = None
        self._shown = certificates.shown_to_others(config)
        self._clock = clock
        self._leads = leads
        self._lives: dict[str, Life] = {}
        self._told: dict[str, datetime] = {}
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metric of when each ends. Fills `Collector`."""
        ends = GaugeMetricFamily(
            "landline_certificate_ends_timestamp_seconds",
            "When a certificate ends (Unix time).",
            labels=["certificate"],
        )
        for use, life in self._lives.items():
            ends.add_metric([use], life.ends.timestamp())
        yield ends

    async def check(self) -> None:
        """For `/healthz`. Raises `Unavailable` while one is to be renewed."""
        soon = self._soon(self._clock.now())
        if soon:
            raise Unavailable("; ".join(map(str, soon)))

    async def run(self) -> None:
        """Look every `LOOK_S`, until cancelled."""
        alarm = self._clock.alarm()
        try:
            while True:
                now = self._clock.now()
                self.look(now)
                await alarm.wait(now + timedelta(seconds=LOOK_S))
        finally:
            alarm.close()

    def look(self, now: datetime) -> None:
        """Take up what was renewed, and tell of what is to be, once a day."""
        if self.served is not None:
            self.served.look(now, makes=self._leads)
            self._lives["served"] = self.served.life
        for use, file in self._shown.items():
            try:
                self._lives[use] = certificates.life(file)
            except (OSError, ValueError):  # whoever connects says so, and goes on with what worked last
                continue
        for each in self._soon(now) if self._leads else ():
            if now - self._told.get(each.use, datetime.min.replace(tzinfo=UTC)) >= _TOLD_EVERY:
                self._told[each.use] = now
                tell = log.error if each.ended else log.warning
                tell(
                    "certificate.ended" if each.ended else "certificate.ends_soon",
                    use=each.use,
                    ends=each.ends.isoformat(),
                )

    def _soon(self, now: datetime) -> list[Soon]:
        return [
            Soon(use, life.ends, life.ends <= now) for use, life in self._lives.items() if life.to_be_renewed_at <= now
        ]


def _stamp(files: list[Path]) -> _Stamp:
    """What changes when a file is written, or another one put in its place; a link counts as what it points to."""
    try:
        found = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((each.st_ino, each.st_mtime_ns, each.st_ctime_ns) for each in found)
