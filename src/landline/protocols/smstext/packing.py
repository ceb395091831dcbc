"""Septets packed into octets, least significant bit first (3GPP TS 23.038 §6.1.2.1)."""


def pack(septets: bytes, *, fill_bits: int = 0) -> bytes:
    """`septets` (one in each octet) packed behind `fill_bits` zero bits (`fill_bits_after` a header)."""
    value = 0
    shift = fill_bits
    for septet in septets:
        value |= (septet & 0x7F) << shift
        shift += 7
    return value.to_bytes((shift + 7) // 8, "little")


def unpack(octets: bytes, count: int, *, fill_bits: int = 0) -> bytes:
    """The first `count` septets packed in `octets` after `fill_bits`, one in each octet; fewer when `octets` end."""
    value = int.from_bytes(octets, "little") >> fill_bits
    count = min(count, max(len(octets) * 8 - fill_bits, 0) // 7)
    return bytes((value >> (7 * index)) & 0x7F for index in range(count))


def fill_bits_after(header_octets: int) -> int:
    """The bits between a header of that many octets and the next septet boundary (3GPP TS 23.040 §9.2.3.24)."""
    return -header_octets * 8 % 7
