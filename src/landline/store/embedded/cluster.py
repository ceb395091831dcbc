"""A PostgreSQL data directory: made complete or not at all, bound to its major version, cleared of dead owners."""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from landline.store.durable import synced
from landline.store.embedded.account import Account
from landline.store.embedded.binaries import Binaries
from landline.store.embedded.errors import CannotRun, OtherMajor

USER = "landline"
DATABASE = "postgres"
_NO_PID = 2**22 + 1  # above Linux's largest possible process id: never alive
_BUILTIN_LOCALE = 17  # the first major with a C.UTF-8 of its own

_HBA = "# Written by Landline: one socket, one user, one password.\nlocal all all scram-sha-256\n"


def major_of(data: Path) -> int | None:
    """The major version a data directory belongs to; None when there is no (complete) one."""
    try:
        return int((data / "PG_VERSION").read_text("ascii").strip())
    except FileNotFoundError:
        return None


def matching(data: Path, found: list[Binaries]) -> Binaries:
    """The programs to run `data` with: of its own major version, or the preferred ones when it is new.

    Raises `OtherMajor`: PostgreSQL does not read the files of another major version.
    """
    major = major_of(data)
    if major is None:
        return found[0]
    for binaries in found:
        if binaries.major == major:
            return binaries
    here = ", ".join(f"{binaries.major} in {binaries.directory}" for binaries in found)
    raise OtherMajor(
        f"{data} is a database of PostgreSQL {major}, and there is only {here}: "
        f"install PostgreSQL {major}, or choose another data directory"
    )


@contextmanager
def handed_over(directory: Path, account: Account) -> Generator[tuple[str, list[int]]]:
    """The name by which PostgreSQL's programs reach `directory`, and the descriptors to pass them for it."""
    if not account.switch:
        yield str(directory), []
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}", [fd]
    finally:
        os.close(fd)


def initialise(data: Path, password: Path, binaries: Binaries, account: Account) -> None:
    """Make `data` a database owned by `account`, and `password` the file of its password (0600, ours).

    It is made beside its place and renamed into it, so that a half-made one is never taken for one. Raises `CannotRun`.
    """
    for left in data.parent.glob(f"{data.name}.making-*"):
        shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix=f"{data.name}.making-", dir=data.parent))
    account.own(making)
    with (
        handed_over(making, account) as (name, fds),
        _password_file(_password(password), data.parent) as (handed, more),
    ):
        command = [binaries.directory / "initdb", "-D", name, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8"]
        status, printed = account.run([*command, "--pwfile", handed, *_locale(binaries)], fds=[*fds, *more])
    if status != 0:
        shutil.rmtree(making, ignore_errors=True)
        raise CannotRun(f"initdb of {binaries.directory} failed: {' '.join(printed.split()[-40:])}")
    (making / "pg_hba.conf").write_text(_HBA, "ascii")
    synced(making / "pg_hba.conf")
    making.rename(data)
    synced(data.parent)


def answers(data: Path, pid: int) -> bool:
    """Whether postmaster `pid` takes connections: it says so in the eighth line of its file (pg_ctl reads the same)."""
    try:
        lines = _lines(data / "postmaster.pid")
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def clear_dead_owner(data: Path, account: Account, *, patience_s: float = 5.0) -> None:
    """Have `data` free of other postmasters. Its directory is locked by us, so one that still runs in it has lost its
    Landline: it gets `patience_s` to end as it was told when that died, and is then ended. What else has its process id
    is left alone: the file may be copied from a server that runs, or be of before the machine started."""
    deadline = time.monotonic() + patience_s
    while (pid := _owner(data)) is not None:
        state = _state(pid, data, account)
        if state in (None, "Z", "other"):
            _bury(data, pid)
            return
        late = time.monotonic() - deadline
        if late > 0:
            os.kill(pid, signal.SIGQUIT if late < patience_s else signal.SIGKILL)
            time.sleep(0.1)
        elif patience_s - (deadline - time.monotonic()) > 0.5:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.02)


def _password(file: Path) -> str:
    """The password in `file`, made at random first when there is none. It is complete or absent after a crash."""
    if not file.exists():
        making = file.with_suffix(".making")
        making.unlink(missing_ok=True)
        with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(24))
        synced(making)
        making.rename(file)
        synced(file.parent)
    return file.read_text("ascii")


@contextmanager
def _password_file(password: str, place: Path) -> Generator[tuple[str, list[int]]]:
    """A file for initdb to read, and the descriptors to pass for it: in memory where that can be, else for a moment
    in `place`."""
    if sys.platform != "linux":
        with tempfile.NamedTemporaryFile("w", dir=place) as file:
            file.write(password)
            file.flush()
            yield file.name, []
        return
    fd = os.memfd_create("password")
    try:
        os.write(fd, password.encode())
        yield f"/proc/self/fd/{fd}", [fd]
    finally:
        os.close(fd)


def _locale(binaries: Binaries) -> list[str]:
    """C.UTF-8: the same order on every machine, and no library's update can spoil an index."""
    if binaries.major >= _BUILTIN_LOCALE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C", "--lc-ctype=C.UTF-8"] if sys.platform == "linux" else ["--locale=C"]


def _owner(data: Path) -> int | None:
    try:
        return int(_lines(data / "postmaster.pid")[0])
    except (FileNotFoundError, ValueError):
        return None


def _state(pid: int, data: Path, account: Account) -> str | None:
    """One letter as /proc has it, `other` when the process is no PostgreSQL of `data`, None when there is none."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return "other"
        return "R"
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    letter = rest.split()[0]
    return (
        letter if letter == "Z" or (name in ("postgres", "postmaster") and _works_in(pid, data, account)) else "other"
    )


def _works_in(pid: int, data: Path, account: Account) -> bool:
    """A postmaster's working directory is its data. Root may not see it in a container, but who it runs as does."""
    there = f"/proc/{pid}/cwd"
    try:
        return os.path.samefile(there, data)
    except PermissionError:
        with handed_over(data, account) as (name, fds):
            return account.run(["test", there, "-ef", name], fds=fds)[0] == 0
    except FileNotFoundError:
        return False


def _bury(data: Path, pid: int) -> None:
    """Have the dead owner's file name a process that cannot be alive: PostgreSQL takes a zombie, or a stranger with a
    reused id, for a running server. The rest of the file stays: by it PostgreSQL sees backends left over."""
    file = data / "postmaster.pid"
    try:
        lines = _lines(file)
        if lines[0] == str(pid):
            with file.open("r+b") as out:  # in place: owner and mode stay
                out.write(os.fsencode("\n".join([str(_NO_PID), *lines[1:]])))
                out.truncate()
    except FileNotFoundError:
        return


def _lines(file: Path) -> list[str]:
    """What a postmaster says of itself, the path of its directory among it, which may be of any octets."""
    return os.fsdecode(file.read_bytes()).split("\n")
