"""Where databases of tests are: in memory, on a machine that has some to spare.

Every test with a database makes and removes a thousand files. That is cheap in memory and costs most of all on ext4
without a journal, which virtual machines often have: for a minute it uses no inode again, and looks past each of them.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from landline.store.embedded.errors import CannotRun, DirectoryTaken
from landline.store.embedded.lock import DirectoryLock

_MEMORY = Path("/dev/shm")
_SPARE_BYTES = 2 << 30
_PREFIX = "landline-tests-"
_ABANDONED_S = 3600


@contextmanager
def in_memory(otherwise: Path) -> Generator[Path]:
    """A directory in memory that is removed in the end, or `otherwise` when there is no room: a container's /dev/shm
    often has 64 MB."""
    if not _room():
        yield otherwise
        return
    _sweep()
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def _room() -> bool:
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return False
    here = os.statvfs(_MEMORY)
    return here.f_bavail * here.f_frsize >= _SPARE_BYTES and _available() >= _SPARE_BYTES


def _available() -> int:
    """What the machine's programs can still have (proc(5)); the size of a tmpfs is only a limit."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _sweep() -> None:
    """Remove what runs left that were killed: nobody else would, until the machine is started anew."""
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        with suppress(OSError, CannotRun, DirectoryTaken):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                lock = DirectoryLock(left)
                shutil.rmtree(left)
                lock.release()
