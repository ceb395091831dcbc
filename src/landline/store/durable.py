"""Files that outlive the loss of power, for what is needed beside a database that does."""

import os
from pathlib import Path


def synced(path: Path) -> None:
    """Return once `path`, a file's content or the names in a directory, outlives the loss of power."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
