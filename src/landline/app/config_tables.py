"""What the configuration says in tables: `[[carriers]]` and `[[routes]]` read one by one, and the passwords of carriers
that the environment has."""

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from landline.app.carrier_settings import RouteTable, SmppTable
from landline.app.config_values import CannotConfigure, expanded, path
from landline.core import decode_errors

PREFIX = "LANDLINE_"
TABLES: dict[str, Any] = {"carriers": SmppTable, "routes": RouteTable}
PASSWORD = re.compile(rf"{PREFIX}CARRIER_(.+)_PASSWORD")


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
    passwords = {variables[spelled]: environment[variable].strip() for spelled, variable in given.items()}  # as files'
    return [
        msgspec.structs.replace(table, password=passwords[table.name], password_file=None)
        if table.name in passwords
        else table
        for table in tables
    ]


def variable_name(carrier: str) -> str:
    """How `carrier` is spelled in the name of its password's variable."""
    return re.sub(r"[^A-Z0-9]", "_", carrier.upper())


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
