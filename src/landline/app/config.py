"""The configuration: one frozen value, put together from defaults, a TOML file, the environment and flags, later ones
over earlier ones. `python -m landline.app.config_reference` makes docs/reference/configuration.md of it."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from landline.app.carrier_settings import Rate, RouteTable, SmppTable
from landline.app.config_tables import (
    PASSWORD,
    PREFIX,
    TABLES,
    of_table,
    place,
    place_carriers,
    refuse_misplaced,
    tables,
    with_passwords,
)
from landline.app.config_values import (
    CannotConfigure,
    check_countries,
    check_hosts,
    check_issuer,
    check_origins,
    checked_domain,
    converted,
    expanded,
    from_text,
)
from landline.core import decode_errors

_PATHS = (
    "data",
    "certificate",
    "certificate_key",
    "sealing_secret_file",
    "ready_file",
    "nats_credentials",
    "nats_ca",
    "nats_certificate",
    "nats_certificate_key",
)
NOT_SETTINGS = frozenset(
    {
        "LANDLINE_ADMIN_URL",
        "LANDLINE_CONNECTION_STRING",
        "LANDLINE_PHONE_NUMBER",
        "LANDLINE_TEST_DSN",
        "LANDLINE_EXAMPLES",
        "LANDLINE_SIM_FIRST",
        "LANDLINE_SIM_SEED",
        "LANDLINE_SIM_SEEDS",
    }
)
"""Variables of the same prefix that commands and tests read. `LANDLINE_ADMIN_TOKEN` is theirs and a setting."""

__all__ = ["DEV", "SERVE", "CannotConfigure", "Config", "Mode", "default_data", "fields", "load"]
Mode: TypeAlias = Literal["dev", "serve", "worker"]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]


def _says(text: str) -> Meta:
    return Meta(description=text)


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of `landline dev`, `landline serve` and `landline worker`. Sizes are bytes, durations seconds."""

    mode: Annotated[Mode, _says("Set by the command, never by file or environment.")]
    data: Annotated[
        Path, _says("Directory of everything kept: the embedded database, tokens and, in dev, certificates.")
    ]

    host: Annotated[str, _says("Address or name to listen on. `localhost` is 127.0.0.1 and ::1.")] = "localhost"
    port: Annotated[Port, _says("HTTPS port of the public API; 0 takes any free one.")] = 8443
    domain: Annotated[
        str,
        _says(
            "The name clients reach this server by. Resource `shop` is at `shop.<domain>`; `local` at the name itself. "
            "Where a machine does not know names below `localhost`, its /etc/hosts needs a line for each such resource."
        ),
    ] = "localhost"
    public_port: Annotated[
        Port | None, _says("The port clients connect to, when a load balancer in front has another than `port`.")
    ] = None
    certificate: Annotated[
        Path | None,
        _says("PEM file of the TLS certificate and its chain. dev makes its own. A renewed one is taken up."),
    ] = None
    certificate_key: Annotated[Path | None, _says("PEM file of the certificate's private key.")] = None

    plain_http_port: Annotated[
        Port | None, _says("dev only: the public API without TLS too, on this port of the loopback addresses.")
    ] = None

    smpp_listen_host: Annotated[
        str, _says("Address the SMPP server for customers listens on (docs/guides/smpp-customers.md).")
    ] = "127.0.0.1"
    smpp_listen_port: Annotated[
        Port | None,
        _says(
            "Port of the SMPP server without TLS; 0 takes any free one, which the log (`server.ready`) and the ready"
            " file (`smppAddress`, `smppTlsAddress`) tell. Default: none, it is off."
        ),
    ] = None
    smpp_listen_tls_port: Annotated[
        Port | None,
        _says("The same with TLS, by the certificate of the public API. Default: none, it is off."),
    ] = None

    admin_host: Annotated[str, _says("Address of the admin API (plain HTTP), metrics and health.")] = "127.0.0.1"
    admin_port: Annotated[
        Port | None, _says("Port of the admin API. Default: `port` + 1000, and in dev any free one when that is taken.")
    ] = None
    admin_token: Annotated[
        str | None, _says("Bearer token of the admin API. Default: made once and kept in the data directory.")
    ] = None

    workers: Annotated[
        int,
        Meta(ge=1, le=64),
        _says("How many processes share the work on this machine. More than one needs `driven_clock` off."),
    ] = 1

    dsn: Annotated[
        str | None, _says("PostgreSQL to use, as `postgresql://user:password@host/database`. Default: an embedded one.")
    ] = None
    database_connections: Annotated[
        int, Meta(ge=2, le=1000), _says("Connections to PostgreSQL of each process, at most.")
    ] = 10
    postgres_binaries: Annotated[
        str,
        _says(
            "Programs of the embedded PostgreSQL: `auto` (the wheel's, else the machine's), `wheel`, `system`, or a "
            "directory."
        ),
    ] = "auto"
    postgres_settings: Annotated[
        dict[str, str], _says("Settings of the embedded PostgreSQL, over Landline's own, as in postgresql.conf.")
    ] = {}

    sealing_secret: Annotated[
        str | None,
        _says(
            "Seals keys and secrets at rest; at least 32 bytes, never changed while the data lives. dev makes its own."
        ),
    ] = None
    sealing_secret_file: Annotated[Path | None, _says("File that holds the sealing secret, instead of it.")] = None

    oidc_issuer: Annotated[
        str | None, _says("URL of the OpenID Connect issuer whose tokens are taken as service tokens.")
    ] = None
    oidc_audience: Annotated[str, _says("Audience that such tokens must name.")] = "https://communication.azure.com"
    oidc_clients: Annotated[
        tuple[str, ...],
        _says(
            "Clients whose such tokens are taken, by `azp`, `appid` or `sub`. None: all that the issuer made for that "
            "audience; in Microsoft Entra every user and application of the tenant can have one."
        ),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        _says("Origins whose browser pages may call the API, as `https://app.example.com`; `*` is any."),
    ] = ("*",)
    signature_skew_s: Annotated[
        int,
        Meta(ge=1, le=86_400),
        _says("How far the date of a signed request may be from this machine's time, either way."),
    ] = 900
    trust_forwarded_host: Annotated[
        bool,
        _says(
            "Take the `X-Forwarded-Host` of a request for the Host its client sent: for a proxy in front that sends "
            "another Host. The first of its names counts, with the port where clients name one."
        ),
    ] = False
    body_limit_bytes: Annotated[int, Meta(ge=1024), _says("Largest request body taken.")] = 1_048_576

    carriers: Annotated[
        tuple[SmppTable, ...],
        _says(
            "The carriers that take texts to phones, each a table `[[carriers]]` (docs/guides/carriers.md). Messages "
            "that no route matches go through the first that is up; while the simulated carrier is on, through that."
        ),
    ] = ()
    routes: Annotated[
        tuple[RouteTable, ...],
        _says("Which messages go through which carriers, each a table `[[routes]]`; the admin API can set more."),
    ] = ()
    sender_rates: Annotated[
        dict[Literal["tollFree", "shortCode", "geographic", "alphanumeric"], Rate],
        _says(
            "Messages a second that each sender of a kind may send, where none is set for it; `geographic` is "
            "every other phone number."
        ),
    ] = {}

    sms_kept_days: Annotated[
        int,
        Meta(ge=40, le=3650),
        _says("How long messages and received texts are kept, from when they came; insights and opt-outs stay longer."),
    ] = 90

    insights_hours_kept_days: Annotated[
        int, Meta(ge=2, le=400), _says("How long insights can be asked for by the hour.")
    ] = 35
    insights_days_kept_days: Annotated[
        int, Meta(ge=2, le=4000), _says("How long insights can be asked for by the day.")
    ] = 400
    insights_tags_per_hour: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        _says("How many tags of a resource are counted by name in an hour; later ones are counted as `(other)`."),
    ] = 1000

    webhook_allow: Annotated[
        tuple[str, ...],
        _says("Host names, addresses and networks (`10.1.0.0/16`) that webhooks may call although they are private."),
    ] = ()
    open_webhooks: Annotated[
        bool,
        _says("dev only: webhooks may call loopback addresses, also by plain HTTP; private ones need `webhook_allow`."),
    ] = False
    simulated_carrier: Annotated[
        bool, _says("dev only: texts go to simulated handsets, with faults set over the admin API.")
    ] = False
    driven_clock: Annotated[bool, _says("dev only: time can be moved ahead over the admin API.")] = False
    dev_issuer: Annotated[bool, _says("dev only: this server issues service tokens itself.")] = False
    seed: Annotated[int | None, _says("dev only: makes the simulated carrier's choices the same in every run.")] = None

    sms_countries: Annotated[
        tuple[str, ...],
        _says(
            "Countries (ISO 3166-1 codes) that texts may go to where a resource sets none itself; `*` is every one, "
            "`ZZ` numbers of no country. Empty: every text is refused as 4003."
        ),
    ] = ("*",)
    sms_guard: Annotated[
        bool,
        _says("Velocity limits and detection of numbers in a row, where a resource does not switch them itself."),
    ] = True
    sms_currency: Annotated[
        str,
        Meta(pattern="^[A-Z]{3}$"),
        _says("What the prices of carriers and spend caps are in (ISO 4217; docs/guides/prices.md): choose it once."),
    ] = "USD"
    acs_limits: Annotated[
        bool,
        _says(
            "Azure's own sending limits (200 recipients a minute from a toll-free number, 6,000 from a short code, 600 "
            "from all sender names), answered 429, where a resource does not switch them itself; and its rates of chat."
        ),
    ] = False
    relay: Annotated[
        bool, _says("Run a TURN relay: a coturn that is installed on this machine, for media that must be passed on.")
    ] = False
    relay_urls: Annotated[
        tuple[str, ...],
        _says("TURN servers that somebody else runs, instead: `turn:turn.example.org:3478?transport=udp`."),
    ] = ()
    relay_secrets: Annotated[
        tuple[str, ...],
        _says(
            "Secrets shared with the relay: credentials are made with the first, and an own relay takes all of them. "
            "Default for an own relay: made once and kept in the data directory."
        ),
    ] = ()
    relay_longest_ttl_s: Annotated[
        int, Meta(ge=1, le=172_800), _says("How long relay credentials live at most, whatever is asked for.")
    ] = 172_800
    relay_program: Annotated[str, _says("The program of coturn, by name or path.")] = "turnserver"
    relay_host: Annotated[
        str | None,
        _says("Name or address clients reach the own relay by. Default: `domain`; in dev the first of `relay_listen`."),
    ] = None
    relay_port: Annotated[
        Port | None,
        _says("UDP and TCP port of the own relay; 0 takes any free one. Default: 3478, in dev any free one if taken."),
    ] = None
    relay_listen: Annotated[
        tuple[str, ...],
        _says("Addresses the own relay listens on and relays from. Default: all there are; in dev 127.0.0.1."),
    ] = ()
    relay_external_ip: Annotated[
        str | None, _says("The own relay's public address, when the machine is behind NAT.")
    ] = None
    relay_first_port: Annotated[int, Meta(ge=1024, le=65535), _says("First UDP port of relayed media.")] = 49152
    relay_last_port: Annotated[int, Meta(ge=1024, le=65535), _says("Last UDP port of relayed media.")] = 65535
    relay_peers_allow: Annotated[
        tuple[str, ...],
        _says(
            "Addresses and networks (`10.1.2.0/24`) that the own relay may relay to although they are not public. "
            "Loopback in dev only."
        ),
    ] = ()
    relay_user_quota: Annotated[int, Meta(ge=1), _says("Allocations at once with one user's credentials.")] = 100
    relay_total_quota: Annotated[int, Meta(ge=1), _says("Allocations at once in all.")] = 4000
    relay_bytes_per_s: Annotated[int, Meta(ge=1000), _says("Bytes a second through one allocation.")] = 2_500_000

    nats_urls: Annotated[
        tuple[str, ...],
        _says(
            "NATS servers by which processes tell one another of chat at once, where several machines serve: "
            "`nats://user:password@host:4222`, `nats://token@host`, `tls://host`. Default: with more than one of "
            "`workers` Landline runs one itself on this machine's loopback, otherwise none (docs/guides/cluster.md)."
        ),
    ] = ()
    nats_prefix: Annotated[
        str, _says("The first words of this deployment's subjects, for a cluster that several share.")
    ] = "landline"
    nats_credentials: Annotated[
        Path | None, _says("File of a NATS user's JWT and seed, as `nsc` writes them. Read at each connection.")
    ] = None
    nats_ca: Annotated[
        Path | None,
        _says(
            "PEM file of who signs the NATS servers' certificates. With it nothing is said to them but over TLS. "
            "Default: those the system trusts."
        ),
    ] = None
    nats_certificate: Annotated[Path | None, _says("PEM file of the certificate to show to NATS servers.")] = None
    nats_certificate_key: Annotated[Path | None, _says("PEM file of that certificate's private key.")] = None
    nats_program: Annotated[
        str,
        _says("The program of an own NATS server, by name or path; `auto` takes the wheel's, else the machine's."),
    ] = "auto"

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("Least level of what is logged, to standard error.")
    ] = "info"
    log_format: Annotated[Literal["json", "console"], _says("One JSON object a line, or lines for people.")] = "json"
    ready_file: Annotated[
        Path | None,
        _says("File to write (0600) once this server serves, and to remove at its end: where it is, as JSON."),
    ] = None

    @property
    def clients_port(self) -> int:
        """The port in endpoints and connection strings."""
        return self.public_port or self.port

    def authority(self, resource: str = "") -> str:
        """What follows `https://` in the endpoint of a resource, or of the one at the name itself."""
        host = f"{resource}.{self.domain}" if resource else self.domain
        # The port of https is left out, as HTTP clients do: SDKs would sign what is not sent.
        return host if self.clients_port == 443 else f"{host}:{self.clients_port}"


DEV: dict[str, object] = {
    "open_webhooks": True,
    "simulated_carrier": True,
    "driven_clock": True,
    "dev_issuer": True,
    "log_format": "console",
    "log_level": "warning",
    "sms_guard": False,
}
"""Defaults of `dev` that differ; `serve` refuses the first four switched on."""

SERVE: dict[str, object] = {
    "host": "0.0.0.0",  # noqa: S104 - a server's business; its certificate is checked
    "sms_countries": (),
}


def load(
    mode: Mode,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The configuration for `mode`. Flags that are None were not given. Raises `CannotConfigure`, in one line."""
    settings: dict[str, object] = {**(DEV if mode == "dev" else SERVE)}
    said: dict[str, str] = {}  # by whom each setting is said, as its user knows it
    if file is not None:
        found = _from_file(file)
        settings |= found
        said |= {name: f"{file}: {name}" for name in found}
    environment = os.environ if environment is None else environment
    found = _from_environment(environment)
    settings |= found
    said |= {name: PREFIX + name.upper() for name in found}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    settings |= given
    said |= {name: "--" + name.replace("_", "-") for name in given}
    if "data" not in settings:
        settings["data"] = default_data(mode)
    for name in ("data", "ready_file"):
        if isinstance(named := settings.get(name), str | Path) and str(named):
            settings[name] = str(expanded(named, said.get(name, name)).absolute())
    for name in TABLES.keys() & settings.keys():
        with of_table(said[name], name):
            settings[name] = tables(settings[name], name)
    if isinstance(domain := settings.get("domain"), str):
        settings["domain"] = checked_domain(domain, said["domain"])
    settings["carriers"] = with_passwords(settings.get("carriers", ()), environment)
    config = converted({**settings, "mode": mode}, "the configuration", Config, said=said)
    check_hosts(config.webhook_allow, said.get("webhook_allow", "webhook_allow"))
    check_origins(config.cors_origins, said.get("cors_origins", "cors_origins"))
    check_issuer(config.oidc_issuer, said.get("oidc_issuer", "oidc_issuer"))
    if mode == "dev":  # the others say it beside all else that keeps them from starting
        check_countries(config.sms_countries, said.get("sms_countries", "sms_countries"))
    if config.carriers or config.routes:
        from landline.app import carriers  # which brings the engine along

        with of_table(said.get("carriers") or said["routes"], "carriers" if "carriers" in said else "routes"):
            carriers.check(config)
    return config


def default_data(mode: Mode) -> Path:
    """Where data is kept when nothing else is said: the user's own directory (XDG), or /var/lib for root. Raises
    `CannotConfigure` for a user without a home."""
    if os.geteuid() == 0:
        return Path("/var/lib/landline") / mode
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return expanded(home, "data directory: name one with --data or LANDLINE_DATA, or set HOME") / "landline" / mode


def _from_file(file: Path) -> dict[str, object]:
    try:
        settings: dict[str, object] = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise CannotConfigure(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotConfigure(f"{file} is not TOML: it is not UTF-8 (byte {error.start + 1})") from error
    except RecursionError:
        raise CannotConfigure(f"{file} is not TOML: it is nested too deeply") from None
    except ValueError as error:  # also what int() says of a number with thousands of digits
        raise CannotConfigure(f"{file} is not TOML: {error}") from error
    _known(settings, str(file))
    refuse_misplaced(settings, Config.__struct_fields__, file)
    place(settings, _PATHS, file)
    place_carriers(settings.get("carriers"), file)
    return settings


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    named = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    wanted = [name for name in sorted(named.keys() - NOT_SETTINGS) if not PASSWORD.fullmatch(name)]
    settings = {name.removeprefix(PREFIX).lower(): name for name in wanted}
    _known(settings, "the environment", spelled=settings)
    return {
        field: from_text(fields()[field].type, _line(field, named[name]), name, as_tables=field in TABLES)
        for field, name in settings.items()
    }


def _line(setting: str, value: str) -> str:
    """`value` without the end of the line that a secret has where it was made of what `echo` says. The sealing secret
    is kept to the letter: servers have sealed with it so."""
    return value if setting == "sealing_secret" else value.rstrip("\r\n")


def _known(settings: Mapping[str, object], where: str, spelled: Mapping[str, str] | None = None) -> None:
    for name in settings:
        if name not in Config.__struct_fields__ or name == "mode":
            shown = spelled[name] if spelled else name
            near = decode_errors.nearest(name, (each for each in Config.__struct_fields__ if each != "mode"))
            meant = PREFIX + near.upper() if near and spelled else near
            raise CannotConfigure(
                f"{where} has the setting {shown}, which there is not{f' (did you mean {meant}?)' if meant else ''}:"
                " docs/reference/configuration.md has all"
            )


def fields() -> dict[str, msgspec.inspect.Field]:
    """The settings by name, in their order, with their types and descriptions."""
    described = msgspec.inspect.type_info(Config)
    assert isinstance(described, msgspec.inspect.StructType)
    return {field.name: field for field in described.fields}
