"""Numbers outlive the server: what was searched before a SIGKILL is polled, bought and used after it."""

from collections.abc import Callable
from typing import Any

from azure.communication.phonenumbers import PhoneNumberCapabilities, PhoneNumbersClient
from tests.support.signed import Raw

from landline.testing import Server


def test_a_search_is_polled_and_bought_after_a_crash(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    client: Any = PhoneNumbersClient.from_connection_string(server.connection_string)
    capabilities = PhoneNumberCapabilities(calling="none", sms="inbound+outbound")
    wanted = ("US", "tollFree", "application", capabilities)
    poller = client.begin_search_available_phone_numbers(*wanted)
    poller.wait()  # its thread talks to the server
    token = poller.continuation_token()
    server.kill()
    server.restart()
    found = client.begin_search_available_phone_numbers(*wanted, continuation_token=token).result()
    poller = client.begin_purchase_phone_numbers(found.search_id)
    poller.wait()
    token = poller.continuation_token()
    server.kill()
    server.restart()
    assert client.begin_purchase_phone_numbers("", continuation_token=token).result() is None
    client._phone_number_client.close()
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    assert raw.send_sms(found.phone_numbers[0], ["+14255550123"], "still mine").json()["value"][0]["successful"]
