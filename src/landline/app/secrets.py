"""The secrets a server keeps in its data directory, made at random when they are first needed; files of mode 0600."""

import os
import secrets
from pathlib import Path

from landline.core.durable import synced


def kept(file: Path) -> str:
    """The secret in `file`, made first when there is none: 43 characters, 256 bits."""
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        write_private(file, secrets.token_urlsafe(32) + "\n")
        return file.read_text("ascii").strip()


def write_private(file: Path, text: str) -> None:
    """Put `text` into `file` (0600) at once: who reads it finds all of it or the former one."""
    making = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    making.replace(file)
    synced(file.parent)
