"""What `serve` will not start with: each problem is one line that says what to do."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from landline.app import bus, carriers, certificates, relay
from landline.app.config import CannotConfigure, Config
from landline.app.secrets import LEAST_SECRET_BYTES, admin_token, sealing_secret
from landline.core.errors import Invalid, Refusal
from landline.edge.server import CannotListen, tls_context
from landline.engines.coturn.settings import reaches_loopback
from landline.services.sms.model.settings import checked_countries

_LEAST_DIFFERENT = 10
_LEAST_TOKEN = 16
_PLACEHOLDERS = ("changeme", "change-me", "change me", "placeholder", "example", "your-secret", "secret-here", "xxxx")
_DEV_ONLY = {
    "simulated_carrier": "texts would reach nobody",
    "driven_clock": "time could be moved",
    "open_webhooks": "webhooks could reach this machine's own network",
    "dev_issuer": "anyone could get a service token",
}


def problems(config: Config, now: datetime) -> list[str]:
    """Everything that keeps `config` from production at the instant `now`; nothing when it may serve."""
    found = _certificate(config, now) if config.mode == "serve" else []  # a worker has no public port
    if config.mode == "worker" and config.dsn is None:
        found.append("set dsn to the PostgreSQL of the server whose work is to be shared")
    found += [*_secret(config), *_countries(config)]
    found += [f"set {name} to false: {why}" for name, why in _DEV_ONLY.items() if getattr(config, name)]
    found += [*_admin_token(config), *_relay(config), *_bus(config)]
    if config.seed is not None:
        found.append("remove seed: it belongs to the simulated carrier")
    return found + carriers.problems(config)


def warnings(config: Config) -> list[str]:
    """What `config` may serve with and its operator should know."""
    found: list[str] = []
    if not config.sms_countries:
        found.append(
            "sms_countries is empty: every text is refused (4003), but those of resources that allow countries "
            "themselves. Set it to the countries you send to, such as US,CA"
        )
    if config.mode == "serve" and not config.carriers:
        found.append("there is no carrier: every text fails (5001). Add a table [[carriers]] to the configuration")
    return [*found, *_short_token(config), *_other_name(config), *carriers.warnings(config)]


def _other_name(config: Config) -> list[str]:
    """A certificate of another name may be meant: a proxy in front has one of its own."""
    with suppress(OSError, ValueError):  # which `problems` tells
        if config.certificate is not None and not certificates.is_for(config.certificate, config.domain.strip("[]")):
            return [
                f"{config.certificate} is not for {config.domain}: clients refuse it, unless a proxy with another one "
                "is in front. Set domain to the name clients use, or get a certificate for it"
            ]
    return []


def _countries(config: Config) -> list[str]:
    try:
        checked_countries(config.sms_countries)
    except Invalid as error:
        return [f"sms_countries: {error.message}"]
    return []


def _certificate(config: Config, now: datetime) -> list[str]:
    certificate, key = config.certificate, config.certificate_key
    if certificate is None or key is None:
        return ["set certificate and certificate_key to the PEM files of a certificate for your domain"]
    missing = [
        f"{file} cannot be read: correct the setting {name}" for name, file in _files(config) if not _readable(file)
    ]
    if missing:
        return missing
    try:
        tls_context(certificate, key)
        ends, issuer = certificates.ends(certificate), certificates.issuer(certificate)
    except CannotListen as error:
        return [error.message]
    except ValueError:
        return [f"{certificate} holds no certificate in PEM: correct the setting certificate"]
    if issuer == certificates.AUTHORITY_NAME:
        return [f"{certificate} was made by `landline dev`: get one that your clients' machines trust"]
    if ends <= now:
        return [f"{certificate} ended on {ends:%Y-%m-%d}: renew it"]
    return []


def _files(config: Config) -> list[tuple[str, Path]]:
    named = [("certificate", config.certificate), ("certificate_key", config.certificate_key)]
    return [(name, file) for name, file in named if file is not None]


def _readable(file: Path) -> bool:
    try:
        file.read_bytes()
    except (OSError, CannotConfigure):  # without a home there is no `dev` of this user either
        return False
    return True


def _relay(config: Config) -> list[str]:
    try:
        relay.check(config)
        allowed = relay.allowed_peers(config)
    except Refusal as error:
        return [error.message]
    if any(reaches_loopback(network) for network in allowed):
        return [
            "take loopback out of relay_peers_allow: anyone with credentials could reach this machine's own services"
        ]
    return []


def _bus(config: Config) -> list[str]:
    try:
        bus.check(config)
    except Refusal as error:
        return [error.message]
    return []


def _admin_token(config: Config) -> list[str]:
    try:
        admin_token(config)
    except CannotConfigure as error:
        return [error.message]
    return []


def _short_token(config: Config) -> list[str]:
    """Servers have begun with one: they go on."""
    try:
        token = admin_token(config)
    except CannotConfigure:  # a problem
        return []
    if token is None or len(token) >= _LEAST_TOKEN:
        return []
    return [
        f"admin_token is shorter than {_LEAST_TOKEN} characters and can be guessed: make one with"
        " `openssl rand -base64 32`, or remove it to have one made and kept in the data directory"
    ]


def _secret(config: Config) -> list[str]:
    try:
        secret = sealing_secret(config)
    except CannotConfigure as error:
        return [error.message]
    advice = "make one with `openssl rand -base64 32`, keep it safe, and name its file in sealing_secret_file"
    if secret is None:
        return [f"there is no sealing secret: {advice}"]
    if len(secret.encode()) < LEAST_SECRET_BYTES:
        return [f"the sealing secret is shorter than {LEAST_SECRET_BYTES} bytes: {advice}"]
    guessable = len(set(secret)) < _LEAST_DIFFERENT or any(word in secret.lower() for word in _PLACEHOLDERS)
    if guessable or _of_dev(secret):
        return [f"the sealing secret is a placeholder or the one of `landline dev`: {advice}"]
    return []


def _of_dev(secret: str) -> bool:
    from landline.app.config import default_data

    try:
        return (default_data("dev") / "sealing-secret").read_text("utf-8").strip() == secret
    except OSError:
        return False
