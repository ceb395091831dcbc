"""The command `smpp-account`: how customers who speak SMPP may bind, with all that the admin API has for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from cyclopts import App, Parameter

from landline.app.cli_shared import (
    DEFAULT_RESOURCE,
    HERE,
    AlwaysJson,
    Json,
    Resource,
    Server,
    ask,
    print_json,
    resource_path,
    show,
)
from landline.core.errors import Refusal

_OPTIONS = {
    "systemId": "SYSTEM-ID",
    "addresses": "--address",
    "binds": "--binds",
    "window": "--window",
    "ratePerS": "--rate-per-s",
    "texts": "--texts",
    "alphabet": "--alphabet",
}

smpp_account = App(name="smpp-account", help="Accounts of customers who speak SMPP.")

PasswordFile = Annotated[
    Path,
    Parameter(
        allow_leading_hyphen=True,
        help="A file to make for its password, which nobody is shown again; - is standard output.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Settings:
    """What it may do. What is not given stays as it is, or as the product has it."""

    enabled: bool | None = None
    """Whether it may bind."""
    address: Annotated[tuple[str, ...] | None, Parameter(negative_iterable="no-")] = None
    """An address or a network it may bind from; may be given several times. --no-address: from any."""
    binds: int | None = None
    """Connections at once."""
    window: int | None = None
    """Unanswered submit_sm on each."""
    rate_per_s: float | None = None
    """The submit_sm a second over all of them."""
    unlimited: Annotated[bool, Parameter(negative=())] = False
    """No rate."""
    receipts: bool | None = None
    """Whether it gets delivery receipts at all."""
    texts: Annotated[tuple[str, ...] | None, Parameter(negative_iterable="no-")] = None
    """A number whose texts it gets, * for all; may be given several times."""
    alphabet: Literal["gsm", "latin1", "utf8"] | None = None
    """What data_coding 0 is in what it submits."""

    def body(self) -> dict[str, object]:
        """These as the admin API wants them. Raises `Refusal`."""
        if self.unlimited and self.rate_per_s is not None:
            raise Refusal("give --rate-per-s or --unlimited")
        wanted: dict[str, object] = {
            "enabled": self.enabled,
            "addresses": self.address,
            "binds": self.binds,
            "window": self.window,
            "ratePerS": self.rate_per_s,
            "receipts": self.receipts,
            "texts": self.texts,
            "alphabet": self.alphabet,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return {**given, "ratePerS": None} if self.unlimited else given


NOTHING = Settings()


def add_to(app: App) -> None:
    """Add these commands."""
    app.command(smpp_account)


@smpp_account.command(name="list")
def list_accounts(*, resource: Resource = DEFAULT_RESOURCE, json: Json = False, server: Server = HERE) -> None:
    """List a resource's SMPP accounts."""
    found = ask(server).get("resources", resource, "smpp-accounts")["value"]
    columns = ("systemId", "enabled", "addresses", "binds", "window", "ratePerS", "receipts", "texts", "alphabet")
    show(found if json else [_row(each) for each in found], columns, json)


@smpp_account.command(name="show")
def show_account(
    system_id: str, *, resource: Resource = DEFAULT_RESOURCE, _json: AlwaysJson = True, server: Server = HERE
) -> None:
    """Print all there is to an SMPP account, but its password, as JSON."""
    print_json(ask(server).get("resources", resource, "smpp-accounts", system_id))


@smpp_account.command(name="create")
def create_account(
    system_id: str,
    *,
    password_file: PasswordFile,
    resource: Resource = DEFAULT_RESOURCE,
    settings: Settings = NOTHING,
    server: Server = HERE,
) -> None:
    """Make an SMPP account."""
    body = {"systemId": system_id, **settings.body()}
    client = ask(server, _OPTIONS)
    with _for_password(password_file) as out:
        made = client.call("POST", f"{resource_path(resource)}/smpp-accounts", body)
        print(made["password"], file=out)
    _tell(f"{system_id} may bind for {resource} now; its password is", password_file)


@smpp_account.command(name="change")
def change_account(
    system_id: str, *, resource: Resource = DEFAULT_RESOURCE, settings: Settings = NOTHING, server: Server = HERE
) -> None:
    """Change an SMPP account; what is not given stays. Disabled, or with other addresses, its binds are cut."""
    body = settings.body()
    if not body:
        raise Refusal("say what to change: see landline smpp-account change --help")
    changed = ask(server, _OPTIONS).call("PATCH", _path(resource, system_id), body)
    state = "enabled" if changed["enabled"] else "disabled"
    print(f"{system_id} is {state}" if body.keys() == {"enabled"} else f"{system_id} is changed, and {state}")


@smpp_account.command(name="rotate")
def rotate_password(
    system_id: str, *, password_file: PasswordFile, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE
) -> None:
    """Give an SMPP account a new password; its binds are cut."""
    client = ask(server)
    with _for_password(password_file) as out:
        print(client.call("POST", f"{_path(resource, system_id)}:rotate")["password"], file=out)
    _tell(f"the new password of {system_id} is", password_file)


@smpp_account.command(name="remove")
def remove_account(system_id: str, *, resource: Resource = DEFAULT_RESOURCE, server: Server = HERE) -> None:
    """Delete an SMPP account and the receipts and texts that wait for it; its binds are cut."""
    ask(server).call("DELETE", _path(resource, system_id))
    print(f"{system_id} may not bind any more")


def _path(resource: str, system_id: str) -> str:
    from landline.app.admin_client import quoted

    return f"{resource_path(resource)}/smpp-accounts{quoted(system_id)}"


def _row(account: dict[str, Any]) -> dict[str, object]:
    lists = {name: " ".join(account[name]) or None for name in ("addresses", "texts")}
    return {**account, **lists, **{name: "yes" if account[name] else "no" for name in ("enabled", "receipts")}}


@contextmanager
def _for_password(file: Path) -> Generator[TextIO]:
    """Where to write a password: a new file that is its owner's alone, there before the password is. It does not stay
    when nothing comes of it. Raises `Refusal`."""
    if str(file) == "-":
        yield sys.stdout
        return
    try:
        made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refusal(f"--password-file: {file} is there already: name a new file") from None
    except OSError as error:
        raise Refusal(f"--password-file: cannot make {file}: {error.strerror}") from None
    try:
        with open(made, "w", encoding="utf-8") as out:
            yield out
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _tell(what: str, file: Path) -> None:
    """Say what was done and where the password is, apart from one that goes to standard output."""
    if str(file) == "-":
        print(f"{what} above", file=sys.stderr)
    else:
        print(f"{what} in {file}")
