"""The PDUs of SMPP 3.4 (§4) as values, and their octets. Values are msgspec Structs: those are built fastest.

submit_sm and deliver_sm, the bulk of all traffic, have their own codec; the others share one driven by a table. Reading
is tolerant (fields over their length, missing optional parts, unknown TLVs), writing is strict.
"""

from collections.abc import Callable
from struct import Struct as Layout

from msgspec import Struct

from landline.protocols.smpp.commands import INTERFACE_VERSION, RESPONSE, BindKind, Command
from landline.protocols.smpp.errors import LocalProtocolError, MalformedPdu
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES

Tlvs = tuple[tuple[int, bytes], ...]
"""Optional parameters in the order they stand: (tag, value)."""

SHORT_MESSAGE_LIMIT = 254  # §5.2.22
_INVALID_LENGTH = 0x00000002  # ESME_RINVCMDLEN
_INVALID_STREAM = 0x000000C0  # ESME_RINVOPTPARSTREAM

_tlv_head = Layout(">HH")
ID_LIMIT = 255
_ID_END = HEADER_BYTES + ID_LIMIT


class Bind(Struct, frozen=True):
    """bind_transmitter, bind_receiver, bind_transceiver (§4.1)."""

    system_id: str = ""
    password: str = ""
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""


class BindAnswer(Struct, frozen=True):
    """bind_*_resp (§4.1.2)."""

    system_id: str = ""
    tlvs: Tlvs = ()


class Outbind(Struct, frozen=True):
    """outbind (§4.1.7)."""

    system_id: str = ""
    password: str = ""


class ShortMessage(Struct, frozen=True):
    """submit_sm and deliver_sm (§4.4.1, §4.6.1): the same fields."""

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: Tlvs = ()


class MessageAnswer(Struct, frozen=True):
    """submit_sm_resp, deliver_sm_resp, data_sm_resp (§4.4.2, §4.6.2, §4.7.2)."""

    message_id: str = ""
    tlvs: Tlvs = ()


class DataSm(Struct, frozen=True):
    """data_sm (§4.7.1)."""

    service_type: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0
    tlvs: Tlvs = ()

    def as_short_message(self) -> ShortMessage:
        """The submit_sm or deliver_sm that says the same; its text stays in the message_payload TLV."""
        return ShortMessage(
            service_type=self.service_type,
            source_addr_ton=self.source_addr_ton,
            source_addr_npi=self.source_addr_npi,
            source_addr=self.source_addr,
            dest_addr_ton=self.dest_addr_ton,
            dest_addr_npi=self.dest_addr_npi,
            destination_addr=self.destination_addr,
            esm_class=self.esm_class,
            registered_delivery=self.registered_delivery,
            data_coding=self.data_coding,
            tlvs=self.tlvs,
        )


class QuerySm(Struct, frozen=True):
    """query_sm (§4.8.1)."""

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""


class QueryAnswer(Struct, frozen=True):
    """query_sm_resp (§4.8.2)."""

    message_id: str = ""
    final_date: str = ""
    message_state: int = 0
    error_code: int = 0


class CancelSm(Struct, frozen=True):
    """cancel_sm (§4.9.1)."""

    service_type: str = ""
    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: str = ""


class ReplaceSm(Struct, frozen=True):
    """replace_sm (§4.10.1)."""

    message_id: str = ""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""


class AlertNotification(Struct, frozen=True):
    """alert_notification (§4.12.1)."""

    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: str = ""
    esme_addr_ton: int = 0
    esme_addr_npi: int = 0
    esme_addr: str = ""
    tlvs: Tlvs = ()


Body = (
    Bind
    | BindAnswer
    | Outbind
    | ShortMessage
    | MessageAnswer
    | DataSm
    | QuerySm
    | QueryAnswer
    | CancelSm
    | ReplaceSm
    | AlertNotification
)

_LENGTHS: dict[str, int] = {
    "system_id": 65,
    "password": 65,
    "system_type": 13,
    "address_range": 41,
    "service_type": 6,
    "source_addr": 21,
    "destination_addr": 21,
    "esme_addr": 65,
    "schedule_delivery_time": 17,
    "validity_period": 17,
    "message_id": 65,
    "final_date": 17,
}
"""The most octets of each C-octet string with its NUL (§4); data_sm's longer addresses are not made use of. System ids
and passwords are longer than §4.1 has them where their SMSC gave them so."""

_BODIES: dict[int, type[Body]] = {
    **{kind.value: Bind for kind in BindKind},
    **{kind.value | RESPONSE: BindAnswer for kind in BindKind},
    Command.OUTBIND: Outbind,
    Command.SUBMIT_SM: ShortMessage,
    Command.DELIVER_SM: ShortMessage,
    Command.SUBMIT_SM | RESPONSE: MessageAnswer,
    Command.DELIVER_SM | RESPONSE: MessageAnswer,
    Command.DATA_SM: DataSm,
    Command.DATA_SM | RESPONSE: MessageAnswer,
    Command.QUERY_SM: QuerySm,
    Command.QUERY_SM | RESPONSE: QueryAnswer,
    Command.CANCEL_SM: CancelSm,
    Command.REPLACE_SM: ReplaceSm,
    Command.ALERT_NOTIFICATION: AlertNotification,
}
"""The body of each command that has one; the others are a header alone."""


def encode(command: int, body: Body | None, sequence: int, status: int = 0) -> bytes:
    """A whole PDU. Raises `LocalProtocolError` when a field does not fit."""
    octets = b"" if body is None else encode_body(body)
    return HEADER.pack(HEADER_BYTES + len(octets), command, status, sequence) + octets


def encode_body(body: Body) -> bytes:
    """`body` without the header. Raises `LocalProtocolError` when a field does not fit."""
    if isinstance(body, ShortMessage):
        return SubmitTemplate(body).body(body.destination_addr, body.short_message, body.tlvs)
    pieces: list[bytes] = []
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if isinstance(value, str):
            pieces.append(c_octets(value, _LENGTHS[name]))
        elif isinstance(value, int):
            pieces.append(_octet(value))
        elif isinstance(value, bytes):
            pieces.append(_sized(value))
        else:
            pieces.append(encode_tlvs(value))
    return b"".join(pieces)


def decode(frame: bytes, *, strict: bool = False) -> Body | None:
    """The body of a whole PDU, None for one that is a header alone or unknown. Raises `MalformedPdu`; with `strict`
    also for TLVs that are cut off.

    A response is never malformed: what it lacks is empty (an error's response often has no body at all).
    """
    _, command, _, _ = HEADER.unpack_from(frame)
    if command in (Command.SUBMIT_SM, Command.DELIVER_SM):
        return decode_message(frame, strict=strict)
    shape = _BODIES.get(command)
    if shape is None:
        return None
    return _Reader(frame, lenient=bool(command & RESPONSE), strict=strict).read(shape)


def decode_message(frame: bytes, *, strict: bool = False) -> ShortMessage:
    """The body of a submit_sm or deliver_sm. Raises `MalformedPdu`; with `strict` also for TLVs that are cut off."""
    try:
        end = frame.index(0, 16)
        service = frame[16:end]
        position = end + 3
        end = frame.index(0, position)
        source_ton, source_npi, source = frame[position - 2], frame[position - 1], frame[position:end]
        position = end + 3
        end = frame.index(0, position)
        ton, npi, destination = frame[position - 2], frame[position - 1], frame[position:end]
        esm_class, protocol_id, priority = frame[end + 1 : end + 4]
        position = end + 4
        end = frame.index(0, position)
        schedule = frame[position:end]
        position = end + 1
        end = frame.index(0, position)
        validity = frame[position:end]
        registered, replace, coding, default_id, length = frame[end + 1 : end + 6]
    except (ValueError, IndexError):
        raise MalformedPdu("the PDU ends within its mandatory fields", _INVALID_LENGTH) from None
    position = end + 6
    end = position + length
    if end > len(frame):
        raise MalformedPdu("the short message runs over the PDU's end", 0x00000001)  # ESME_RINVMSGLEN
    return ShortMessage(
        service.decode("latin-1") if service else "",
        source_ton,
        source_npi,
        source.decode("latin-1"),
        ton,
        npi,
        destination.decode("latin-1"),
        esm_class,
        protocol_id,
        priority,
        schedule.decode("latin-1") if schedule else "",
        validity.decode("latin-1") if validity else "",
        registered,
        replace,
        coding,
        default_id,
        frame[position:end],
        decode_tlvs(frame, end, strict=strict) if end < len(frame) else (),
    )


def without_tlvs(body: bytes) -> bytes:
    """The body of a submit_sm or deliver_sm that we encoded, up to its optional parameters."""
    end = body.index(0)
    for skipped in (3, 3, 4, 1):  # to both addresses and both times
        end = body.index(0, end + skipped)
    return body[: end + 6 + body[end + 5]]


def message_id(frame: bytes) -> str:
    """The message_id of a submit_sm_resp, deliver_sm_resp or data_sm_resp; empty when there is none. It has 64 octets
    (§5.2.23), at most `ID_LIMIT` of a peer that does not keep to that."""
    end = frame.find(0, 16, _ID_END)
    return (frame[16:_ID_END] if end < 0 else frame[16:end]).decode("latin-1")


def tlv(tlvs: Tlvs, tag: int) -> bytes | None:
    """The value of the first TLV with that tag."""
    for found, value in tlvs:
        if found == tag:
            return value
    return None


def encode_tlvs(tlvs: Tlvs) -> bytes:
    """Raises `LocalProtocolError` when a value is over 65,535 octets."""
    pieces: list[bytes] = []
    for tag, value in tlvs:
        if len(value) > 0xFFFF:
            raise LocalProtocolError(f"a TLV of {len(value)} octets")
        pieces.append(_tlv_head.pack(tag, len(value)) + value)
    return b"".join(pieces)


def decode_tlvs(frame: bytes, position: int, *, strict: bool = False) -> Tlvs:
    """The TLVs from `position` to the end. One that runs over the end is left out, as is what cannot be one; with
    `strict` it raises `MalformedPdu`, but for octets of padding."""
    found: list[tuple[int, bytes]] = []
    size = len(frame)
    while position + 4 <= size:
        tag, length = _tlv_head.unpack_from(frame, position)
        position += 4
        if position + length > size:
            if strict:
                raise MalformedPdu("a TLV runs over the PDU's end", _INVALID_STREAM)
            break
        found.append((tag, frame[position : position + length]))
        position += length
    if strict and any(frame[position:]):
        raise MalformedPdu("what follows the TLVs is none", _INVALID_STREAM)
    return tuple(found)


def c_octets(text: str, size: int) -> bytes:
    """`text` with its NUL. Raises `LocalProtocolError` when that is over `size` octets or has a NUL inside."""
    try:
        octets = text.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError("a C-octet string holds only octets") from None
    if len(octets) >= size or 0 in octets:
        raise LocalProtocolError(f"a C-octet string of {len(octets)} octets where {size - 1} fit, or with a NUL inside")
    return octets + b"\0"


def _octet(value: int) -> bytes:
    if not 0 <= value <= 255:
        raise LocalProtocolError(f"{value} does not fit one octet")
    return bytes((value,))


def _sized(value: bytes) -> bytes:
    if len(value) > SHORT_MESSAGE_LIMIT:
        raise LocalProtocolError(f"a short message of {len(value)} octets, over {SHORT_MESSAGE_LIMIT}")
    return bytes((len(value),)) + value


class SubmitTemplate:
    """A submit_sm (or deliver_sm) of which only destination, text and TLVs change: what stays is encoded once."""

    __slots__ = ("_head", "_middle")

    def __init__(self, message: ShortMessage) -> None:
        try:
            self._head = (
                c_octets(message.service_type, 6)
                + bytes((message.source_addr_ton, message.source_addr_npi))
                + c_octets(message.source_addr, 21)
                + bytes((message.dest_addr_ton, message.dest_addr_npi))
            )
            self._middle = (
                bytes((0, message.esm_class, message.protocol_id, message.priority_flag))
                + c_octets(message.schedule_delivery_time, 17)
                + c_octets(message.validity_period, 17)
                + bytes((message.registered_delivery, message.replace_if_present_flag))
                + bytes((message.data_coding, message.sm_default_msg_id))
            )
        except ValueError:
            raise LocalProtocolError("a field does not fit one octet") from None

    def body(self, destination: str, short_message: bytes, tlvs: Tlvs = ()) -> bytes:
        """The whole body. Raises `LocalProtocolError` when something does not fit."""
        size = len(short_message)
        if len(destination) > 20 or "\0" in destination or not destination.isascii() or size > SHORT_MESSAGE_LIMIT:
            raise LocalProtocolError(f"a destination of {len(destination)} or a text of {size} octets does not fit")
        body = b"%b%b%b%c%b" % (self._head, destination.encode(), self._middle, size, short_message)
        return body + encode_tlvs(tlvs) if tlvs else body


class _Reader:
    """Reads a body field by field; `lenient` makes what is missing empty."""

    def __init__(self, frame: bytes, *, lenient: bool, strict: bool) -> None:
        self._frame = frame
        self._position = HEADER_BYTES
        self._lenient = lenient
        self._strict = strict

    def read(self, shape: type[Body]) -> Body:
        readers: dict[object, Callable[[], object]] = {str: self._text, int: self._octet, bytes: self._sized}
        kinds = _KINDS[shape]
        return shape(*[readers.get(kind, self._tlvs)() for kind in kinds])  # type: ignore[arg-type] # by the shape's own table

    def _text(self) -> str:
        end = self._frame.find(0, self._position)
        if end < 0:
            self._short()
            end = len(self._frame)
        text = self._frame[self._position : end].decode("latin-1")
        self._position = end + 1
        return text

    def _octet(self) -> int:
        if self._position >= len(self._frame):
            self._short()
            return 0
        self._position += 1
        return self._frame[self._position - 1]

    def _sized(self) -> bytes:
        size = self._octet()
        value = self._frame[self._position : self._position + size]
        if len(value) < size:
            self._short()
        self._position += size
        return value

    def _tlvs(self) -> Tlvs:
        return decode_tlvs(self._frame, self._position, strict=self._strict)

    def _short(self) -> None:
        if not self._lenient:
            raise MalformedPdu("the PDU ends within its mandatory fields", _INVALID_LENGTH)


_KINDS: dict[type[Body], tuple[object, ...]] = {
    shape: tuple(shape.__annotations__.values()) for shape in set(_BODIES.values())
}

REFUSAL_BODIES: dict[int, bytes] = {
    Command.DELIVER_SM: encode_body(MessageAnswer()),
    Command.DATA_SM: encode_body(MessageAnswer()),
    Command.QUERY_SM: encode_body(QueryAnswer()),
}
"""What a response with an error has for a body, by its request. Only the bodies of bind_*_resp and submit_sm_resp are
left out then (§4.1.2, §4.4.2): some read another response without its fields as octets that are no SMPP."""
