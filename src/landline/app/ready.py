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
    smpp_address: str | None = None
    """Where customers bind, as `127.0.0.1:2775`; the other with TLS."""
    smpp_tls_address: str | None = None
    directory: str | None = None
    """Which data directory it is of, whatever its path is here: that of a copy is another."""


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
    except (OSError, ValueError):  # msgspec's own errors are such, and what it says of other encodings than UTF-8
        return None


def of(data: Path) -> Ready | None:
    """What the server that runs on the directory `data` wrote; None when there is none. What a copy of the directory
    brought along is of the server that runs on the original: who looks into the copy does not mean that one."""
    found = read(data / IN_DATA)
    return found if found is None or found.directory in (None, identity(data)) else None


def identity(data: Path) -> str:
    """What tells the directory `data` from all others, through links, mounts and moves. Empty when it is not there."""
    try:
        status = data.stat()
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


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
