"""The messages of the load: each to a number of its own, so that each can be found again at either end."""

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from bench.load import Signing, Target
from tests.support.signed import SMS_VERSION, http_date

TEXT = "Your parcel is out for delivery and comes between 2 and 4 pm."
SENDER = "+18005550100"
NUMBERS = 8_000_000
"""How many different numbers there are."""
_STEP = 3_141_593
"""Prime, so that it goes through all of them, and wide, so that they are not in sequence."""
_SIGNED_AGAIN_AFTER = 1000


def number(index: int) -> str:
    """The number that message `index` goes to, without its `+`."""
    return f"1425{2_000_000 + index * _STEP % NUMBERS}"


def numbers(first: int, count: int) -> list[str]:
    """The numbers of `count` messages."""
    return [number(index) for index in range(first, first + count)]


def landline(target: Target, sender: str, first: int, requests: int, recipients: int) -> Iterator[bytes]:
    """Requests of `recipients` messages each, signed, with repeatability ids as the official SDKs send them."""
    path = f"/sms?api-version={SMS_VERSION}"
    signing, date = Signing(target, "POST", path), http_date()
    for request in range(requests):
        if request % _SIGNED_AGAIN_AFTER == 0:  # a signature is good for five minutes only
            signing, date = Signing(target, "POST", path), http_date()
        begin = first + request * recipients
        to = ",".join(_recipient(index, date) for index in range(begin, begin + recipients))
        options = '{"enableDeliveryReport":true,"tag":"bench"}'
        body = f'{{"from":"{sender}","smsRecipients":[{to}],"message":"{TEXT}","smsSendOptions":{options}}}'
        yield signing.request(body.encode())


def _recipient(index: int, date: str) -> str:
    identifier = f"{index * _STEP & 0xFFFFFFFF:08x}-0000-4000-8000-{index:012x}"
    return f'{{"to":"+{number(index)}","repeatabilityRequestId":"{identifier}","repeatabilityFirstSent":"{date}"}}'


def kannel(target: Target, report_url: str, first: int, requests: int, recipients: int) -> Iterator[bytes]:
    """Requests to Kannel's `sendsms`, several recipients in one `to`; `target.key` is `user:password`.

    Final reports only (`dlr-mask` 1 delivered, 2 not), because Landline reports nothing else either.
    """
    user, _, password = target.key.partition(":")
    fixed = urlencode({"username": user, "password": password, "from": SENDER, "text": TEXT, "dlr-mask": 3})
    reported = quote(f"{report_url}?to=%p&type=%d", safe="")
    host = f"{target.host}:{target.port}"
    for request in range(requests):
        begin = first + request * recipients
        to = "+".join(f"%2B{number(index)}" for index in range(begin, begin + recipients))
        line = f"GET /cgi-bin/sendsms?{fixed}&dlr-url={reported}&to={to} HTTP/1.1\r\n"
        yield f"{line}host: {host}\r\n\r\n".encode()
