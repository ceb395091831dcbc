"""User access tokens as JWTs (RFC 7519) signed with ES256 (RFC 7518 §3.4), written and read without a JWT library: one
fixed header per key means there is nothing for an attacker to choose, and saves half the time."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from landline.services.identity.model import Claims

_ALGORITHM = ec.ECDSA(SHA256())
_HALF = 32  # bytes of each of r and s
_TOKEN_LIMIT = 4096
_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(Claims)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One of the deployment's signing keys. `header` is the first part of every token it signs."""

    kid: str
    private: ec.EllipticCurvePrivateKey = field(repr=False)
    public: ec.EllipticCurvePublicKey = field(repr=False)
    header: str
    retire_at: datetime | None


def new_key() -> bytes:
    """A new private key for P-256, as PKCS #8."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def key(kid: str, der: bytes, retire_at: datetime | None) -> TokenKey:
    """The stored key `der`, ready to sign."""
    private = load_der_private_key(der, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    header = _base64url(_encode({"alg": "ES256", "kid": kid, "typ": "JWT"}))
    return TokenKey(kid, private, private.public_key(), header, retire_at)


def written(claims: Claims, key: TokenKey) -> str:
    """`claims` as a token signed with `key`."""
    signed = f"{key.header}.{_base64url(_encode(claims))}"
    r, s = decode_dss_signature(key.private.sign(signed.encode(), _ALGORITHM))
    return f"{signed}.{_base64url(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


def header(token: str) -> str:
    """The part of `token` that names its key."""
    return token[:_TOKEN_LIMIT].partition(".")[0]


def read(token: str, keys: Mapping[str, TokenKey]) -> Claims | None:
    """The claims of `token` when one of `keys` (by `header`) signed exactly this text; None otherwise."""
    parts = token.split(".")
    if len(token) > _TOKEN_LIMIT or len(parts) != 3 or parts[0] not in keys:
        return None
    signature = _bytes(parts[2])
    payload = _bytes(parts[1])
    if signature is None or payload is None or len(signature) != 2 * _HALF:
        return None
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    try:
        keys[parts[0]].public.verify(encode_dss_signature(r, s), f"{parts[0]}.{parts[1]}".encode(), _ALGORITHM)
        return _claims.decode(payload)
    except (InvalidSignature, msgspec.DecodeError):
        return None


def jwks(keys: Iterable[TokenKey]) -> dict[str, Any]:
    """The public keys as a JWK set (RFC 7517)."""
    return {"keys": [_jwk(key) for key in keys]}


def _jwk(key: TokenKey) -> dict[str, str]:
    numbers = key.public.public_numbers()
    x, y = (_base64url(number.to_bytes(_HALF, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.kid, "x": x, "y": y}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(part: str) -> bytes | None:
    """What `part` encodes, or None when it is not base64url, or not the one way to write it (RFC 4648 §3.5)."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _base64url(data) == part else None
