"""The bus that the configuration asks for: NATS of the operator's, a NATS server run by us for the processes of this
machine, or none where one process serves alone."""

import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace
from prometheus_client.registry import CollectorRegistry

from landline.app.config import Config
from landline.engines.bus import MemoryBus
from landline.ports.bus import Bus

if TYPE_CHECKING:
    from landline.engines.nats.settings import Settings


def engine(config: Config) -> Bus:
    """The bus, not started; where the supervisor runs NATS, of a configuration that was `settled`. Raises
    `CannotUse`."""
    if not config.nats_urls:
        return MemoryBus()
    from landline.engines.nats.bus import NatsBus  # which not everybody needs

    return NatsBus(_settings(config))


def metrics(registry: CollectorRegistry, bus: Bus) -> None:
    """Show what passes over `bus`, if anything leaves the process."""
    if isinstance(bus, MemoryBus):
        return
    from landline.engines.nats.bus import NatsBus
    from landline.engines.nats.metrics import BusMetrics

    if isinstance(bus, NatsBus):
        BusMetrics(registry, bus)


async def settled(config: Config, stack: AsyncExitStack) -> Config:
    """What several processes of this machine must know alike: the server that is run for them until `stack` ends, when
    there is no other. Raises `CannotRun`."""
    if not _runs_server(config):
        return config
    from landline.engines.nats.server import NatsServer

    server = NatsServer(config.nats_program)
    await server.start()
    stack.push_async_callback(server.close)
    return replace(
        config,
        nats_urls=(server.url,),
        nats_credentials=None,
        nats_ca=None,
        nats_certificate=None,
        nats_certificate_key=None,
    )


def circle(config: Config, owner: UUID | None = None) -> str:
    """A word for the processes that the process `owner` of this `settled` configuration hears: theirs is the same. Two
    that are given different servers of one cluster are of one circle."""
    if not config.nats_urls:
        return f"alone {owner}"
    from landline.engines.nats.server import runs_here

    own = [url for url in config.nats_urls if runs_here(url)]
    where = f" here {hashlib.sha256(own[0].encode()).hexdigest()[:16]}" if own else ""
    return f"nats {config.nats_prefix}{where}"


def check(config: Config) -> None:
    """Whether the settings can be, and a program that they need is there. Raises `CannotUse`, `CannotRun`."""
    if config.nats_urls:
        _settings(config).check()
    elif _runs_server(config):
        from landline.engines.nats.server import found

        found(config.nats_program)


def _runs_server(config: Config) -> bool:
    """Workers without a public port hear nothing, and what they say to nobody is for the server's own processes."""
    return config.workers > 1 and not config.nats_urls and config.mode != "worker"


def _settings(config: Config) -> "Settings":
    from landline.engines.nats.settings import Settings, server

    secure = config.nats_ca is not None or config.nats_certificate is not None
    return Settings(
        tuple(server(url, secure=secure) for url in config.nats_urls),
        config.nats_prefix,
        config.nats_credentials,
        config.nats_ca,
        config.nats_certificate,
        config.nats_certificate_key,
    )
