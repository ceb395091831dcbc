"""The trouter core: the server's session and the client back to back, time stepped by hand; and packets in bodies."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.protocols.trouter import packets
from landline.protocols.trouter.client import Client, Connected, Draining, Ended, Pushed
from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.packets import Kind, Packet
from landline.protocols.trouter.requests import pushed
from landline.protocols.trouter.session import HEARTBEAT_S, SILENCE_S, Answered, Left, PeerLost, Session, Told

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


class Pair:
    """Both sides of a connection on which nothing is lost."""

    def __init__(self) -> None:
        self.now = 0.0
        self.server = Session(self.now, ttl_s=3600)
        self.client = Client(self.now)

    def exchange(self) -> tuple[list[object], list[object]]:
        """Carry packets until both are silent; what the server and what the client made of them."""
        server: list[object] = []
        client: list[object] = []
        while out := (self.server.outgoing(), self.client.outgoing()):
            if out == ([], []):
                break
            client += [self.client.receive(text, self.now) for text in out[0]]
            server += [self.server.receive(text, self.now) for text in out[1]]
        return [each for each in server if each], [each for each in client if each]


def test_a_client_is_greeted() -> None:
    assert Pair().exchange() == ([], [Connected()])


def test_what_a_client_says_of_itself_is_acknowledged() -> None:
    session = Session(0, ttl_s=1)
    session.outgoing()
    said = '5:1+::{"name":"user.activity","args":[{"state":"active","cv":"x.2"}]}'
    assert session.receive(said, 1) == Told("user.activity")
    assert session.receive('5:2+::{"name":"ping"}', 1) == Told("ping")
    assert session.receive('5:3::{"name":"plain"}', 1) == Told("plain")
    assert session.receive('5:::{"name":"silent"}', 1) == Told("silent")
    assert session.outgoing() == ["6:::1+[]", '6:::2+["pong"]', "6:::3"]


def test_a_notification_is_brought_and_answered() -> None:
    pair = Pair()
    pair.exchange()
    packet = pushed(7, "/v4/f/chat/chatMessageReceived", '{"a":"b"}').decode()
    assert pair.client.receive(packet, 0) == Pushed("chatMessageReceived", '{"a":"b"}')
    assert pair.exchange() == ([Answered(7, 200)], [])


def test_a_client_that_pings_stays_for_a_day() -> None:
    pair = Pair()
    pair.exchange()
    while pair.now < 86_400:
        pair.now = min(pair.server.deadline(), pair.client.deadline())
        assert pair.server.expire(pair.now) is None
        assert pair.client.expire(pair.now) is None
        assert Ended() not in pair.exchange()[1]


def test_a_client_that_says_nothing_is_given_up_after_two_heartbeats() -> None:
    session = Session(0, ttl_s=1)
    session.outgoing()
    assert session.deadline() == HEARTBEAT_S
    assert session.expire(HEARTBEAT_S) is None
    assert session.outgoing() == ["2::"]
    assert session.expire(SILENCE_S) == PeerLost(SILENCE_S)


def test_a_server_that_does_not_answer_pings_is_given_up() -> None:
    client = Client(0)
    assert client.expire(client.deadline()) is None
    assert client.expire(client.deadline()) == Ended()


def test_a_server_that_stops_asks_for_another_connection_first() -> None:
    pair = Pair()
    pair.exchange()
    pair.server.reconnect()
    assert pair.exchange() == ([], [Draining()])
    pair.server.end()
    assert pair.exchange() == ([], [Ended()])


def test_a_client_that_leaves_is_heard_no_more() -> None:
    pair = Pair()
    pair.exchange()
    pair.client.active()
    pair.client.leave()
    assert pair.exchange() == ([Told("user.activity"), Left()], [])
    assert pair.server.receive('5:9+::{"name":"ping"}', 1) is None
    assert pair.server.outgoing() == []


DEEP = f'{{"":{"[" * 20_000}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9::",
        "5",
        "5:1+",
        "5:x::{}",
        "5:1::{",
        "5:1::[]",
        '5:1::{"name":1}',
        "3:::{}",
        f"5:1::{DEEP}",
        f"3:::{DEEP}",
    ],
)
def test_what_is_no_packet_is_an_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Session(0, ttl_s=1).receive(text, 0)


@given(st.text(max_size=40))
def test_no_text_breaks_a_session(text: str) -> None:
    session = Session(0, ttl_s=1)
    try:
        session.receive(text, 0)
    except RemoteProtocolError:
        return
    assert all(packets.read(each) for each in session.outgoing())


@given(
    st.builds(
        Packet,
        st.sampled_from(list(Kind)),
        st.integers(0, 10**9).map(str),
        st.booleans(),
        st.just(""),
        TEXT,
    )
)
def test_a_packet_is_read_as_it_was_written(packet: Packet) -> None:
    assert packets.read(packets.written(packet)) == packet


@given(st.lists(TEXT.filter(lambda text: text and not text.startswith("\ufffd")), min_size=1, max_size=9))
def test_the_packets_of_a_body_are_found_again(several: list[str]) -> None:
    assert packets.split(packets.body(several)) == several


def test_lengths_in_a_body_count_utf16_units() -> None:
    assert packets.body(["a😀", "b"]) == "\ufffd3\ufffda😀\ufffd1\ufffdb"


@pytest.mark.parametrize("text", ["\ufffd", "\ufffd5\ufffdabc", "\ufffd1\ufffdab", "\ufffdx\ufffda", "\ufffd²\ufffda"])
def test_a_body_with_wrong_lengths_is_an_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        packets.split(text)


def test_a_notification_is_json_in_a_message_packet() -> None:
    packet = packets.read(pushed(3, "/v4/f/chat/x", '{"topic":"é"}').decode())
    assert packet.kind is Kind.MESSAGE
    request = json.loads(packet.data)
    assert (request["id"], request["method"], json.loads(request["body"])) == (3, "POST", {"topic": "é"})
