"""The secrets a server is given, or keeps in its data directory, made at random when they are first needed; files of
mode 0600."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from landline.app.config import CannotConfigure, Config
from landline.store.durable import synced
from landline.store.sealing import Sealer, WrongSeal

LEAST_SECRET_BYTES = 32
_PROOF = "sealing-proof"


def kept(file: Path) -> str:
    """The secret in `file`, made first when there is none: 43 characters, 256 bits."""
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        write_private(file, secrets.token_urlsafe(32) + "\n")
        return file.read_text("ascii").strip()


def write_private(file: Path, text: str) -> None:
    """Put `text` into `file` (0600) as `put` does."""
    put(file, text.encode(), 0o600)


def put(file: Path, content: bytes, mode: int) -> None:
    """Put `content` into `file` at once: who reads it, and we after a crash, find all of it or the former one."""
    making = file.with_name(f".{file.name}.{os.getpid()}")
    making.unlink(missing_ok=True)  # a crash left it, or others put it there, where they may write, to read along
    with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    making.replace(file)
    synced(file.parent)


def prove(config: Config) -> None:
    """Leave a proof beside the embedded database of the secret that it was served with, for who cannot ask it."""
    secret = sealing_secret(config)
    if secret is None or config.dsn is not None:
        return
    with suppress(OSError, WrongSeal):
        proven(config)
        return
    with suppress(OSError):  # it is a help, and nothing depends on it
        write_private(config.data / _PROOF, Sealer(secret.encode()).seal(b"", _PROOF).hex() + "\n")


def proven(config: Config) -> None:
    """Raises `WrongSeal` where the proof is of another secret, `FileNotFoundError` where there is none."""
    secret = sealing_secret(config)
    try:
        sealed = bytes.fromhex((config.data / _PROOF).read_text("ascii").strip())
    except ValueError:
        raise FileNotFoundError(_PROOF) from None
    if secret is not None and len(secret.encode()) >= LEAST_SECRET_BYTES:
        Sealer(secret.encode()).open(sealed, _PROOF)


def admin_token(config: Config) -> str | None:
    """The configured admin token, as a header brings it: without the end of the line of a file it was read from. None
    when there is none. Raises `CannotConfigure`."""
    token = (config.admin_token or "").strip()
    if not (token.isascii() and token.isprintable()):
        raise CannotConfigure(
            "admin_token has characters that no header carries: make one with `openssl rand -base64 32`"
        )
    return token or None


def sealing_secret(config: Config) -> str | None:
    """The configured sealing secret, from the setting or its file. Raises `CannotConfigure`."""
    if config.sealing_secret_file is None:
        return config.sealing_secret
    if config.sealing_secret is not None:
        raise CannotConfigure("both sealing_secret and sealing_secret_file are set: remove one")
    try:
        return config.sealing_secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotConfigure(f"cannot read sealing_secret_file {config.sealing_secret_file}: {error}") from error
