"""How a request's body becomes a wire shape, or is refused."""

import msgspec
import pytest

from landline.core.errors import Invalid
from landline.wire import sms
from landline.wire.base import Wire, decode


class Nested(Wire):
    below: "Nested | None" = None


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
