"""The directory of PostgreSQL's socket: short (a socket's path has at most 107 bytes), closed to others, temporary."""

import os
import shutil
import tempfile
from pathlib import Path

from landline.store.embedded.account import Account

_PREFIX = "landline-pg-"
_LONGEST = 107 - len("/.s.PGSQL.5432.lock")


def make(account: Account, note: Path) -> Path:
    """A new directory (0700) owned by `account`. Its path is kept in the file `note`, by which the next start removes
    what a killed one left behind."""
    remove(note)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place(account)))
    note.write_text(str(path), "utf-8")
    account.own(path)
    return path


def remove(note: Path) -> None:
    """Remove the directory that `note` names, and `note`."""
    if note.exists():
        path = Path(note.read_text("utf-8"))
        if path.name.startswith(_PREFIX):
            shutil.rmtree(path, ignore_errors=True)
        note.unlink()


def _place(account: Account) -> str:
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()] if not account.switch else []
    for place in places:
        if place and os.access(place, os.W_OK) and len(os.fsencode(place)) + len(_PREFIX) + 9 <= _LONGEST:
            return place
    return "/tmp"  # noqa: S108 - the directory made in it is 0700 and has a random name
