"""The command `opt-out`: who gets nothing more from which number."""

from __future__ import annotations

import csv
import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from landline.app.cli_shared import (
    DEFAULT_RESOURCE,
    HERE,
    File,
    Json,
    Resource,
    Server,
    ask,
    check_limit,
    pages_of,
    resource_path,
    show,
    text_of,
)
from landline.app.one_line import on_one_line
from landline.core import csv_cells, phone
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from landline.app.admin_client import AdminClient

_COLUMNS = ("from", "to", "at", "origin")
_PORTION = 1000
_PAGE = 1000
_ENTERED = ("from", "to", "at")
_TYPED = {"from": "--from", "to": "--to", "since": "--since", "until": "--until", "value": "FILE"}
_TYPED_HERE = {"value": "NUMBER or PHONES"}

opt_out = App(name="opt-out", help="Opt-outs: who gets nothing more from which number.")

Number = Annotated[str, Parameter(help="The number that texts come from.")]
Phone = Annotated[str, Parameter(help="The phones that texts go to.")]


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(opt_out)


@opt_out.command(name="list")
def list_opt_outs(
    *,
    from_: Annotated[str | None, Parameter(name="--from", help="Only of this number.")] = None,
    to: Annotated[str | None, Parameter(help="Only of this phone.")] = None,
    since: Annotated[str | None, Parameter(help="Only from then on: an ISO 8601 date or instant.")] = None,
    until: Annotated[str | None, Parameter(help="Only before then.")] = None,
    limit: Annotated[int, Parameter(help="How many at most; CSV has all.")] = 100,
    as_csv: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV, as import takes it.")] = False,
    resource: Resource = DEFAULT_RESOURCE,
    json: Json = False,
    server: Server = HERE,
) -> None:
    """List who opted out of which number, since when, and how that was said."""
    if as_csv and json:
        raise Refusal("give --json or --csv")
    check_limit(limit)
    query = {"from": from_, "to": to, "since": since, "until": until}
    size = _PAGE if as_csv else min(limit, _PAGE)
    found = (each for page in pages_of(ask(server, _TYPED), _path(resource), query, size) for each in page["value"])
    if not as_csv:
        show(list(islice(found, limit)), _COLUMNS, json)
        return
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(_COLUMNS)
    # Whoever texts may have any name, and this may be a terminal or go into a spreadsheet.
    lines.writerows([csv_cells.safe(on_one_line(each[column])) for column in _COLUMNS] for each in found)


@opt_out.command(name="add")
def add_opt_outs(number: Number, *phones: Phone, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Enter that phones want nothing more from a number."""
    entries = [{"from": number, "to": phone} for phone in _some(phones)]
    entered = _sent(ask(server, _TYPED_HERE), _path(resource), entries)["entered"]
    print(f"{entered} opted out of {number}{_others(len(phones) - entered, 'had so before')}")


@opt_out.command(name="remove")
def remove_opt_outs(
    number: Number, *phones: Phone, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE
) -> None:
    """Have texts sent again to phones whose users ask for them."""
    entries = [{"from": number, "to": phone} for phone in _some(phones)]
    removed = _sent(ask(server, _TYPED_HERE), f"{_path(resource)}:remove", entries)["removed"]
    print(f"{removed} get texts from {number} again{_others(len(phones) - removed, 'had not opted out')}")


@opt_out.command(name="import")
def import_opt_outs(
    file: File,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    resource: Resource = DEFAULT_RESOURCE,
    server: Server = HERE,
) -> None:
    """Enter a list of opt-outs from elsewhere. What is there already stays as it is: a list may be entered again.

    Parameters
    ----------
    file
        CSV whose first line names its columns: from, to, and perhaps at (ISO 8601); others are passed over. With
        --from a phone on each line is enough. - is standard input.
    from_
        The number that all of the list opted out of.
    """
    listed = _listed(file, from_)
    client, path = ask(server, _TYPED), _path(resource)
    entered = 0
    for first in range(0, len(listed), _PORTION):
        portion = listed[first : first + _PORTION]
        try:
            entered += _sent(client, path, [entry for _, entry in portion])["entered"]
        except Refusal as error:
            lines = f"lines {portion[0][0]} to {portion[-1][0]} are not entered"
            if len(listed) > _PORTION:
                lines += f", nor what follows; the {first} before are"
            raise Refusal(f"{error.message} ({lines})") from None
    print(f"{entered} entered{_others(len(listed) - entered, 'were there before')}")


def _path(resource: str) -> str:
    return f"{resource_path(resource)}/opt-outs"


def _some(phones: tuple[str, ...]) -> tuple[str, ...]:
    if not phones:
        raise Refusal("say which phones")
    return phones


def _sent(client: AdminClient, path: str, entries: list[dict[str, str]]) -> dict[str, int]:
    return client.call("POST", path, {"value": entries})


def _others(count: int, what: str) -> str:
    return f", {count} {what}" if count else ""


def _listed(file: Path, sender: str | None) -> list[tuple[int, dict[str, str]]]:
    """What a list says, with the lines where it does. Raises `Refusal` before anything is entered."""
    lines = text_of(file).splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    head = [name.strip().lower() for row in csv.reader(lines[:1], delimiter=delimiter) for name in row]
    if "to" in head:
        rows = csv.DictReader(lines, head, delimiter=delimiter)
        next(rows)
        found = [(rows.line_num, {name: (row.get(name) or "").strip() for name in _ENTERED}) for row in rows]
    elif sender is not None:
        found = [(number, {"to": line.strip()}) for number, line in enumerate(lines, 1)]
    else:
        raise Refusal(f"{file}: its first line does not name the columns from and to: give --from, or that line")
    listed = [(number, _entry(file, number, row, sender)) for number, row in found if any(row.values())]
    if not listed:
        raise Refusal(f"{file}: there is nothing in it")
    return listed


def _entry(file: Path, line: int, row: dict[str, str], sender: str | None) -> dict[str, str]:
    number = row.get("from") or sender
    if not number:
        raise Refusal(f"{file}, line {line}: it does not say from which number: give --from")
    if sender is not None and number != sender:
        raise Refusal(f"{file}, line {line}: it says {number}, and --from says {sender}")
    if phone.parse(row["to"]) is None:
        raise Refusal(f"{file}, line {line}: {row['to']} is no phone number in E.164 format, such as +14255550199")
    at = row.get("at")
    return {"from": number, "to": row["to"], **({"at": at} if at else {})}
