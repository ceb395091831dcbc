"""Packages from npm, as a `package-lock.json` beside them says."""

import fcntl
import shutil
import subprocess
from pathlib import Path

TIMEOUT_S = 600


def installed(directory: Path) -> Path:
    """`directory/node_modules`, installed when it is not there, or is of an older lock; by one process at a time."""
    lock = directory / "package-lock.json"
    done = directory / "node_modules" / ".package-lock.json"
    with lock.open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
            npm = shutil.which("npm")
            assert npm, "npm is needed for the JavaScript SDKs"
            subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=directory, check=True, timeout=TIMEOUT_S)
            done.touch()
    return done.parent
