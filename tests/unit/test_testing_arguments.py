"""What a test gives `landline.testing` by mistake is refused where it was given, by the name of the argument."""

from collections.abc import Callable, Generator
from datetime import date
from typing import Any, cast

import pytest

from landline.testing import Admin, Handset, Inbox, Server
from landline.testing.insights import insights
from landline.testing.smsc import Smsc

NOBODY = Admin("http://127.0.0.1:1", "token")
"""An admin API that is not asked anything: it would not answer."""


@pytest.fixture(scope="module")
def inbox() -> Generator[Any]:
    found = Inbox()
    yield found
    found.close()


@pytest.mark.parametrize("status", [200, 204, 299, 100, 600, 0, -1])
def test_an_inbox_fails_with_a_status_that_is_a_failure(inbox: Any, status: int) -> None:
    with pytest.raises(ValueError, match="status is one that a failing webhook answers, from 300 to 599"):
        inbox.fail(status=status)


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda inbox: inbox.fail(status="503"), TypeError, "status is a whole number, not '503'"),
        (lambda inbox: inbox.fail(-1), ValueError, "times is 0 or more, not -1"),
        (lambda inbox: inbox.fail(None), TypeError, "times is a whole number, not None"),
        (lambda inbox: inbox.fail(1.5), TypeError, "times is a whole number"),
        (lambda inbox: inbox.wait_for("x", timeout=None), TypeError, "timeout is a number of seconds, not None"),
        (lambda inbox: inbox.wait_for("x", timeout="5"), TypeError, "timeout is a number of seconds, not '5'"),
        (lambda inbox: inbox.wait_for("x", timeout=float("nan")), ValueError, "timeout is a number of seconds"),
        (lambda inbox: inbox.wait_for("x", where={"n": 1}, timeout=0), TypeError, "where is a function"),
        (lambda inbox: inbox.wait_for_all("x", -1), ValueError, "count is 0 or more"),
        (lambda inbox: inbox.wait_for_all("x", None), TypeError, "count is a whole number"),
        (lambda inbox: inbox.wait_for(None, timeout=0), TypeError, "event_type is a str such as 'Microsoft"),
    ],
)
def test_what_an_inbox_is_told_wrongly(
    inbox: Any, ask: Callable[[Any], Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        ask(inbox)


@pytest.mark.parametrize(
    ("number", "error"), [(None, TypeError), (14255550123, TypeError), (b"+14255550123", TypeError), ("", ValueError)]
)
def test_a_handset_has_a_number(number: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"number is .* such as '\+14255550123'"):
        Handset(NOBODY, number, home="+18005550100")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"env": {"LANDLINE_LOG_EVERY": 1}}, "env: LANDLINE_LOG_EVERY is a str, not 1"),
        ({"arguments": "--no-tls"}, "arguments is a list of str, not '--no-tls'"),
        ({"arguments": ["--port", 1]}, "arguments is a list of str"),
        ({"port": "8443"}, "port is a whole number, not '8443'"),
        ({"port": None}, "port is a whole number, not None"),
    ],
)
def test_what_a_server_is_told_wrongly(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Server(**options)


def test_insights_since_an_instant() -> None:
    for since in ("yesterday", date(2026, 3, 1)):
        with pytest.raises(TypeError, match="since is a datetime, not "):
            insights(NOBODY, "local", since=cast(Any, since))
    with pytest.raises(TypeError, match="by is a list of str"):
        insights(NOBODY, "local", cast(Any, 5))


def test_a_phone_texts_an_account_that_there_is() -> None:
    with pytest.raises(LookupError, match="no account has bound: wait until one has, or give its system_id"):
        Smsc().text("+14255550123", "+18005550100", "hello")
    with pytest.raises(LookupError, match="there is no account yours: there are mine, ours"):
        Smsc({"mine": "secret", "ours": "secret"}).text("+14255550123", "+18005550100", "hello", system_id="yours")
