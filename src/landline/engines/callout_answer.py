"""The answers that come over one connection of the callout engine, parsed and bounded (RFC 9112)."""

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from landline.ports.callout import Answer

HEADERS_LIMIT_BYTES = 65536
"""Of the headers and trailers of an answer; a field counts 32 bytes more than its letters."""
_REMAINDER_BYTES = 65536
"""An answer longer than asked for is read to its end when so little is left: cheaper than another connection."""
_INTERIM_LIMIT = 32
_SHORT_BYTES = 1024
"""What an endpoint says most often is not longer, and is remembered of each connection."""


class BadAnswer(Exception):
    """What came is no answer, or too much of one."""


class AnswerReader:
    """Reads one answer after the other: `begin`, then `receive` until it says that the answer is whole."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_full",
        "_headers",
        "_headers_bytes",
        "_headers_done",
        "_interim",
        "_limit",
        "_parser",
        "_received",
        "_said",
        "_status",
        "_usual",
        "_usual_answer",
        "_whole",
        "reusable",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # what other clients forgive too; nothing can follow an answer anyway
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.reusable = False
        """Whether, after a whole answer, the connection may carry another request."""
        self._usual = b""
        """The last short answer that came whole, in one piece, and left the connection as it was. The same again is not
        parsed again."""
        self._usual_answer: Answer | None = None
        self._said: Answer | None = None

    def begin(self, limit_bytes: int) -> None:
        """The next answer is awaited, its body to be cut at `limit_bytes`."""
        self._limit = limit_bytes
        self._received = self._interim = self._headers_bytes = self._body_bytes = self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._headers_done = self._full = self._whole = self.reusable = False
        self._said = None

    @property
    def silent(self) -> bool:
        """Whether nothing at all has come since `begin`."""
        return not self._received

    def receive(self, data: bytes) -> bool:
        """Whether the answer is whole, or as long as was asked for. Raises `BadAnswer`."""
        first = not self._received
        self._received += len(data)
        if first and data == self._usual and len(data) <= self._limit:
            self._whole = self.reusable = True
            self._said = self._usual_answer
            return True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.reusable = False
            if not self._whole:
                raise BadAnswer(_why(error)) from error
        if self._whole:
            if first and self.reusable and len(data) <= min(_SHORT_BYTES, self._limit):
                self._usual = data
                self._said = self._usual_answer = self.answer()
            return True
        if self._full and not self._worth_reading_on():
            return True
        if self._received > 2 * HEADERS_LIMIT_BYTES + 8 * self._limit:
            raise BadAnswer("the answer is too long")
        return False

    def end(self) -> bool:
        """Nothing more will come: whether the answer is good as it stands (RFC 9112 §6.3, §8)."""
        self.reusable = False
        return self._full or (self._headers_done and self._length() is None and not self._chunked())

    def answer(self) -> Answer:
        """What has come."""
        if self._said is not None:
            return self._said
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._headers}
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Answer(self._status, headers, body[: self._limit])

    def on_message_begin(self) -> None:
        if self._whole:
            self.reusable = False  # more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_bytes += len(name) + len(value) + 32
        if self._headers_bytes > HEADERS_LIMIT_BYTES:
            raise BadAnswer("the answer's headers are too long")
        if not self._headers_done:  # those after it are trailers
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._whole:
            raise BadAnswer("a second answer came")
        self._headers_done = True
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self._full and not self._whole:
            self._body.append(body)
            self._body_bytes += len(body)
            self._full = self._body_bytes >= self._limit

    def on_message_complete(self) -> None:
        if self._whole:
            return
        if self._status >= 200:
            self._whole = True
            self.reusable = self._parser.should_keep_alive()
            return
        self._interim += 1
        if self._status == 101 or self._interim > _INTERIM_LIMIT:
            raise BadAnswer("the answer does not come to its point")
        self._headers.clear()  # RFC 9110 §15.2: the answer is still to come
        self._headers_done = False

    def _worth_reading_on(self) -> bool:
        length = self._length()
        return length is not None and length <= self._limit + _REMAINDER_BYTES

    def _length(self) -> int | None:
        return next((int(value) for name, value in self._headers if name.lower() == b"content-length"), None)

    def _chunked(self) -> bool:
        return any(
            name.lower() == b"transfer-encoding" and b"chunked" in value.lower() for name, value in self._headers
        )


def _why(error: Exception) -> str:
    if isinstance(error, HttpParserCallbackError) and isinstance(error.__context__, BadAnswer):
        return str(error.__context__)
    return "the answer is not HTTP"  # what it was is nobody's business
