"""The command `stock`: the numbers for sale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cyclopts import App

from landline.app.cli_shared import HERE, File, Json, Server, ask, assignment, check_limit, encoded, show, text_of

if TYPE_CHECKING:
    from landline.app.admin_client import AdminClient

_MOST_OF_A_PAGE = 100

stock = App(name="stock", help="The numbers for sale.")


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(stock)


@stock.command(name="list")
def list_stock(*, limit: int = 1000, json: Json = False, server: Server = HERE) -> None:
    """List the numbers that were put up for sale, sold ones too.

    Parameters
    ----------
    limit
        How many at most.
    """
    check_limit(limit)
    found = _stock(ask(server), limit)
    columns = ("number", "country", "kind", "status", "owner", "cost", "currency", "carrier")
    show(found, columns, json)


@stock.command(name="import")
def import_stock(file: File, *, server: Server = HERE) -> None:
    """Put up for sale the numbers of a CSV file with a header; one with a bad line adds nothing."""
    _tell_added(ask(server, {"csv": str(file)}).send("/numbers/stock:import", text_of(file)))


@stock.command(name="add-range")
def add_range(first: str, last: str, *values: str, server: Server = HERE) -> None:
    """Put up for sale all numbers from the first to the last.

    Parameters
    ----------
    values
        What they have in common, each as column=value by the columns of the CSV, such as carrier=north.
    """
    body = {"first": first, "last": last, "values": dict(assignment(each) for each in values)}
    client = ask(server, {"first": "FIRST", "last": "LAST", "values": "VALUES"})
    _tell_added(client.call("POST", "/numbers/stock:addRange", body))


@stock.command(name="remove")
def remove_stock(number: str, *, server: Server = HERE) -> None:
    """Take a number off sale."""
    from landline.app.admin_client import quoted

    ask(server, {"number": "NUMBER"}).call("DELETE", quoted("numbers", "stock", number))
    print(f"{number} is not for sale any more")


def _stock(client: AdminClient, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while len(found) < limit:
        asked = {"top": min(limit - len(found), _MOST_OF_A_PAGE), "after": after}
        page = client.call("GET", f"/numbers/stock?{encoded(asked)}")
        found += page["value"]
        after = page.get("nextAfter")
        if after is None:
            break
    return found


def _tell_added(answer: dict[str, int]) -> None:
    known = f", {answer['known']} were for sale already" if answer["known"] else ""
    print(f"put up for sale: {answer['added']}{known}")
