"""The commands that ask a running server: `resource`, `number`, `handset`, `env`; and what those of
`cli_subscription` and `cli_messages` share with them."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import App, Parameter

from landline.app.one_line import on_one_line
from landline.core.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_NUMBER = {"number": "NUMBER"}
Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative=(), help="Print the list as JSON.")]
AlwaysJson: TypeAlias = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON, as it does anyway.")]
"""For commands that have nothing else to print: whoever asks for JSON everywhere is not refused."""
Resource: TypeAlias = Annotated[str, Parameter(help="Name of the communication resource.")]

resource = App(name="resource", help="Communication resources and their access keys.")
number = App(name="number", help="The numbers and sender names that a resource owns.")
handset = App(name="handset", help="The simulated carrier's handsets: read and send texts.")


def add_to(app: App) -> None:
    """Add these commands."""
    for group in (resource, number, handset):
        app.command(group)
    app.command(env)


@resource.command(name="list")
def list_resources(*, json: Json = False, server: Server = HERE) -> None:
    """List the resources."""
    found = ask(server).get("resources")["value"]
    show(found, ("name", "resourceId", "location", "createdAt"), json)


@resource.command(name="create")
def create_resource(name: str, *, server: Server = HERE) -> None:
    """Create a resource; its endpoint is the server's with the name before it."""
    client = ask(server, {"name": "NAME"})
    client.call("POST", "/resources", {"name": name})
    connection_string = client.get("resources", name, "keys")["primaryConnectionString"]
    print(connection_string)
    _tell_unknown(connection_string)


def _tell_unknown(connection_string: str) -> None:
    """Say where names below `localhost` are not this machine's own: RFC 6761 wants them to be, many systems differ."""
    import socket
    from urllib.parse import urlsplit

    host = urlsplit(connection_string.removeprefix("endpoint=").partition(";")[0]).hostname or ""
    if not host.endswith(".localhost"):
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        print(
            f"landline: this machine does not know {host}: add the line 127.0.0.1 {host} to /etc/hosts", file=sys.stderr
        )


@resource.command(name="keys")
def show_keys(name: Resource = DEFAULT_RESOURCE, *, json: Json = False, server: Server = HERE) -> None:
    """Print a resource's connection strings, primary first."""
    found = ask(server).get("resources", name, "keys")
    shown = [found["primaryConnectionString"], found["secondaryConnectionString"]]
    print(jsonlib.dumps(found, indent=2) if json else "\n".join(shown))


@resource.command(name="rotate")
def rotate_key(
    name: Resource = DEFAULT_RESOURCE, slot: Literal["primary", "secondary"] = "primary", *, server: Server = HERE
) -> None:
    """Replace an access key. The old one, and user tokens made with it, stop working at once."""
    print(ask(server).call("POST", f"{resource_path(name)}/keys/{slot}:rotate")["connectionString"])


@number.command(name="list")
def list_numbers(*, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE) -> None:
    """List a resource's numbers."""
    found = ask(server).get("resources", resource, "numbers")["value"]
    rows = [{**each, "sms": each.get("capabilities", {}).get("sms")} for each in found]
    show(found if json else rows, ("number", "kind", "sms", "carrier"), json)


@number.command(name="add")
def add_number(
    number: str,
    *,
    resource: Resource = DEFAULT_RESOURCE,
    kind: str | None = None,
    carrier: str | None = None,
    server: Server = HERE,
) -> None:
    """Give a resource a number, a short code or a sender name.

    Parameters
    ----------
    kind
        What it is, where its form leaves that open.
    carrier
        The configured carrier its texts go through. Default: what the routing rules say.
    """
    body = {"number": number, **({"kind": kind} if kind else {}), **({"carrier": carrier} if carrier else {})}
    client = ask(server, {"number": "NUMBER", "kind": "--kind", "carrier": "--carrier"})
    added = client.call("POST", f"{resource_path(resource)}/numbers", body)
    through = f", through carrier {added['carrier']}" if added.get("carrier") else ""
    print(f"{added['number']} ({added['kind']}) is a number of {resource} now{through}")


@number.command(name="remove")
def remove_number(number: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Take a number away from a resource."""
    from landline.app.admin_client import quoted

    ask(server, _NUMBER).call("DELETE", resource_path(resource) + "/numbers" + quoted(number))
    print(f"{number} is no number of {resource} any more")


@handset.command(name="inbox")
def show_inbox(number: str, *, json: Json = False, server: Server = HERE) -> None:
    """List the texts on the handset at a number."""
    show(ask(server, _NUMBER).get("handsets", number, "inbox")["value"], ("id", "receivedAt", "from", "text"), json)


@handset.command(name="text")
def send_text(number: str, text: str, *, to: str | None = None, server: Server = HERE) -> None:
    """Send a text from the handset at a number.

    Parameters
    ----------
    to
        The number to text. Default: the server's toll-free number.
    """
    from landline.app.admin_client import quoted

    client = ask(server, {**_NUMBER, "to": "--to", "text": "TEXT"})
    to = to or toll_free(client)
    client.call("POST", f"{quoted('handsets', number)}:text", {"to": to, "text": text})
    print(f"sent from {number} to {to}")


def env(*, server: Server = HERE) -> None:
    """Print the variables for a shell: `eval "$(landline env)"`."""
    from landline.app import admin_client
    from landline.app.cli_server import exports

    if server.admin_url is not None:
        raise Refusal("these are known on the server's own machine only: give its --data instead of --admin-url")
    found = admin_client.here(server.data).found
    assert found is not None, "a server here is found by its ready file"
    print("\n".join(exports(found)))


def ask(server: Server, typed: Mapping[str, str] | None = None) -> AdminClient:
    """The server's admin API. Its refusals call fields by what `typed` says. Raises `CannotAsk`."""
    from landline.app import admin_client

    return admin_client.find(server.data, server.admin_url, server.admin_token, typed)


def resource_path(name: str) -> str:
    """The admin API's path of a resource."""
    from landline.app.admin_client import quoted

    return quoted("resources", name)


def toll_free(client: AdminClient) -> str:
    """The toll-free number that `dev` comes with: the server says so when it is reached by its address alone."""
    if client.found is not None and client.found.phone_number:
        return client.found.phone_number
    owned = client.get("resources", DEFAULT_RESOURCE, "numbers")["value"]
    found = next((each["number"] for each in owned if each["kind"] == "tollFree"), None)
    if found is None:
        raise Refusal("say which number to text, there is no toll-free one: give --to")
    return found


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
