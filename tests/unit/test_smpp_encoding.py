"""Numbers as SMPP addresses and back."""

import pytest

from landline.engines.smpp.encoding import number_of


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
