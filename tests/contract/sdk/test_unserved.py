"""The SDK clients of services not served yet: each is told so, in ACS's error shape, and does not retry."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from azure.communication.callautomation import CallAutomationClient, PhoneNumberIdentifier
from azure.communication.chat import ChatClient, CommunicationTokenCredential
from azure.communication.email import EmailClient
from azure.communication.jobrouter import JobRouterAdministrationClient, JobRouterClient
from azure.communication.messages import MessageTemplateClient, NotificationMessagesClient
from azure.communication.messages.models import TextNotificationContent
from azure.core.exceptions import HttpResponseError
from tests.contract.sdk.conftest import closed

from landline.testing import Server

GUID = "11111111-2222-4333-8444-555555555555"
EMAIL: Any = {
    "senderAddress": "a@example.org",
    "recipients": {"to": [{"address": "b@example.org"}]},
    "content": {"subject": "s", "plainText": "p"},
}


def whatsapp(client: Any) -> None:
    client.send(TextNotificationContent(channel_registration_id=GUID, to=["+14255550123"], content="x"))


OPERATIONS: list[tuple[Any, Callable[[Any], Any]]] = [
    (CallAutomationClient, lambda client: client.answer_call("context", "https://example.org/callback")),
    (
        CallAutomationClient,
        lambda client: client.create_call(PhoneNumberIdentifier("+14255550123"), "https://example.org/callback"),
    ),
    (CallAutomationClient, lambda client: client.get_call_connection(GUID).hang_up(is_for_everyone=True)),
    (EmailClient, lambda client: client.begin_send(EMAIL)),
    (NotificationMessagesClient, whatsapp),
    (MessageTemplateClient, lambda client: list(client.list_templates(GUID))),
    (JobRouterClient, lambda client: client.get_job("a-job")),
    (JobRouterAdministrationClient, lambda client: list(client.list_queues())),
]


def assert_not_served(refused: HttpResponseError) -> None:
    assert refused.status_code == 501, refused
    response: Any = refused.response
    text = response.text  # a method in azure-core's older transport types, a property in the newer
    body = json.loads(cast("str", text() if callable(text) else text))
    assert body["error"]["code"] == "NotImplemented"
    assert body["error"]["message"]
    assert response.headers["x-ms-error-code"] == body["error"]["code"]


@pytest.mark.parametrize(
    ("client_class", "operation"), OPERATIONS, ids=[f"{one[0].__name__}-{at}" for at, one in enumerate(OPERATIONS)]
)
async def test_an_operation_not_served_is_answered_501(
    landline: Server, client_class: Any, operation: Callable[[Any], Any]
) -> None:
    client = client_class.from_connection_string(landline.connection_string)
    with pytest.raises(HttpResponseError) as refused:
        operation(client)
    assert_not_served(refused.value)
    await closed(client)


def test_chat_with_a_token_of_nobody_is_answered_401(landline: Server) -> None:
    forged = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDAsInNreXBlaWQiOiJhY3M6YV9iIn0."
    with ChatClient(landline.endpoint, CommunicationTokenCredential(forged)) as client:
        with pytest.raises(HttpResponseError) as refused:
            list(client.list_chat_threads())
        assert refused.value.status_code == 401
