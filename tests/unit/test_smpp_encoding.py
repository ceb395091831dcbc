"""Numbers as SMPP addresses and back."""

from uuid import UUID

import pytest

from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.encoding import Encoder, number_of
from landline.ports.sms_carrier import Submission


@pytest.mark.parametrize(
    ("ton", "address", "number"),
    [
        (1, "14255550199", "+14255550199"),
        (1, "+14255550199", "+14255550199"),
        (1, "0014255550199", "+14255550199"),
        (1, "12345", "+12345"),
        (0, "14255550199", "+14255550199"),
        (0, "0014255550199", "+14255550199"),
        (0, "04255550199", "04255550199"),
        (0, "12345", "12345"),
        (0, "123456789", "123456789"),
        (0, "1234567890", "+1234567890"),
        (2, "4255550199", "4255550199"),
        (3, "12345", "12345"),
        (5, "BANK", "BANK"),
        (5, "0014255550199", "0014255550199"),
    ],
)
def test_an_address_of_a_deliver_sm_is_this_number(ton: int, address: str, number: str) -> None:
    assert number_of(ton, address) == number


def test_processes_do_not_begin_with_the_same_reference() -> None:
    long = Submission(UUID(int=1), "+18005550100", "+14255550199", "x" * 200, 2, True)
    config = SmppConfig("north", "127.0.0.1", 2775, "me", "secret")
    assert len({Encoder(config).bodies(long)[0] for _ in range(20)}) > 1
