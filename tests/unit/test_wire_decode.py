"""How a request's body becomes a wire shape, or is refused."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from landline.core.errors import Invalid
from landline.wire import sms
from landline.wire.base import Wire, decode


class Nested(Wire):
    below: "Nested | None" = None


class Limited(Wire):
    text: Annotated[str, Meta(min_length=2, max_length=10)] | None = None
    listed: Annotated[list[int], Meta(max_length=2)] | None = None


@pytest.mark.parametrize("field", ["below", "unknown"])
@pytest.mark.parametrize("body", [b'{"%s":' * 100_000, b'{"%s":' * 100_000 + b"{}" + b"}" * 100_000])
def test_a_body_that_nests_too_deeply_is_refused(field: str, body: bytes) -> None:
    with pytest.raises(Invalid, match="deep") as refusal:
        decode(body.replace(b"%s", field.encode()), msgspec.json.Decoder(Nested))
    assert refusal.value.target == "body"


def test_a_body_of_nested_lists_is_refused() -> None:
    with pytest.raises(Invalid, match="deep"):
        decode(b'{"unknown":' + b"[" * 100_000, msgspec.json.Decoder(Nested))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "from"),
        (b'{"from": "x", "message": "m", "smsRecipients": [{"to": "+1"}, {}]}', "smsRecipients[1].to"),
        (
            b'{"from": "x", "message": "m", "smsRecipients": [{"to": "+1"}], "smsSendOptions": {}}',
            "smsSendOptions.enableDeliveryReport",
        ),
    ],
)
def test_a_field_that_is_missing_is_what_the_refusal_names(body: bytes, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(body, msgspec.json.Decoder(sms.SendMessageRequest))
    name = field.rpartition(".")[2]
    assert refusal.value.errors == {field: [f"The {name} field is required."]}
    assert refusal.value.target == field


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b'{"text": "' + b"x" * 11 + b'"}', "text", "Must have at most 10 characters."),
        (b'{"text": "x"}', "text", "Must have at least 2 characters."),
        (b'{"listed": [1, 2, 3]}', "listed", "Must have at most 2 entries."),
    ],
)
def test_lengths_are_said_in_words(body: bytes, field: str, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(body, msgspec.json.Decoder(Limited))
    assert (refusal.value.target, refusal.value.message) == (field, said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "The request has no body."),
        (b" \r\n", "The request has no body."),
        (b"\xef\xbb\xbf", "The request has no body."),
        (
            rb'{"text": "\ud83d"}',
            "The request body holds half a character: a surrogate in a \\u escape without the other.",
        ),
        (rb'{"text": "\ud83d\ud83d\ude00"}', "The request body holds half a character: a surrogate in a \\u escape"),
        (rb'{"text": "\ude00 and on"}', "The request body holds half a character: a surrogate in a \\u escape"),
        (rb'{"text": "\\\ud83dx"}', "The request body holds half a character: a surrogate in a \\u escape"),
        (b'{"text": "caf\xe9 noir"}', "The request body is not UTF-8 (byte 13), as JSON is."),
        ('{"text": "hello"}'.encode("utf-16"), "The request body is not UTF-8 (byte 0), as JSON is."),
        (rb'{"text": "\\ud83d", }', "The request body is not valid JSON: "),
        (rb'{"text": "\ud83d\ude00 ", }', "The request body is not valid JSON: "),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body: bytes, said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(body, msgspec.json.Decoder(Limited))
    assert refusal.value.target == "body"
    assert refusal.value.message.startswith(said)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode(b'\xef\xbb\xbf{"text": "hello"}', msgspec.json.Decoder(Limited)) == Limited("hello")
    with pytest.raises(Invalid) as refusal:
        decode(b'\xef\xbb\xbf{"text": "x"}', msgspec.json.Decoder(Limited))
    assert refusal.value.target == "text"


@pytest.mark.parametrize("count", [2, 100_000])
def test_not_one_after_another(count: int) -> None:
    with pytest.raises(Invalid, match="not valid JSON"):
        decode(b"\xef\xbb\xbf" * count + b'{"text": "hello"}', msgspec.json.Decoder(Limited))


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert decode(rb'{"text": "\ud83d\ude00\\ud83d"}', msgspec.json.Decoder(Limited)) == Limited("😀\\ud83d")
