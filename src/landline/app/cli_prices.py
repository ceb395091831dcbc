"""The command `price`: what carriers charge for a segment, by the first digits of a number."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

from cyclopts import App, Parameter

from landline.app.cli_shared import HERE, File, Json, Server, ask, check_limit, encoded, pages_of, show, text_of

_MOST_OF_A_PAGE = 1000
_TYPED = {"carrier": "CARRIER", "prefix": "PREFIX", "price": "PRICE"}

price = App(name="price", help="What carriers charge for a segment, by the first digits of a number.")

OfCarrier = Annotated[str | None, Parameter(name="--carrier")]


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(price)


@price.command(name="list")
def list_prices(*, carrier: OfCarrier = None, limit: int = 1000, json: Json = False, server: Server = HERE) -> None:
    """List the prices of a segment, by carrier and prefix.

    Parameters
    ----------
    carrier
        Only this carrier's.
    limit
        How many at most.
    """
    check_limit(limit)
    pages = pages_of(ask(server), "/sms/prices", {"carrier": carrier}, min(limit, _MOST_OF_A_PAGE))
    found = list(islice((each for page in pages for each in page["value"]), limit))
    show(found, ("carrier", "prefix", "price", "currency"), json)


@price.command(name="set")
def set_price(carrier: str, prefix: str, amount: str, *, server: Server = HERE) -> None:
    """Set what a carrier charges for a segment to numbers that begin so. It is in force at once.

    Parameters
    ----------
    prefix
        A + and the first digits; the longest that a number begins with counts. + alone is for all others.
    amount
        The price in the server's currency, such as 0.0075.
    """
    found = ask(server, {**_TYPED, "price": "AMOUNT"}).call("PUT", _path(carrier, prefix), {"price": amount})
    print(f"{carrier} to {found['prefix']}: {found['price']} {found['currency']} a segment")


@price.command(name="remove")
def remove_price(carrier: str, prefix: str | None = None, *, server: Server = HERE) -> None:
    """Remove a price, or without a prefix all prices of a carrier."""
    ask(server, _TYPED).call("DELETE", _path(carrier, prefix))
    print(f"{carrier} has {'no prices' if prefix is None else f'no price for {prefix}'} any more")


@price.command(name="import")
def import_prices(
    file: File,
    *,
    carrier: OfCarrier = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    server: Server = HERE,
) -> None:
    """Set the prices of a CSV file with a header: prefix, price, and carrier. One with a bad line changes nothing.

    Parameters
    ----------
    carrier
        Whose prices they are, where the file has no such column.
    replace
        Remove what the carriers of the file have beside it.
    """
    asked = encoded({"carrier": carrier, "replace": "true" if replace else None})
    client = ask(server, {"csv": str(file), "carrier": "--carrier" if carrier is not None else str(file)})
    answer = client.send(f"/sms/prices:import{'?' if asked else ''}{asked}", text_of(file))
    removed = f", removed: {answer['removed']}" if answer["removed"] else ""
    print(f"prices set: {answer['set']}{removed}")


def _path(carrier: str, prefix: str | None) -> str:
    from landline.app.admin_client import quoted

    return quoted("sms", "prices", carrier, *(() if prefix is None else (prefix,)))
