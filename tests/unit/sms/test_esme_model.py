"""SMPP customers as values: passwords, ids, addresses, and how long who guesses wrong must wait."""

from datetime import UTC, datetime, timedelta
from os import urandom
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.core.ids import ResourceId, time_ordered
from landline.protocols.smpp import times
from landline.services.sms.model import esme
from landline.services.sms.model.esme import EsmeAccount
from landline.services.sms.model.guesses import Guesses

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def account(*, addresses: tuple[str, ...] = (), **fields: Any) -> EsmeAccount:
    given: dict[str, Any] = {
        "system_id": "customer", "binds": 5, "window": 100, "rate_per_s": None, "texts": (), **fields,
    }  # fmt: skip
    return EsmeAccount(ResourceId(uuid4()), generation=1, enabled=True, addresses=addresses, receipts=True,
                       created_at=AT, **given)  # fmt: skip


@given(st.binary(min_size=16, max_size=16))
def test_a_password_fits_a_bind(entropy: bytes) -> None:
    password = esme.password(entropy)
    assert len(password) == 8
    assert set(password) <= set(esme.LETTERS)


def test_passwords_differ() -> None:
    assert len({esme.password(number.to_bytes(16, "big")) for number in range(5000)}) == 5000


def test_a_customers_message_is_known_by_its_id() -> None:
    first, second = esme.new_ids(AT, 1, bytes(10)) + esme.new_ids(AT + timedelta(milliseconds=1), 1, bytes(10))
    assert esme.is_customers(first)
    assert first.version == 8
    assert first < second
    assert not esme.is_customers(time_ordered(AT, bytes(range(10))))
    assert not esme.is_customers(uuid4())
    many = esme.new_ids(AT, 100, urandom(1000))
    assert many == sorted(set(many))


@pytest.mark.parametrize(
    ("addresses", "address", "admitted"),
    [
        ((), "203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.113.9", True),
        (("203.0.113.0/24",), "::ffff:203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.114.9", False),
        (("203.0.113.9", "2001:db8::/32"), "2001:db8::1", True),
        (("203.0.113.9",), "", False),
        (("::ffff:203.0.113.9",), "203.0.113.9", True),
        (("::ffff:203.0.113.9",), "::ffff:203.0.113.9", True),
        (("::ffff:203.0.113.0/120",), "203.0.113.9", True),
        (("::ffff:203.0.113.0/120",), "203.0.114.9", False),
        (("::ffff:0:0/96",), "203.0.113.9", True),
        (("::ffff:0:0/96",), "2001:db8::1", False),
    ],
)
def test_addresses_are_admitted_by_network(addresses: tuple[str, ...], address: str, admitted: bool) -> None:
    assert account(addresses=addresses).admits(address) is admitted


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"system_id": ""}, "systemId"),
        ({"system_id": "sixteen-letters-"}, "systemId"),
        ({"system_id": "grüße"}, "systemId"),
        ({"binds": 0}, "binds"),
        ({"window": 1001}, "window"),
        ({"rate_per_s": 0.0}, "ratePerS"),
        ({"rate_per_s": float("nan")}, "ratePerS"),
        ({"texts": ("*",) * 1001}, "texts"),
    ],
)
def test_an_account_that_cannot_be_is_refused(fields: dict[str, Any], target: str) -> None:
    with pytest.raises(Invalid) as refused:
        esme.checked(account(**fields))
    assert refused.value.target == target


@pytest.mark.parametrize(
    "fields",
    [
        {"binds": 1, "window": 1, "rate_per_s": 0.5},
        {"binds": esme.BINDS_MOST, "window": esme.WINDOW_MOST, "rate_per_s": esme.RATE_MOST},
        {"texts": ("+18005550100",) * esme.LIST_MOST},
    ],
)
def test_the_least_and_the_most_that_an_account_may_have(fields: dict[str, Any]) -> None:
    made = account(**fields)
    assert esme.checked(made) == made


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid):
        esme.checked(account(addresses=("10.0.0.1/24",)))


def test_who_guesses_wrong_must_wait_the_longer_the_oftener() -> None:
    guesses = Guesses()
    now, waits = 0.0, []
    for _ in range(14):
        guesses.wrong("customer", "203.0.113.9", now)
        began = now
        while guesses.blocked("customer", "203.0.113.9", now):
            now += 0.5
        waits.append(now - began)
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert not guesses.blocked("customer", "203.0.113.10", now - 60)
    guesses.wrong("customer", "203.0.113.9", now)
    guesses.forgive("customer")
    assert not guesses.blocked("customer", "203.0.113.9", now)


def test_an_address_is_counted_over_all_system_ids_and_v6_by_its_network() -> None:
    guesses = Guesses()
    for number in range(20):
        guesses.wrong(f"guess{number}", f"2001:db8::{number + 1:x}", 0.0)
    assert guesses.blocked("another", "2001:db8::ffff", 0.5)
    assert not guesses.blocked("another", "2001:db8:0:1::1", 0.5)


def test_a_customer_behind_the_address_of_one_who_goes_on_guessing_wrong_may_bind() -> None:
    """As behind a proxy, or one NAT."""
    guesses = Guesses()
    guesses.right("customer", "203.0.113.9")
    for number in range(40):
        guesses.wrong(f"guess{number}", "203.0.113.9", 0.0)
    assert not guesses.blocked("customer", "203.0.113.9", 0.5)
    assert guesses.blocked("another", "203.0.113.9", 0.5)
    for _ in range(40):
        guesses.wrong("customer", "203.0.113.9", 0.5)
    assert guesses.blocked("customer", "203.0.113.9", 1.0)


def test_a_customer_who_goes_on_with_a_former_password_locks_nobody_out() -> None:
    guesses = Guesses()
    guesses.right("customer", "203.0.113.9")
    for _ in range(40):
        guesses.wrong("customer", "203.0.113.9", 0.0)
    assert not guesses.blocked("another", "203.0.113.9", 0.5)


def test_who_must_wait_does_not_wait_for_as_long_as_the_clock_is_set_back() -> None:
    guesses = Guesses()
    for _ in range(14):
        guesses.wrong("customer", "203.0.113.9", 7200.0)
    assert guesses.blocked("customer", "203.0.113.9", 7200.0)
    assert guesses.blocked("customer", "203.0.113.9", 7259.0)
    assert not guesses.blocked("customer", "203.0.113.9", 3600.0)


def test_strangers_cannot_lock_a_customer_out() -> None:
    """Also not one who has not bound since the process began."""
    guesses = Guesses()
    for number in range(200):
        for _ in range(20):
            guesses.wrong("customer", f"198.51.100.{number}", 0.0)
    assert guesses.blocked("customer", "198.51.100.7", 0.5)
    assert not guesses.blocked("customer", "203.0.113.9", 0.5)


def test_what_is_remembered_of_guesses_is_bounded() -> None:
    guesses = Guesses(limit=100)
    for number in range(1000):
        guesses.wrong(f"guess{number}", f"203.0.113.{number}", 0.0)
        guesses.right(f"customer{number}", "203.0.113.9")
    assert max(len(counts) for counts in (*guesses._counts.values(), guesses._known)) == 100


@pytest.mark.parametrize(
    ("time", "meant"),
    [
        ("261120123000000+", AT + timedelta(minutes=30)),
        ("261120130000004+", AT),
        ("261120110000004-", AT),
        ("261120120000500+", AT + timedelta(milliseconds=500)),
        ("000001020304000R", AT + timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("261320120000000+", None),
        ("261120120000049+", None),
        ("261120120000000", None),
        ("", None),
    ],
)
def test_smpps_times_are_read(time: str, meant: datetime | None) -> None:
    assert times.read(time, AT) == meant


def test_smpps_times_are_written() -> None:
    at = AT + timedelta(milliseconds=700)
    assert times.write(at) == "261120120000700+"
    assert times.read(times.write(at), AT) == at
