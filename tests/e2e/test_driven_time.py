"""A day passes in a moment: the whole retry ladder of a webhook, and the life of a token."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.sms import SmsClient

from landline.testing import Server

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"


def test_a_webhook_down_for_a_day_is_tried_all_day_then_left_as_a_dead_letter_that_can_be_replayed(
    landline_server: Callable[..., Server],
) -> None:
    server = landline_server()
    inbox = server.inbox()
    inbox.fail(times=100)
    client = SmsClient.from_connection_string(server.connection_string)
    client.send(server.phone_number, "+14255550123", "Anybody?", enable_delivery_report=True)

    server.clock.advance(days=1, minutes=30)  # which fails when it takes more than minutes
    assert 10 <= inbox.tries <= 30

    [dead] = server.admin.call("GET", "/resources/local/deadletters")["value"]
    assert (dead["eventType"], dead["attempts"]) == (REPORT, inbox.tries)
    inbox.recover()
    server.admin.call("POST", "/resources/local/deadletters:replay", {"ids": [dead["id"]]})
    assert inbox.wait_for(REPORT).data["to"] == "+14255550123"
    assert server.admin.call("GET", "/resources/local/deadletters")["value"] == []


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_an_answer_that_no_retry_can_mend_is_not_retried(landline: Server, status: int) -> None:
    sender, number = f"+1800557{status:04d}", f"+1206557{status:04d}"
    landline.admin.call("POST", "/resources/local/numbers", {"number": sender})
    # Other tests' messages, by other senders, end while a day passes and are told of.
    inbox = landline.inbox(subjectBeginsWith=f"/phonenumber/{sender.removeprefix('+')}")
    inbox.fail(times=100, status=status)
    client = SmsClient.from_connection_string(landline.connection_string)
    client.send(sender, number, "Anybody?", enable_delivery_report=True)
    landline.clock.advance(hours=25)
    assert inbox.tries == 1
    inbox.close()
    landline.admin.call("DELETE", f"/resources/local/numbers/{sender}")


def test_a_tokens_life_passes_with_the_clock(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    client = CommunicationIdentityClient.from_connection_string(server.connection_string)
    user, first = client.create_user_and_token(["chat"])
    server.clock.advance(days=1)
    later = client.get_token(user, ["chat"])
    assert later.token != first.token


def test_a_server_that_is_started_again_goes_on_in_the_time_it_had_been_driven_to(
    landline_server: Callable[..., Server],
) -> None:
    server = landline_server()
    inbox = server.inbox()
    inbox.fail(times=1)
    reached = server.clock.advance(days=10)
    client = SmsClient.from_connection_string(server.connection_string)
    client.send(server.phone_number, "+14255550123", "Before the crash", enable_delivery_report=True)
    server.kill()
    server.restart()
    assert server.clock.now() >= reached
    assert [each["to"] for each in server.admin.call("GET", "/resources/local/messages")["value"]] == ["+14255550123"]
    server.clock.advance(hours=1)
    assert inbox.wait_for(REPORT).data["to"] == "+14255550123"

    server.stop()
    server.restart()
    assert server.clock.now() - reached >= timedelta(hours=1)
