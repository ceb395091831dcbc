"""Secrets at rest: access keys, signing keys and webhook secrets are sealed with AES-256-GCM (NIST SP 800-38D)."""

import os
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from landline.core.errors import Refusal

_NONCE_BYTES = 12


class WrongSeal(Refusal):
    """The sealed value was sealed with another secret, for another purpose, or altered."""

    code = "WrongSealingSecret"


class Sealer:
    """Seals and opens short secrets with a key derived from the operator's sealing secret (at least 32 bytes)."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise Refusal("the sealing secret must have at least 32 bytes", target="sealing_secret")
        plain = secret.strip()
        self._ciphers = [_cipher(each) for each in dict.fromkeys((secret, plain, plain + b"\n", plain + b"\r\n"))]
        """The first seals. What opens with the others was sealed with the same secret when it came another way: an
        environment brings the end of its line along, and a file does not."""

    def seal(self, value: bytes, purpose: str) -> bytes:
        """`value` sealed; it opens only for the same `purpose` (for instance the row it belongs to)."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, value, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The value that was sealed. Raises `WrongSeal`."""
        for cipher in self._ciphers:
            with suppress(InvalidTag):
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
        raise WrongSeal(
            "a stored secret does not open with the configured sealing secret: give the one that this database was"
            " begun with"
        )


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=b"landline sealing v1").derive(secret))
