"""One process per directory: a lock that the kernel lets go of when its process ends, however it ends."""

import fcntl
import os
from pathlib import Path

from landline.store.embedded.errors import CannotRun, DirectoryTaken


class DirectoryLock:
    """Holds `directory/lock` until `release`, or until this process ends. Children do not inherit it."""

    def __init__(self, directory: Path) -> None:
        """Take the lock, making the directory (0700) if need be. Raises `DirectoryTaken` or `CannotRun`."""
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotRun(f"cannot use the directory {directory}: {error.strerror}; choose another") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise DirectoryTaken(
                f"{directory} is in use by process {holder}: stop it, or choose another data directory"
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Let the directory go. The file stays: removing it would race with who opens it now."""
        os.close(self._fd)


def is_held(directory: Path) -> bool:
    """Whether a process holds the lock of `directory`. To know it, the lock is taken for a moment where nobody does."""
    try:
        held = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False
