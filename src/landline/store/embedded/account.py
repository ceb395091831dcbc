"""Who PostgreSQL runs as: ourselves, or, since it refuses to run as root, an unprivileged user that is already there.

Nothing is created or opened up for that user. A data directory it could never reach by path (every parent may be 0700)
is opened by us and handed over as a file descriptor, named `/proc/self/fd/N`.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from landline.store.embedded.errors import CannotRun

_CANDIDATES = ("postgres", "nobody")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

_prctl: Any = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the PostgreSQL processes. `switch` is False when that is the user we run as anyway."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path) -> None:
        """Give a file or directory of ours to this account."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def popen(
        self, command: Sequence[str | Path], *, dies_with_us: signal.Signals, output: IO[bytes] | int, fds: list[int]
    ) -> "subprocess.Popen[bytes]":
        """Start `command` as this account in a session of its own, away from our terminal's Ctrl-C.

        When the calling thread ends, even by SIGKILL, the kernel sends the child `dies_with_us` (Linux). Raises
        `PermissionError` when the account cannot reach the program.
        """
        with warnings.catch_warnings():
            # Python 3.12 and later warn of any code between fork and exec beside threads; ours is two system calls.
            warnings.simplefilter("ignore", DeprecationWarning)
            return subprocess.Popen(  # noqa: S603 - programs of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",  # the account may not be allowed into ours
                env={**{name: os.environ[name] for name in _KEPT if name in os.environ}, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                pass_fds=fds,
                preexec_fn=_dying_with(os.getpid(), dies_with_us),
                umask=0o077,
                user=self.uid if self.switch else None,
                group=self.gid if self.switch else None,
                extra_groups=[] if self.switch else None,
            )

    def run(
        self, command: Sequence[str | Path], *, fds: Sequence[int] = (), timeout_s: float = 60.0
    ) -> tuple[int, str]:
        """Run `command` to its end; its exit status and what it printed. Raises `PermissionError`, `TimeoutExpired`."""
        process = self.popen(command, dies_with_us=signal.SIGKILL, output=subprocess.PIPE, fds=list(fds))
        with process:
            try:
                printed, _ = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
        return process.returncode, printed.decode("utf-8", "replace").strip()


def choose(data: Path) -> Account:
    """The account for a data directory: its owner when it exists, else ourselves, or when we are root a user who is
    not. Raises `CannotRun`."""
    uid = os.geteuid()
    if uid != 0:
        if not data.exists():
            _check_named(uid)
        return Account(uid, os.getegid(), switch=False)
    if data.exists():
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, switch=True)
    for name in _CANDIDATES if sys.platform == "linux" else ():  # elsewhere there is no /proc to hand a directory over
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid, switch=True)
    raise CannotRun(
        "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` here to run it as: "
        "start Landline as another user, or give it a DSN"
    )


def _check_named(uid: int) -> None:
    """Refuse what initdb refuses, as in containers that are given any number for a user. Raises `CannotRun`."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise CannotRun(
            f"PostgreSQL makes no database as user {uid}, which has no name here: "
            "give it one in /etc/passwd, start Landline as another user, or give it a DSN"
        ) from None


def _dying_with(parent: int, with_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child does between fork and exec, after it has changed its user (which would clear the setting)."""
    if _prctl is None:
        return None

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)
        if os.getppid() != parent:  # our parent died before the line above
            os._exit(1)

    return prepare
