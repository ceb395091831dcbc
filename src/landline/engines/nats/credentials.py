"""A user's credentials file as `nsc` writes it: a JWT that says who, and the seed of the Ed25519 key that proves it
(NATS ADR-26, nkeys)."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from landline.engines.nats.settings import CannotUse

_JWT = re.compile(r"-+BEGIN NATS USER JWT-+\s+(\S+)\s")
_SEED = re.compile(r"-+BEGIN USER NKEY SEED-+\s+(\S+)\s")
_SEED_OF_USER = bytes([18 << 3 | 20 >> 2, (20 << 3 & 0x1F) << 3])
"""The first bytes of a seed: 5 bits of S, then 8 that hold the kind, U."""
_SEED_BYTES = 2 + 32 + 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a server, and the proof."""

    jwt: str = field(repr=False)
    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> "Credentials":
        """Raises `CannotUse`, which tells nothing of the contents."""
        try:
            text = file.read_text("ascii") + "\n"
        except (OSError, UnicodeDecodeError):
            raise CannotUse(f"nats_credentials: cannot read {file}") from None
        jwt, seed = _JWT.search(text), _SEED.search(text)
        if jwt is None or seed is None:
            raise CannotUse(f"nats_credentials: {file} has no JWT and seed of a NATS user, as nsc writes them")
        return cls(jwt[1], private_key(seed[1]))

    def sign(self, nonce: str) -> bytes:
        """The answer to a server's nonce."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def private_key(seed: str) -> Ed25519PrivateKey:
    """The key of a user's `seed`. Raises `CannotUse`."""
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    whole = len(raw) == _SEED_BYTES and binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")
    if not whole or raw[0] != _SEED_OF_USER[0] or raw[1] & 0xF8 != _SEED_OF_USER[1]:
        raise CannotUse("nats_credentials: the seed in it is no seed of a user (SU...)")
    return Ed25519PrivateKey.from_private_bytes(raw[2:34])
