"""What the configuration says in tables: `[[carriers]]` and `[[routes]]` read one by one, and the passwords of carriers
that the environment has."""

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import msgspec

from landline.app.carrier_settings import RouteTable, SmppTable
from landline.core import decode_errors
from landline.core.errors import Invalid, Refusal
from landline.services.sms.model.settings import EVERY_COUNTRY, checked_countries

PREFIX = "LANDLINE_"
TABLES: dict[str, Any] = {"carriers": SmppTable, "routes": RouteTable}
PASSWORD = re.compile(rf"{PREFIX}CARRIER_(.+)_PASSWORD")


class CannotConfigure(Refusal):
    """A setting is unknown or has a value it may not have."""

    code = "CannotConfigure"


def tables(value: object, setting: str) -> list[Any]:
    """The tables of `setting`, each converted by itself, so that what is wrong is said of the one by its name."""
    if not isinstance(value, list | tuple):
        raise CannotConfigure(f"{setting} must be tables [[{setting}]], in the environment a JSON array of objects")
    found: list[Any] = []
    for number, table in enumerate(cast(Sequence[Any], value), 1):
        name = cast(dict[str, Any], table).get("name", number) if isinstance(table, dict) else number
        where = f"{setting.removesuffix('s')} {name}"
        try:
            found.append(msgspec.convert(table, TABLES[setting], dec_hook=path))
        except msgspec.ValidationError as error:
            said, _, at = decode_errors.told(error, TABLES[setting]).partition(" - at `$")
            field = at.removesuffix("`").removeprefix(".")
            raise CannotConfigure(f"{where}: {field}: {said}" if field else f"{where}: {said}") from error
    return found


@contextmanager
def of_table(said: str, setting: str) -> Generator[None]:
    """Have what is refused of a table say where it stands: `said` is by whom its setting is said."""
    where = said.removesuffix(setting).removesuffix(": ")
    try:
        yield
    except CannotConfigure as error:
        raise CannotConfigure(f"{where}: {error.message}") from error


def refuse_misplaced(settings: Mapping[str, object], known: Collection[str], file: Path) -> None:
    """Raise `CannotConfigure` for one of the `known` settings that `file` has below a table: only the next table ends a
    table in TOML, and so it belongs to that one."""
    for header, table, own in _tables_below(settings):
        for name in table:
            if name in known and name not in own:
                raise CannotConfigure(
                    f"{file}: {name} is below {header} and so belongs to that, which has no such field; a setting of"
                    " the server goes above the first table"
                )


def _tables_below(settings: Mapping[str, object]) -> Iterator[tuple[str, dict[str, Any], Collection[str]]]:
    """The tables of a file that have names of their own: how they begin, what they hold, what they may hold."""
    for setting, kind in TABLES.items():
        found = settings.get(setting)
        for table in cast(list[Any], found) if isinstance(found, list) else []:
            if isinstance(table, dict):
                values = cast(dict[str, Any], table)
                yield f"[[{setting}]]", values, kind.__struct_fields__
                for name, value in values.items():
                    if isinstance(value, dict):
                        yield f"[{setting}.{name}]", cast(dict[str, Any], value), ()
    rates = settings.get("sender_rates")
    if isinstance(rates, dict):
        yield "[sender_rates]", cast(dict[str, Any], rates), ()


def with_passwords(carriers: object, environment: Mapping[str, str]) -> list[SmppTable]:
    """The carriers with the passwords that the environment has for them."""
    tables = cast(list[SmppTable], carriers)
    variables = {variable_name(table.name): table.name for table in tables}
    given = {found.group(1): name for name in sorted(environment) if (found := PASSWORD.fullmatch(name))}
    for spelled, variable in given.items():
        if spelled not in variables:
            raise CannotConfigure(f"the environment has {variable}, and there is no carrier of that name")
    passwords = {variables[spelled]: environment[variable] for spelled, variable in given.items()}
    return [
        msgspec.structs.replace(table, password=passwords[table.name], password_file=None)
        if table.name in passwords
        else table
        for table in tables
    ]


def variable_name(carrier: str) -> str:
    """How `carrier` is spelled in the name of its password's variable."""
    return re.sub(r"[^A-Z0-9]", "_", carrier.upper())


def check_hosts(entries: Sequence[str], setting: str) -> None:
    """Raise `CannotConfigure` for one that is no host name, address or network: it would allow nothing."""
    for entry in entries:
        try:
            if "/" in entry:
                ip_network(entry, strict=False)
            elif ":" in entry:
                ip_address(entry.strip("[]"))
            right = entry.isprintable() and " " not in entry
        except ValueError:
            right = False
        if not right:
            raise CannotConfigure(
                f"{setting}: {entry!r} is no host name, address or network: give hooks.example, 10.1.2.3 or"
                " 10.1.0.0/16, without scheme and port"
            )


_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")
_USUAL_PORT = re.compile(r"(http:.*:80|https:.*:443)")


def check_origins(origins: Sequence[str], setting: str) -> None:
    """Raise `CannotConfigure` for one that no browser sends (Fetch standard §2.2.5): it would let nobody in."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin) or _USUAL_PORT.fullmatch(origin):
            raise CannotConfigure(
                f"{setting}: {origin!r} is no origin as browsers send it: give https://app.example.com, in small"
                " letters, without a path or a / at its end, with a port only where it is not the usual one; or *"
            )


_HOST = re.compile(r"\[[0-9a-f:.]+\]|[^\x00-\x20\x7f\s/:@?#\[\]]+")
_ISSUER = re.compile(r"https://[^\x00-\x20\x7f\s/@?#]+(/[^\x00-\x20\x7f\s?#]*)?")


def checked_domain(text: str, setting: str) -> str:
    """`text` as clients send it: Python's SDKs sign an endpoint's capitals, and letters that are not ASCII, and no HTTP
    client sends them so. Raises `CannotConfigure` for what is no host name or address."""
    host = text.lower().removesuffix(".")
    if not host.isascii():
        host = _in_ascii(host)
    if _HOST.fullmatch(host) is None:
        raise CannotConfigure(
            f"{setting}: {text!r} is no host name: give sms.example.com, without scheme, port and path"
        )
    return host


def _in_ascii(name: str) -> str:
    import idna  # few names need it

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""


def check_issuer(url: str | None, setting: str) -> None:
    """Raise `CannotConfigure` for what is no URL below which an issuer's keys can be fetched."""
    if url and _ISSUER.fullmatch(url) is None:
        raise CannotConfigure(
            f"{setting}: {url!r} is no issuer: give its https URL, as its tokens have it (`iss`), such as"
            " https://login.example.com/tenant, without query"
        )


def check_countries(codes: tuple[str, ...], setting: str) -> None:
    """Raise `CannotConfigure` for one that is no country."""
    if set(codes) - {EVERY_COUNTRY}:
        try:
            checked_countries(codes)
        except Invalid as error:
            raise CannotConfigure(f"{setting}: {error.message}") from None


def place(table: dict[str, Any], names: Sequence[str], file: Path) -> None:
    """Take paths to be beside the configuration file, not wherever the command was run."""
    for name in names:
        if isinstance(value := table.get(name), str) and value:
            table[name] = str(file.absolute().parent / expanded(value, f"{file}: {name}"))


def place_carriers(carriers: object, file: Path) -> None:
    """`place` for the paths of carriers' tables, as far as they are tables."""
    for table in cast(list[Any], carriers) if isinstance(carriers, list) else []:
        if isinstance(table, dict):
            values = cast(dict[str, Any], table)
            place(values, ("password_file",), file)
            if isinstance(values.get("tls"), dict):
                place(values["tls"], ("ca_file", "certificate_file", "key_file"), file)


def expanded(value: str | Path, said: str) -> Path:
    """`value` with its owner's home for `~`. Raises `CannotConfigure`, as by whom it is `said`, where there is none: an
    unknown user without HOME has no home."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise CannotConfigure(f"{said}: {value} is in a home directory, and there is none") from None


def path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    if not is_text(value) or "\0" in value:  # neither PostgreSQL nor the ready file could name it
        raise ValueError("expected a path in UTF-8")
    return Path(value)


def is_text(value: str) -> bool:
    """Whether it is text at all: the system gives bytes that are not UTF-8 as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
