"""Carriers and routing rules as the configuration has them: checked when it is loaded, built when the product is."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from landline.app.carrier_settings import RouteTable, SmppTable, TlsTable
from landline.app.config import CannotConfigure, Config
from landline.app.config_tables import PREFIX, variable_name
from landline.core.errors import Invalid
from landline.core.phone import SenderKind
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import PASSWORD_MOST, SYSTEM_ID_MOST, SmppConfig, Tls
from landline.engines.smpp.inbox import Known
from landline.engines.smpp.slots import Slots
from landline.ports.clock import Clock
from landline.ports.sms_carrier import CrashPolicy, SmsCarrier
from landline.services.sms.model import details
from landline.services.sms.model.routing import Choice, Rule, checked
from landline.store.database import Database

SIMULATED = "simulated"
"""The simulated carrier's name, which no other may have."""
_RECEIPT = 0x03
"""The bits of registered_delivery that ask for a receipt of the end (SMPP 3.4 §5.2.17)."""
_PLACEHOLDER = "********"


def carriers(
    config: Config,
    database: Database,
    clock: Clock,
    share: Callable[[SmppConfig], Slots] | None = None,
    known: Known | None = None,
    several: Callable[[], bool] | None = None,
    *,
    line: Clock,
) -> dict[str, SmsCarrier]:
    """The configured carriers by name, in their order, not started; the simulated one is not among them. `share` is
    there when other processes may have the same carriers; for the rest see `SmppCarrier`.

    Raises `CannotConfigure`, also for files that cannot be read.
    """
    wrong = problems(config)
    if wrong:
        raise CannotConfigure(wrong[0])
    found: dict[str, SmsCarrier] = {}
    for settings in [smpp_config(table) for table in config.carriers]:
        slots = None if share is None else share(settings)
        found[settings.name] = SmppCarrier(
            settings, database, clock, slots=slots, known=known, several=several, line=line
        )
    return found


def default_carriers(config: Config) -> tuple[str, ...]:
    """Where messages go that no rule matches. Beside the simulated carrier a real one is reached by rules and by bound
    numbers alone, so that nothing of a developer's leaves by accident."""
    return (SIMULATED,) if config.simulated_carrier else tuple(table.name for table in config.carriers)


def carrier_rates(config: Config) -> dict[str, float]:
    """Segments a second of each carrier that has a rate over all its binds."""
    return {table.name: rate for table in config.carriers if (rate := table.carrier_rate_per_s) is not None}


def rules(config: Config) -> list[Rule]:
    """The configured routing rules. Raises `CannotConfigure`."""
    known = {*(table.name for table in config.carriers), *((SIMULATED,) if config.simulated_carrier else ())}
    found = [_rule(table) for table in config.routes]
    for rule in found:
        for choice in rule.carriers:
            if choice.carrier not in known:
                raise CannotConfigure(f"route {rule.name}: carriers: there is no carrier {choice.carrier!r}")
    _once("route", [rule.name for rule in found])
    return found


def sender_rates(config: Config) -> dict[SenderKind, float]:
    """Messages a second of a sender, by its kind."""
    return {SenderKind(kind): rate for kind, rate in config.sender_rates.items()}


def check(config: Config) -> None:
    """Raise `CannotConfigure` for what no carrier or rule can be, without looking at files."""
    _once("carrier", [variable_name(table.name) for table in config.carriers])
    for table in config.carriers:
        if table.name == SIMULATED:
            raise CannotConfigure(f"carrier {table.name}: name: belongs to the simulated carrier")
        if table.password is not None and table.password_file is not None:
            raise CannotConfigure(f"carrier {table.name}: password: it is set beside password_file: remove one")
        wrong = sorted(code for code in table.error_codes.values() if not details.of_a_failure(code))
        if wrong:
            raise CannotConfigure(f"carrier {table.name}: error_codes: {wrong[0]} is no detail code of a failure")
        _smpp_config(table, table.password or _PLACEHOLDER)
    rules(config)


def problems(config: Config) -> list[str]:
    """What is wrong with the carriers' files."""
    found: list[str] = []
    for table in config.carriers:
        try:
            tls = smpp_config(table).tls
            if tls is not None:
                tls.context()
        except CannotConfigure as error:
            found.append(error.message)
        except Invalid as error:
            found.append(f"carrier {table.name}: {error.target}: {error.message}")
    return found


def warnings(config: Config) -> list[str]:
    """What carriers may be configured for, and their operator should know."""
    found = [
        f"carrier {table.name}: password_file: {table.password_file} is empty: the carrier is given no password"
        for table in config.carriers
        if table.password_file is not None and _empty(table.password_file)
    ]
    found += [
        f"carrier {each.name}: {field}: it has {len(value)} characters, where SMPP has {most}. Some SMSCs read no more:"
        f" where this one refuses the bind, give the first {most}"
        for each in _readable(config.carriers)
        for field, value, most in (
            ("system_id", each.system_id, SYSTEM_ID_MOST),
            ("password", each.password, PASSWORD_MOST),
        )
        if len(value) > most
    ]
    return found + [
        f"carrier {table.name}: registered_delivery = {table.registered_delivery} asks for no receipts: every message"
        " it takes ends as failed (5002) once its report is overdue, unless the carrier sends receipts unasked. Set it"
        ' to 1, or crash_policy to "query" where the carrier answers query_sm'
        for table in config.carriers
        if not table.registered_delivery & _RECEIPT and table.crash_policy != CrashPolicy.QUERY.value
    ]


def _readable(tables: Sequence[SmppTable]) -> list[SmppConfig]:
    """Those whose files can be read; of the others `problems` tells."""
    found: list[SmppConfig] = []
    for table in tables:
        with suppress(CannotConfigure):
            found.append(smpp_config(table))
    return found


def _empty(file: Path) -> bool:
    try:
        return not file.read_bytes().strip()
    except OSError:  # a problem, as `problems` says
        return False


def smpp_config(table: SmppTable) -> SmppConfig:
    """What the engine takes, the password read from its file. Raises `CannotConfigure`."""
    if table.password is not None:
        return _smpp_config(table, table.password)
    if table.password_file is None:
        variable = f"{PREFIX}CARRIER_{variable_name(table.name)}_PASSWORD"
        raise CannotConfigure(f"carrier {table.name}: password: there is none: set password_file or {variable}")
    try:
        return _smpp_config(table, table.password_file.read_text("utf-8").strip())
    except OSError as error:
        raise CannotConfigure(
            f"carrier {table.name}: password_file: cannot read {table.password_file}: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise CannotConfigure(f"carrier {table.name}: password_file: {table.password_file} is no text") from error


def _smpp_config(table: SmppTable, password: str) -> SmppConfig:
    values: dict[str, Any] = {field.name: getattr(table, field.name) for field in fields(SmppConfig)}
    values |= {"password": password, "tls": _tls(table.tls), "crash_policy": CrashPolicy(table.crash_policy)}
    try:
        return SmppConfig(**values)
    except Invalid as error:
        raise CannotConfigure(f"carrier {table.name}: {error.target}: {error.message}") from error


def _tls(table: TlsTable | None) -> Tls | None:
    if table is None:
        return None
    ca, certificate, key = (
        None if file is None else str(file) for file in (table.ca_file, table.certificate_file, table.key_file)
    )
    return Tls(ca, certificate, key, table.server_name)


def _rule(table: RouteTable) -> Rule:
    choices = [Choice(each) if isinstance(each, str) else Choice(each.carrier, each.weight) for each in table.carriers]
    try:
        return checked(
            Rule(
                name=table.name,
                carriers=tuple(choices),
                priority=table.priority,
                countries=table.countries,
                prefixes=table.prefixes,
                senders=table.senders,
                tags=table.tags,
                resources=table.resources,
                failover=table.failover,
                choose=table.choose,
            )
        )
    except Invalid as error:
        raise CannotConfigure(f"route {table.name}: {error.target}: {error.message}") from error


def _once(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CannotConfigure(f"{what} {name}: name: there are two of it, as far as letters and digits go")
