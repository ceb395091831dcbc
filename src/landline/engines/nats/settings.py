"""Where NATS is and how it is entered: URLs, files of credentials and certificates. Read here, refused in one line."""

import re
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from landline.core.errors import Refusal
from landline.core.pass_phrase import nobody_says_it
from landline.engines.trust import CONTEXTS_KEPT, stamps, trusting

STANDARD_PORT = 4222
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


class CannotUse(Refusal):
    """A setting of NATS is wrong. The message says which, and holds no secret."""

    code = "CannotUseNats"


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a cluster. `secure`: nothing is said to it but over TLS."""

    host: str
    port: int
    secure: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Without secrets, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """A cluster and this deployment's part of its subjects. The files are read anew once they have changed."""

    servers: tuple[Server, ...]
    prefix: str = "landline"
    credentials: Path | None = None
    """A user's JWT and seed, as `nsc` writes them."""
    authority: Path | None = None
    """PEM of who signs the servers' certificates; None for those the system trusts."""
    certificate: Path | None = None
    certificate_key: Path | None = None

    def check(self) -> None:
        """Raises `CannotUse` when nothing could come of it."""
        if _PREFIX.fullmatch(self.prefix) is None:
            raise CannotUse("nats_prefix is words of letters, digits, - and _, joined by dots")
        if (self.certificate is None) != (self.certificate_key is None):
            raise CannotUse("nats_certificate and nats_certificate_key go together: set both or neither")
        self.tls()
        if self.credentials is not None:
            from landline.engines.nats.credentials import Credentials

            Credentials.read(self.credentials)

    def tls(self) -> ssl.SSLContext:
        """How servers are checked, and who we are. Raises `CannotUse`."""
        files = (self.authority, self.certificate, self.certificate_key)
        try:
            return _context(*files, stamps(*files))
        except (OSError, ssl.SSLError) as error:
            named = [str(file) for file in files if file is not None]
            raise CannotUse(f"nats: cannot use {', '.join(named)}: {error}") from None


@lru_cache(CONTEXTS_KEPT)
def _context(authority: Path | None, certificate: Path | None, key: Path | None, _stamps: object) -> ssl.SSLContext:
    context = trusting(authority)
    if certificate is not None:
        context.load_cert_chain(certificate, key, password=nobody_says_it)
    return context


def server(url: str, *, secure: bool = False) -> Server:
    """`nats://` or `tls://`, with `user:password@` or `token@` where the server wants it; `secure` insists on TLS also
    for `nats://`. Raises `CannotUse`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise CannotUse("nats_urls: one of them is no URL: nats://host:4222") from None
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise CannotUse("nats_urls takes URLs such as nats://host:4222, or tls://user:password@host")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password is not None else None
    return Server(
        parts.hostname,
        STANDARD_PORT if port is None else port,
        secure or parts.scheme == "tls",
        user if password is not None else None,
        password,
        user if password is None else None,
    )
