"""The directory of PostgreSQL's socket: short (a socket's path has at most 107 bytes), closed to others, temporary."""

import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from landline.store.embedded.account import Account

_PREFIX = "landline-pg-"
_SOCKET = ".s.PGSQL.5432"
_ABANDONED_S = 3600
_LONGEST = 107 - len(f"/{_SOCKET}.lock")


def make(account: Account, note: Path) -> Path:
    """A new directory (0700) owned by `account`. Its path is kept in the file `note`, by which the next start removes
    what a killed one left behind."""
    clear(note)
    place = _place(account)
    _sweep(Path(place), account)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    note.write_text(str(path), "utf-8")
    account.own(path)
    return path


def clear(note: Path) -> None:
    """`remove`, but for a directory in which a server answers: in a copy of that server's data it is its, not ours."""
    if note.exists() and _answers(Path(note.read_text("utf-8")) / _SOCKET):
        note.unlink()
    else:
        remove(note)


def remove(note: Path) -> None:
    """Remove the directory that `note` names, and `note`."""
    if note.exists():
        path = Path(note.read_text("utf-8"))
        if path.name.startswith(_PREFIX):
            shutil.rmtree(path, ignore_errors=True)
        note.unlink()


def _sweep(place: Path, account: Account) -> None:
    """Remove what servers left whose data directory, and with it their note, is gone: empty for an hour, and the same
    user's. One that has a socket in it is never touched."""
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # not empty, or gone already
            stat = path.stat()
            if stat.st_uid == account.uid and time.time() - stat.st_mtime > _ABANDONED_S:
                path.rmdir()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(str(path))
        except BlockingIOError:  # more wait for it than it has room for
            return True
        except OSError:
            return False
    return True


def _place(account: Account) -> str:
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()] if not account.switch else []
    for place in places:
        if place and os.access(place, os.W_OK) and len(os.fsencode(place)) + len(_PREFIX) + 9 <= _LONGEST:
            return place
    return "/tmp"  # noqa: S108 - the directory made in it is 0700 and has a random name
