"""The server's half of WebSockets against the client's half of `websockets`: handshake, frames, broken rules."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from landline.protocols.websocket import frames
from landline.protocols.websocket.handshake import NotOpened, accepted
from landline.protocols.websocket.reader import Ended, Event, Pinged, Reader

LARGEST = 70_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def client() -> ClientProtocol:
    """A client that has been let in."""
    made = ClientProtocol(parse_uri("ws://here/"))
    request = made.connect()
    made.send_request(request)
    made.data_to_send()
    made.receive_data(accepted("GET", {name.lower(): value for name, value in request.headers.raw_items()}))
    assert made.handshake_exc is None
    made.events_received()
    return made


def said(say: Callable[[ClientProtocol], None]) -> bytes:
    made = client()
    say(made)
    return b"".join(made.data_to_send())


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def read(data: bytes, largest: int = LARGEST) -> list[Event]:
    return Reader(largest).receive(data)


@given(st.lists(TEXT), st.lists(st.integers(1, 20), max_size=60))
def test_texts_come_out_as_they_went_in_however_they_are_cut(texts: list[str], cuts: list[int]) -> None:
    def say(made: ClientProtocol) -> None:
        for text in texts:
            half = len(text) // 2
            made.send_text(text[:half].encode(), fin=False)
            made.send_ping(b"?")
            made.send_continuation(text[half:].encode(), fin=True)

    data, reader, found = said(say), Reader(LARGEST), list[Event]()
    for cut in cuts:
        found += reader.receive(data[:cut])
        data = data[cut:]
    found += reader.receive(data)
    assert [each for each in found if isinstance(each, str)] == texts
    assert [each for each in found if isinstance(each, Pinged)] == [Pinged(b"?")] * len(texts)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_are_read_by_both_sides(length: int) -> None:
    payload = b"x" * length
    made = client()
    made.receive_data(frames.text_frame(payload) + frames.pong_frame(b"!"))
    (first, second) = made.events_received()
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.opcode, bytes(first.data), second.opcode) == (Opcode.TEXT, payload, Opcode.PONG)
    assert read(said(lambda made: made.send_text(payload))) == [payload.decode()]
    assert frames.payload_of(frames.text_frame(payload)) == payload


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, 1005])
def test_a_close_is_understood_by_both_sides(code: int) -> None:
    given = None if code == 1005 else code
    assert read(said(lambda made: made.send_close(given))) == [Ended(code)]
    made = client()
    made.receive_data(frames.close_frame(code))
    assert made.close_rcvd is not None
    assert made.close_rcvd.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, b"x", mask=False), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (frame(Opcode.CONT, b"x"), 1002),
        (frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.TEXT, b"y"), 1002),
        (b"\x83\x80", 1002),
        (b"\x8b\x80", 1002),
        (b"\x09\x80", 1002),
        (b"\x89\xfe", 1002),
        (b"\x88\x81\0\0\0\0x", 1002),
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        (b"\x88\x82\0\0\0\0\x07\xd0", 1002),
        (frame(Opcode.BINARY, b"x"), 1003),
        (frame(Opcode.TEXT, b"\xff"), 1007),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
        (frame(Opcode.TEXT, b"x" * LARGEST, fin=False) + frame(Opcode.CONT, b"x", fin=False), 1009),
    ],
    ids=map(str, range(32)),  # pytest would name them by their bytes, and their masks are random
)
def test_who_breaks_the_rules_is_told_which(data: bytes, code: int) -> None:
    reader = Reader(LARGEST)
    assert reader.receive(frame(Opcode.TEXT, b"before") + data + frame(Opcode.TEXT, b"after"))[0] == "before"
    assert read(data + frame(Opcode.TEXT, b"after")) == [Ended(code)]
    assert reader.receive(frame(Opcode.TEXT, b"after")) == []


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    events = read(data)
    assert all(isinstance(each, str | Pinged | Ended) for each in events)
    assert not any(isinstance(each, Ended) for each in events[:-1])


def test_what_asks_for_no_socket_opens_none() -> None:
    good = {
        "upgrade": "WebSocket",
        "connection": "x, upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in accepted("GET", good), "RFC 6455 §1.3"
    for changes in ({"upgrade": "h2c"}, {"connection": "close"}, {"sec-websocket-version": "8"}):
        with pytest.raises(NotOpened):
            accepted("GET", good | changes)
    with pytest.raises(NotOpened):
        accepted("POST", good)
