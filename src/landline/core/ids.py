"""Identifiers all slices share: time-ordered uuids, and the raw ids by which ACS names people, phones and bots."""

import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import NewType
from uuid import UUID

from asyncpg.pgproto import pgproto  # pyright: ignore[reportMissingTypeStubs]

ResourceId = NewType("ResourceId", UUID)
ResourceNamed = Callable[[str], Awaitable[ResourceId]]
"""Finds a resource by its name. Raises `NotFound`."""
RawId = NewType("RawId", str)
"""`8:acs:<resource>_<user>` a user, `4:+1555…` a phone, `28:…` a bot (acs-wire.md 5.3)."""


_RANDOM = (1 << 80) - 1 & ~(0xF << 76) & ~(0x3 << 62)
_VERSION_7 = (0x7 << 76) | (0x2 << 62)


def time_ordered(at: datetime, entropy: bytes) -> UUID:
    """The UUIDv7 of instant `at` and 10 bytes of `entropy` (RFC 9562 §5.7): ids made later sort later."""
    assert len(entropy) == 10, "a UUIDv7 has 74 bits beside its time"
    return made((int(at.timestamp() * 1000) << 80) | (int.from_bytes(entropy, "big") & _RANDOM) | _VERSION_7)


def many_time_ordered(at: datetime, entropy: bytes) -> list[UUID]:
    """A `time_ordered` id for every 10 bytes of `entropy`."""
    return [pgproto.UUID(_milliseconds(at) + bits) for bits in _stamped(entropy)]


def new_time_ordered(at: datetime, count: int) -> list[UUID]:
    """`count` new `time_ordered` ids. What they take of the kernel's randomness was fetched for hundreds at once: a
    call for each message alone costs several times what else its id does."""
    milliseconds = _milliseconds(at)
    return [pgproto.UUID(milliseconds + bits) for bits in islice(_fetched, count)]


def _milliseconds(at: datetime) -> bytes:
    return int(at.timestamp() * 1000).to_bytes(6, "big")


def _stamped(entropy: bytes) -> list[bytes]:
    """Every 10 bytes of `entropy` as a UUIDv7 has them behind its time."""
    random = bytearray(entropy)
    random[::10] = random[::10].translate(_VERSIONS)
    random[2::10] = random[2::10].translate(_VARIANTS)
    bits = bytes(random)
    return [bits[start : start + 10] for start in range(0, len(bits), 10)]


def _fetch() -> list[bytes]:
    return _stamped(os.urandom(5120))


_fetched: Iterator[bytes] = chain.from_iterable(iter(_fetch, None))
"""Told to nobody twice, whatever threads ask. Processes are executed, not forked (docs/design/processes.md): what one
has fetched no other has."""
_VERSIONS = bytes(byte & 0x0F | 0x70 for byte in range(256))
_VARIANTS = bytes(byte & 0x3F | 0x80 for byte in range(256))


def made(value: int) -> UUID:
    """The UUID of 128 bits. It is the database driver's own, as are all that come from the database: written in C, it
    is made, compared and sent to the database several times faster than Python's, of which it is a kind."""
    return pgproto.UUID(value.to_bytes(16, "big"))


def parse(text: str) -> UUID:
    """The UUID that `text` is, in whatever form. Raises `ValueError`."""
    try:
        return pgproto.UUID(text)
    except ValueError:
        return made(UUID(text).int)  # in braces, or as a URN


def user_raw_id(resource: UUID, user: UUID) -> RawId:
    """The raw id of a communication user; neither guid may hold an underscore (acs-wire.md 5.3)."""
    return RawId(f"8:acs:{resource}_{user}")


def split_user_raw_id(raw_id: str) -> tuple[UUID, UUID] | None:
    """(resource, user) of a communication user's raw id, or None when `raw_id` is not one."""
    if not raw_id.startswith("8:acs:"):
        return None
    resource, separator, user = raw_id.removeprefix("8:acs:").partition("_")
    if not separator or len(resource) != 36 or len(user) != 36:
        return None
    try:
        return UUID(resource), UUID(user)
    except ValueError:
        return None
