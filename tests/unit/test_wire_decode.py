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
