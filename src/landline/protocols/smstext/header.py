"""The user data header in front of a text's part (3GPP TS 23.040 §9.2.3.24), above all its concatenation element."""

from dataclasses import dataclass

_CONCATENATION_8BIT = 0x00  # §9.2.3.24.1
_CONCATENATION_16BIT = 0x08  # §9.2.3.24.8
_PORT_8BIT = 0x04  # §9.2.3.24.3
_PORT_16BIT = 0x05  # §9.2.3.24.4
_SINGLE_SHIFT = 0x24  # §9.2.3.24.15
_LOCKING_SHIFT = 0x25  # §9.2.3.24.16


class MalformedHeader(Exception):
    """The peer sent user data whose header runs over its end."""


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Which part of which text this is: parts with the same `reference` from one sender belong together."""

    reference: int
    total: int
    sequence: int
    """1 to `total`."""
    wide: bool = False
    """Whether the reference has 16 bits; 8- and 16-bit references are never compared."""

    def header(self) -> bytes:
        """The whole user data header (length octet and element) to put in front of the part."""
        assert 1 <= self.sequence <= self.total <= 255
        if self.wide:
            reference = self.reference.to_bytes(2, "big")
            return bytes((6, _CONCATENATION_16BIT, 4)) + reference + bytes((self.total, self.sequence))
        assert 0 <= self.reference <= 255
        return bytes((5, _CONCATENATION_8BIT, 3, self.reference, self.total, self.sequence))


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed user data header."""

    concatenation: Concatenation | None
    elements: tuple[tuple[int, bytes], ...]
    """All information elements, (identifier, data), in the order they came."""
    size_bytes: int
    """With its length octet: where the text begins."""
    locking: int = 0
    """Whose national language's table the text is in; 0 for none."""
    single: int = 0
    """Likewise, for what an escape stands before."""
    port: int = 0
    """Of the application on the phone that this is for; 0 for none."""


def parse_header(user_data: bytes) -> Header:
    """The header that `user_data` begins with (the UDH indicator was set). Raises `MalformedHeader`."""
    if not user_data or len(user_data) < user_data[0] + 1:
        raise MalformedHeader("the user data ends within its header")
    size = user_data[0] + 1
    elements: list[tuple[int, bytes]] = []
    position = 1
    while position < size:
        if position + 2 > size or position + 2 + user_data[position + 1] > size:
            raise MalformedHeader("an information element runs over the header's end")
        end = position + 2 + user_data[position + 1]
        elements.append((user_data[position], user_data[position + 2 : end]))
        position = end
    languages = {identifier: data[0] for identifier, data in elements if len(data) == 1}  # the last counts
    locking, single = languages.get(_LOCKING_SHIFT, 0), languages.get(_SINGLE_SHIFT, 0)
    return Header(_concatenation(elements), tuple(elements), size, locking, single, _port(elements))


def _concatenation(elements: list[tuple[int, bytes]]) -> Concatenation | None:
    found: Concatenation | None = None
    for identifier, data in elements:  # of an element that must not repeat, the last counts (§9.2.3.24)
        wide = identifier == _CONCATENATION_16BIT
        if (not wide and identifier != _CONCATENATION_8BIT) or len(data) != (4 if wide else 3):
            continue
        total, sequence = data[-2], data[-1]
        if 1 <= sequence <= total:  # otherwise the element is to be ignored (§9.2.3.24.1)
            found = Concatenation(int.from_bytes(data[:-2], "big"), total, sequence, wide)
    return found


def _port(elements: list[tuple[int, bytes]]) -> int:
    sizes = {_PORT_8BIT: 1, _PORT_16BIT: 2}  # of a port: the destination's, then the originator's
    ports = [data[: len(data) // 2] for identifier, data in elements if len(data) == 2 * sizes.get(identifier, 0) > 0]
    return int.from_bytes(ports[-1], "big") if ports else 0
