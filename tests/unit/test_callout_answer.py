"""What an endpoint says over and over is not parsed again, and means the same each time."""

from landline.engines.callout_answer import AnswerReader
from landline.ports.callout import Answer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TAKEN = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


def read(reader: AnswerReader, *pieces: bytes, limit_bytes: int = 1024) -> tuple[bool, bool, Answer]:
    """Whether the answer is whole, whether its connection stays, and what it says."""
    reader.begin(limit_bytes)
    whole = [reader.receive(piece) for piece in pieces][-1]
    return whole, reader.reusable, reader.answer()


def test_the_same_answer_again_is_the_same_whatever_comes_between() -> None:
    reader = AnswerReader()
    ok = (True, True, Answer(200, {"content-length": "2"}, b"ok"))
    for _ in range(3):
        assert read(reader, OK) == ok
        assert read(reader, OK) == ok
        assert read(reader, TAKEN) == (True, True, Answer(202, {"content-length": "0"}, b""))
        assert read(reader, OK[:30], OK[30:]) == ok


def test_the_same_answer_is_cut_where_less_of_it_is_wanted() -> None:
    reader = AnswerReader()
    assert read(reader, OK)[2].body == b"ok"
    assert read(reader, OK, limit_bytes=1)[2].body == b"o"
    assert read(reader, OK)[2].body == b"ok"


def test_the_same_and_more_ends_the_connection_and_so_does_one_that_says_so() -> None:
    for last in (OK + OK[:20], LAST):
        reader = AnswerReader()
        assert read(reader, OK)[1]
        assert not read(reader, last)[1]
