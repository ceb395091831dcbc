"""The commands of what a server has and is reached by: `resource`, `number`, `handset`, `env`."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import Literal

from cyclopts import App

from landline.app.cli_shared import DEFAULT_RESOURCE, HERE, Json, Resource, Server, ask, resource_path, show, toll_free
from landline.core.errors import Refusal

resource = App(name="resource", help="Communication resources and their access keys.")
number = App(name="number", help="The numbers and sender names that a resource owns.")
handset = App(name="handset", help="The simulated carrier's handsets: read and send texts.")

_NUMBER = {"number": "NUMBER"}


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
