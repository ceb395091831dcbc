"""The ready file: where a running server is and how to use it, for tests, scripts and Landline's own commands."""

import os
from pathlib import Path
from typing import Any

import msgspec

from landline.app.config import CannotConfigure
from landline.app.secrets import write_private

IN_DATA = "server.json"
"""The same file in the data directory, by which commands find the server that runs there."""


class Ready(msgspec.Struct, rename="camel", omit_defaults=True, frozen=True, kw_only=True):
    """Its content. `serve` leaves out what only `dev` has."""

    admin_url: str
    admin_token: str
    url: str = ""
    """None of a worker's, which has no public port."""
    connection_string: str | None = None
    ca_bundle: str | None = None
    phone_number: str | None = None
    portal_url: str | None = None
    smpp_address: str | None = None
    """Where customers bind, as `127.0.0.1:2775`; the other with TLS."""
    smpp_tls_address: str | None = None


def prepare(file: Path) -> None:
    """Make the directory of a file that is to be written once the server serves. Raises `CannotConfigure`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotConfigure(f"ready_file: cannot make {file.parent}: {error.strerror}; choose another") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK | os.X_OK):
        raise CannotConfigure(f"ready_file: {file} cannot be written; choose another")


def write(ready: Ready, *files: Path) -> None:
    """Write it to each of `files`, complete at once, mode 0600."""
    for file in files:
        write_private(file, msgspec.json.format(msgspec.json.encode(ready), indent=2).decode() + "\n")


def read(file: Path) -> Ready | None:
    """What a server wrote; None when there is none, or when the file is not a server's."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Ready)
    except (OSError, msgspec.DecodeError):
        return None


def is_hidden(file: Path) -> bool:
    """Whether this user may not know what is in it, nor whether it is there."""
    try:
        file.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def as_json(ready: Ready) -> dict[str, Any]:
    """The file's content as plain data."""
    return msgspec.to_builtins(ready)
