"""SMPP PDUs: values to octets and back, tolerant reading, strict writing, cutting frames."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from landline.protocols.smpp import pdu
from landline.protocols.smpp.commands import RESPONSE, Command, Tag
from landline.protocols.smpp.errors import LocalProtocolError, MalformedPdu, RemoteProtocolError
from landline.protocols.smpp.framing import Framer
from landline.protocols.smpp.pdu import ShortMessage

# A submit_sm written out by hand from SMPP 3.4 §4.4.1.
BY_HAND = bytes.fromhex(
    "00000036 00000004 00000000 00000007"
    "00 0101 313535353000 0101 3135353531 00 00 00 00 00 00 01 00 00 00 05 68656c6c6f"
    "0204 0002 00ff"
)

_octet = st.integers(0, 255)
_tlvs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple)


def _text(size: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=size - 1)


_LENGTHS = {
    "system_id": 65, "password": 65, "system_type": 13, "address_range": 41, "service_type": 6, "source_addr": 21,
    "destination_addr": 21, "esme_addr": 65, "schedule_delivery_time": 17, "validity_period": 17, "message_id": 65,
    "final_date": 17,
}  # fmt: skip


@st.composite
def _bodies(draw: st.DrawFn, shape: type[msgspec.Struct]) -> Any:
    fields: dict[str, Any] = {}
    for name in shape.__struct_fields__:
        if name == "tlvs":
            fields[name] = draw(_tlvs)
        elif name == "short_message":
            fields[name] = draw(st.binary(max_size=254))
        elif name in _LENGTHS:
            fields[name] = draw(_text(_LENGTHS[name]))
        else:
            fields[name] = draw(_octet)
    return shape(**fields)


COMMANDS = [
    (Command.BIND_TRANSCEIVER, pdu.Bind),
    (Command.BIND_RECEIVER | RESPONSE, pdu.BindAnswer),
    (Command.OUTBIND, pdu.Outbind),
    (Command.SUBMIT_SM, ShortMessage),
    (Command.DELIVER_SM, ShortMessage),
    (Command.SUBMIT_SM | RESPONSE, pdu.MessageAnswer),
    (Command.DATA_SM, pdu.DataSm),
    (Command.QUERY_SM, pdu.QuerySm),
    (Command.QUERY_SM | RESPONSE, pdu.QueryAnswer),
    (Command.CANCEL_SM, pdu.CancelSm),
    (Command.REPLACE_SM, pdu.ReplaceSm),
    (Command.ALERT_NOTIFICATION, pdu.AlertNotification),
]


@given(message=_bodies(ShortMessage))
def test_a_body_without_its_tlvs_says_all_else(message: ShortMessage) -> None:
    assert pdu.without_tlvs(pdu.encode_body(message)) == pdu.encode_body(replace(message, tlvs=()))


@pytest.mark.parametrize(("command", "shape"), COMMANDS)
@given(data=st.data())
def test_every_pdu_comes_back_as_it_was_written(command: int, shape: type[msgspec.Struct], data: st.DataObject) -> None:
    body = data.draw(_bodies(shape))
    frame = pdu.encode(command, body, 7, 3)
    assert int.from_bytes(frame[:4], "big") == len(frame)
    assert pdu.decode(frame) == body


def test_a_submit_sm_has_the_octets_of_the_specification() -> None:
    message = ShortMessage(
        source_addr_ton=1, source_addr_npi=1, source_addr="15550", dest_addr_ton=1, dest_addr_npi=1,
        destination_addr="15551", registered_delivery=1, short_message=b"hello",
        tlvs=((Tag.USER_MESSAGE_REFERENCE, b"\x00\xff"),),
    )  # fmt: skip
    assert pdu.encode(Command.SUBMIT_SM, message, 7) == BY_HAND
    assert pdu.decode(BY_HAND) == message


def test_an_unknown_tlv_is_kept_as_octets() -> None:
    frame = pdu.encode(Command.DELIVER_SM, ShortMessage(tlvs=((0x1501, b"vendor"),)), 1)
    body = pdu.decode(frame)
    assert isinstance(body, ShortMessage)
    assert pdu.tlv(body.tlvs, 0x1501) == b"vendor"


def test_a_tlv_that_runs_over_the_end_is_left_out() -> None:
    whole = pdu.encode(Command.DELIVER_SM, ShortMessage(tlvs=((5, b"ab"), (6, b"cdef"))), 1)
    cut = (len(whole) - 2).to_bytes(4, "big") + whole[4:-2]
    body = pdu.decode(cut)
    assert isinstance(body, ShortMessage)
    assert body.tlvs == ((5, b"ab"),)


REQUESTS = [(command, shape) for command, shape in COMMANDS if not command & RESPONSE]
FULL: dict[str, Any] = {"short_message": b"words", "tlvs": ()}


def full(shape: type[msgspec.Struct]) -> Any:
    """A body without an empty field, but for its optional parameters."""
    return shape(**{name: FULL.get(name, "x" if name in _LENGTHS else 1) for name in shape.__struct_fields__})


@pytest.mark.parametrize(("command", "shape"), REQUESTS)
def test_a_request_that_ends_within_its_mandatory_fields_is_malformed(
    command: int, shape: type[msgspec.Struct]
) -> None:
    whole = pdu.encode(command, full(shape), 7)
    assert pdu.decode(whole) == full(shape)
    for size in range(16, len(whole)):
        with pytest.raises(MalformedPdu) as raised:
            pdu.decode(whole[:size])
        # ESME_RINVMSGLEN where it is the short_message that is cut off in the messages themselves
        in_text = command in (Command.SUBMIT_SM, Command.DELIVER_SM) and size >= len(whole) - len(b"words")
        assert raised.value.status == (0x01 if in_text else 0x02)


@pytest.mark.parametrize(("command", "shape"), [each for each in COMMANDS if each not in REQUESTS])
def test_a_response_may_lack_any_of_its_fields(command: int, shape: type[msgspec.Struct]) -> None:
    whole = pdu.encode(command, full(shape), 7)
    for size in range(16, len(whole)):
        got = pdu.decode(whole[:size])
        assert got in (
            shape(),
            full(shape),
            pdu.QueryAnswer("x"),
            pdu.QueryAnswer("x", "x"),
            pdu.QueryAnswer("x", "x", 1),
        )
    assert pdu.decode(whole[:16]) == shape()


@pytest.mark.parametrize(
    ("octets", "message_id"),
    [
        (b"", ""),
        (b"\0", ""),
        (b"7", "7"),
        (b"7\0", "7"),
        (b"7\0x", "7"),
        (b"y" * 64 + b"\0", "y" * 64),
        (b"y" * 300, "y" * 255),
    ],
)
def test_a_message_id_is_read_with_its_nul_or_without_it(octets: bytes, message_id: str) -> None:
    assert pdu.message_id(pdu.HEADER.pack(16 + len(octets), 0x80000004, 0, 1) + octets) == message_id


@pytest.mark.parametrize(
    ("command", "shape", "name"),
    [(command, shape, name) for command, shape in COMMANDS for name in shape.__struct_fields__ if name != "tlvs"],
)
def test_each_field_is_written_up_to_its_size_and_no_longer(
    command: int, shape: type[msgspec.Struct], name: str
) -> None:
    if name in _LENGTHS:  # the octet more is its NUL
        fits: list[Any] = ["", "x" * (_LENGTHS[name] - 1)]
        not_: list[Any] = ["x" * _LENGTHS[name], "a\0b", "Ω"]
    elif name == "short_message":
        fits, not_ = [b"", b"x" * 254], [b"x" * 255]  # §5.2.22
    else:
        fits, not_ = [0, 255], [-1, 256]
    for value in fits:
        body: Any = shape(**{name: value})
        assert pdu.decode(pdu.encode(command, body, 1)) == body
    for value in not_:
        with pytest.raises(LocalProtocolError):
            pdu.encode(command, shape(**{name: value}), 1)  # type: ignore[arg-type]


def test_a_tlv_has_65535_octets_at_most() -> None:
    fits = ShortMessage(tlvs=((1, b"x" * 65535),))
    assert pdu.decode(pdu.encode(Command.SUBMIT_SM, fits, 1)) == fits
    with pytest.raises(LocalProtocolError):
        pdu.encode(Command.SUBMIT_SM, ShortMessage(tlvs=((1, b"x" * 65536),)), 1)


@given(cuts=st.lists(st.integers(1, 60), max_size=30))
def test_frames_are_cut_wherever_the_octets_are_split(cuts: list[int]) -> None:
    stream = b"".join(pdu.encode(Command.DELIVER_SM, ShortMessage(short_message=b"x" * n), n) for n in range(12))
    framer = Framer()
    frames: list[bytes] = []
    for size in [*cuts, len(stream)]:
        frames += framer.receive(stream[:size])
        stream = stream[size:]
    assert [int.from_bytes(frame[12:16], "big") for frame in frames] == list(range(12))


@pytest.mark.parametrize("length", [0, 15, 70_001, 0xFFFFFFFF])
def test_a_length_no_pdu_can_have_ends_the_stream_after_what_came_before(length: int) -> None:
    framer = Framer()
    good = pdu.encode(Command.ENQUIRE_LINK, None, 1)
    assert framer.receive(good + length.to_bytes(4, "big")) == [good]
    with pytest.raises(RemoteProtocolError):
        framer.receive(b"")
