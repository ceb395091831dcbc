"""What the commands that ask a running server have in common: which server and resource, how it is asked, files to
read, how lists are printed."""

from __future__ import annotations

import io
import json as jsonlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlencode

from cyclopts import Parameter

from landline.app.one_line import on_one_line
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from landline.app.admin_client import AdminClient

DEFAULT_RESOURCE = "local"


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Server:
    """Which server to ask."""

    data: Path | None = None
    """Data directory of a server on this machine."""
    admin_url: str | None = None
    """Its admin API's address; or LANDLINE_ADMIN_URL."""
    admin_token: str | None = None
    """Its admin API's token; or LANDLINE_ADMIN_TOKEN."""


HERE = Server()
Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative=(), help="Print the list as JSON.")]
AlwaysJson: TypeAlias = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON, as it does anyway.")]
"""For commands that have nothing else to print: whoever asks for JSON everywhere is not refused."""
Resource: TypeAlias = Annotated[str, Parameter(help="Name of the communication resource.")]
File: TypeAlias = Annotated[Path, Parameter(allow_leading_hyphen=True, help="A file; - is standard input.")]
Sender: TypeAlias = Annotated[str | None, Parameter(name="--from", help="The number or name that texts come from.")]


def ask(server: Server, typed: Mapping[str, str] | None = None) -> AdminClient:
    """The server's admin API. Its refusals call fields by what `typed` says. Raises `CannotAsk`."""
    from landline.app import admin_client

    return admin_client.find(server.data, server.admin_url, server.admin_token, typed)


def resource_path(name: str) -> str:
    """The admin API's path of a resource."""
    from landline.app.admin_client import quoted

    return quoted("resources", name)


def toll_free(client: AdminClient) -> str:
    """The toll-free number that `dev` comes with. The ready file has it; a server that was reached by its address alone
    is asked for it. Raises `Refusal` where there is none, `CannotAsk`."""
    if client.found is not None and client.found.phone_number:
        return client.found.phone_number
    owned = client.get("resources", DEFAULT_RESOURCE, "numbers")["value"]
    found = next((each["number"] for each in owned if each["kind"] == "tollFree"), None)
    if found is None:
        raise Refusal("say which number to text, there is no toll-free one: give --to")
    return found


def pages_of(client: AdminClient, path: str, query: Mapping[str, object], size: int) -> Iterator[Any]:
    """The pages of a list, `size` rows each at most, until the last; one is asked for when the one before it was used.
    Raises `CannotAsk`."""
    token = None
    while True:
        asked = {**query, "pageSize": size} if token is None else {"continuationToken": token, "pageSize": size}
        page = client.call("GET", f"{path}?{encoded(asked)}")
        yield page
        token = page.get("continuationToken")
        if token is None:
            return


def encoded(query: Mapping[str, object]) -> str:
    """`query` as a query string, without what is None."""
    return urlencode({name: value for name, value in query.items() if value is not None})


def check_limit(limit: int) -> None:
    """Raise `Refusal` where a `--limit` asks for nothing."""
    if limit < 1:
        raise Refusal("--limit must be at least 1")


def text_of(file: Path) -> str:
    """What `file` holds, or standard input for `-`. Raises `Refusal`."""
    try:
        given = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return io.TextIOWrapper(io.BytesIO(given), "utf-8-sig").read()  # whatever the locale is
    except UnicodeDecodeError:
        raise Refusal(f"cannot read {file}: it is not UTF-8") from None
    except OSError as error:
        raise Refusal(f"cannot read {file}: {error.strerror}") from None


def assignment(text: str) -> tuple[str, str]:
    """The name and the value of `name=value`. Raises `Refusal`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Refusal(f"{text} is not name=value")
    return name, value


def show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print `rows`, whole as JSON or these `columns` of them as a table."""
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    cells = [
        [on_one_line(row.get(column) if row.get(column) is not None else "-") for column in columns] for row in rows
    ]
    table = Table(box=None)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=all(" " not in row[number] for row in cells), overflow="fold")
    for row in cells:
        table.add_row(*row)
    console = Console(highlight=False, markup=False, emoji=False)
    # Nothing is cut: ids are there to be copied, and the first digits of a figure are another figure. Into a file or a
    # pipe one row is one line.
    needed = Measurement.get(console, console.options.update(width=_ANY_WIDTH), table)
    if not sys.stdout.isatty():
        console.width = needed.maximum
    elif needed.minimum > console.width:
        _show_apart([dict(zip(columns, row, strict=True)) for row in cells], console.width)
        return
    head, *lines = ("".join(part.text for part in line).rstrip() for line in console.render_lines(table, pad=False))
    console.print(head, style="bold", soft_wrap=True)
    for line in lines:
        print(line)


def _show_apart(rows: list[dict[str, str]], width: int) -> None:
    """Print each row on as many lines as it needs where the terminal has no room for the columns, without what it has
    not; parted only between two of its values."""
    for row in rows:
        lines = [""]
        for told in (f"{column}: {value}" for column, value in row.items() if value != "-"):
            if lines[-1] and len(lines[-1]) + len(told) + 2 > width:
                lines.append("")
            gap = "  " if lines[-1] or len(lines) > 1 else ""
            lines[-1] += gap + told
        print("\n".join(lines))


_ANY_WIDTH = 1_000_000


def print_json(found: object) -> None:
    """Print `found` as JSON, for programs and for what no table has room for."""
    print(jsonlib.dumps(found, indent=2))
