"""SQL keeps to its slice's tables and to the instants it is given (HOUSE.md 1.3, 4.1)."""

import re
from collections import Counter
from pathlib import Path

from tests.tidy.tree import SOURCE, files, name, sql

PREFIXES = {
    "services/resources": "resources",
    "services/identity": "identity",
    "services/events": "events",
    "services/numbers": "numbers",
    "services/siprouting": "siprouting",
    "services/rooms": "rooms",
    "services/insights": "insights",
    "services/sms": "sms",
    "services/chat": "chat",
    "engines/simulated": "handset",
    "engines/smpp": "smpp",
    "store": "store",
}
"""What the tables of each part begin with."""

_TABLE = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|REFERENCES|TRUNCATE|ON)\s+(?:IF (?:NOT )?EXISTS )?(?:ONLY )?([a-z]\w*)"
)
_CREATED = re.compile(r"\bCREATE\s+(?:UNLOGGED\s+)?(?:TABLE|SEQUENCE)\s+(?:IF NOT EXISTS\s+)?(\w+)", re.IGNORECASE)
_CLOCK = re.compile(
    r"\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|random|gen_random_uuid)\s*\("
    r"|\b(?:current_timestamp|current_date|current_time|localtimestamp|localtime)\b",
    re.IGNORECASE,
)
_MIGRATION = re.compile(r"\d{4}_[a-z0-9_]+\.sql")


def source() -> list[Path]:
    return [file for file in files() if file.is_relative_to(SOURCE) and file.suffix in (".py", ".sql")]


def part_of(file: Path) -> str | None:
    inside = file.relative_to(SOURCE).as_posix()
    return next((prefix for part, prefix in PREFIXES.items() if inside.startswith(part + "/")), None)


def test_each_part_with_migrations_has_its_prefix() -> None:
    folders = {file.parents[1].relative_to(SOURCE).as_posix() for file in source() if file.suffix == ".sql"}
    assert folders <= PREFIXES.keys()


def test_sql_names_only_the_tables_of_its_own_slice() -> None:
    found: list[str] = []
    for file in source():
        own = part_of(file)
        others = tuple(f"{prefix}_" for prefix in PREFIXES.values() if prefix != own)
        for line, text in sql(file):
            found += [f"{name(file)}:{line} {table}" for table in _TABLE.findall(text) if table.startswith(others)]
    assert not found, "ask the slice below, or listen to its events"


def test_tables_begin_with_their_slices_prefix() -> None:
    wrong = [
        f"{name(file)} {created}"
        for file in source()
        if file.suffix == ".sql"
        for _, text in sql(file)
        for created in _CREATED.findall(text)
        if not created.startswith(f"{part_of(file)}_")
    ]
    assert not wrong


def test_sql_is_given_its_instants_and_its_chance() -> None:
    found = [f"{name(file)}:{line}" for file in source() for line, text in sql(file) if _CLOCK.search(text)]
    assert not found, "pass the Clock's instant, or the ids, as a parameter"


def test_migrations_are_named_and_numbered_uniquely() -> None:
    migrations = [file for file in source() if file.suffix == ".sql"]
    assert all(_MIGRATION.fullmatch(file.name) and file.parent.name == "migrations" for file in migrations)
    numbers = Counter((file.parent, file.name[:4]) for file in migrations)
    assert not [f"{name(folder)}: {number}" for (folder, number), count in numbers.items() if count > 1]
