"""The TURN relay that the configuration asks for: coturn run by us, somebody else's servers, or none."""

import re
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from landline.app.config import CannotConfigure, Config
from landline.app.secrets import kept
from landline.engines.coturn.external import ExternalRelay
from landline.engines.coturn.server import Coturn, free_port
from landline.engines.coturn.settings import Network, Settings
from landline.ports.relay import Relay

STANDARD_PORT = 3478  # RFC 8656 §4
_SECRET = re.compile(r"[\x21-\x7e]{16,}")
_URL = re.compile(r"(?:stun|turn)s?:[^\s/]+(?:\?transport=(?:udp|tcp))?")


def engine(config: Config, *, runs_it: bool = True) -> Relay | None:
    """The relay, not started; None when none is configured. `runs_it` False: an own relay is run by another process of
    the same server, whose configuration was `settled`. Raises `CannotConfigure`, `CannotRun`."""
    check(config)
    if config.relay_urls:
        return ExternalRelay(config.relay_urls, config.relay_secrets)
    if not config.relay or config.mode == "worker":  # which answers no client
        return None
    listen = _listen(config)
    settings = Settings(
        _port(config, listen),
        config.domain,
        config.relay_secrets or (kept(config.data / "relay-secret"),),
        listen,
        config.relay_external_ip,
        config.relay_first_port,
        config.relay_last_port,
        allowed_peers(config),
        config.relay_user_quota,
        config.relay_total_quota,
        config.relay_bytes_per_s,
    )
    host = config.relay_host or (listen[0] if config.mode == "dev" else config.domain)
    own = Coturn(settings, config.data / "relay", host=host, program=config.relay_program)
    return own if runs_it else ExternalRelay(own.urls, settings.secrets)


def settled(config: Config) -> Config:
    """What several processes of one server must know alike of the relay that one of them runs."""
    if not config.relay:
        return config
    return replace(
        config,
        relay_port=_port(config, _listen(config)),
        relay_secrets=config.relay_secrets or (kept(config.data / "relay-secret"),),
    )


def check(config: Config) -> None:
    """Whether the settings of the relay can be. Raises `CannotConfigure`; touches nothing."""
    if any(_SECRET.fullmatch(secret) is None for secret in config.relay_secrets):
        raise CannotConfigure("relay_secrets: each is 16 printable ASCII characters or more, without spaces")
    if config.relay_urls and config.relay:
        raise CannotConfigure("both relay and relay_urls are set: have Landline run a relay, or use another, not both")
    if config.relay_urls and not config.relay_secrets:
        raise CannotConfigure("relay_urls needs relay_secrets: the secret that those servers share with Landline")
    for url in config.relay_urls:
        if _URL.fullmatch(url) is None:
            raise CannotConfigure(f"relay_urls: {url} is no URL of a TURN server, as turn:turn.example.org:3478")
    for address in (*config.relay_listen, *([config.relay_external_ip] if config.relay_external_ip else ())):
        _check_address(address)
    if config.relay_first_port > config.relay_last_port:
        raise CannotConfigure("relay_first_port is above relay_last_port")
    allowed_peers(config)


def allowed_peers(config: Config) -> tuple[Network, ...]:
    """The networks of `relay_peers_allow`. Raises `CannotConfigure`."""
    try:
        return tuple(ip_network(text) for text in config.relay_peers_allow)
    except ValueError as error:
        raise CannotConfigure(f"relay_peers_allow: {error}") from None


def _listen(config: Config) -> tuple[str, ...]:
    return config.relay_listen or (("127.0.0.1",) if config.mode == "dev" else ())


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise CannotConfigure(f"relay_listen and relay_external_ip take IP addresses, not {text}") from None


def _port(config: Config, listen: tuple[str, ...]) -> int:
    """As configured; else the standard one, or in dev any free one when that is taken."""
    if config.relay_port is not None:
        return config.relay_port or free_port(listen)
    return free_port(listen, STANDARD_PORT) if config.mode == "dev" else STANDARD_PORT
