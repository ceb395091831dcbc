"""Every operation of the official SDKs, in one table: what is answered 501 while not served, and the coverage
page, come from it. `tests/contract/sdk` compares it with the tables inside the installed SDKs."""

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of the public wire."""

    method: str
    template: str
    name: str
    """By the SDKs' own name for it (`operationId`)."""


SERVICES: dict[str, tuple[Operation, ...]] = {
    "Identity": (
        Operation("POST", "/identities", "communicationIdentityOperations_create"),
        Operation("DELETE", "/identities/{id}", "communicationIdentityOperations_delete"),
        Operation("POST", "/identities/{id}/:revokeAccessTokens", "communicationIdentityOperations_revokeAccessTokens"),
        Operation(
            "POST", "/teamsUser/:exchangeAccessToken", "communicationIdentityOperations_exchangeTeamsUserAccessToken"
        ),
        Operation("POST", "/identities/{id}/:issueAccessToken", "communicationIdentityOperations_issueAccessToken"),
        Operation("POST", "/access/entra/:exchangeAccessToken", "exchangeEntraAccessToken"),
        Operation("POST", "/access/teamsExtension/:exchangeAccessToken", "exchangeTeamsExtensionAccessToken"),
    ),
    "SMS": (
        Operation("POST", "/sms/optouts:add", "OptOuts_Add"),
        Operation("POST", "/sms/optouts:remove", "OptOuts_Remove"),
        Operation("POST", "/sms/optouts:check", "OptOuts_Check"),
        Operation("POST", "/sms", "Sms_Send"),
        Operation("GET", "/deliveryReports/{outgoingMessageId}", "DeliveryReports_Get"),
    ),
    "Phone numbers": (
        Operation("GET", "/availablePhoneNumbers/countries/{countryCode}/areaCodes", "phoneNumbers_listAreaCodes"),
        Operation("GET", "/availablePhoneNumbers/countries", "phoneNumbers_listAvailableCountries"),
        Operation(
            "POST", "/availablePhoneNumbers/countries/{countryCode}/:browse", "phoneNumbers_browseAvailableNumbers"
        ),
        Operation(
            "GET", "/availablePhoneNumbers/countries/{countryCode}/localities", "phoneNumbers_listAvailableLocalities"
        ),
        Operation("GET", "/availablePhoneNumbers/countries/{countryCode}/offerings", "phoneNumbers_listOfferings"),
        Operation("GET", "/availablePhoneNumbers/reservations", "phoneNumbers_listReservations"),
        Operation(
            "PATCH", "/availablePhoneNumbers/reservations/{reservationId}", "phoneNumbers_createOrUpdateReservation"
        ),
        Operation("GET", "/availablePhoneNumbers/reservations/{reservationId}", "phoneNumbers_getReservation"),
        Operation("DELETE", "/availablePhoneNumbers/reservations/{reservationId}", "phoneNumbers_deleteReservation"),
        Operation(
            "POST", "/availablePhoneNumbers/reservations/{reservationId}/:purchase", "phoneNumbers_purchaseReservation"
        ),
        Operation(
            "POST", "/availablePhoneNumbers/countries/{countryCode}/:search", "phoneNumbers_searchAvailablePhoneNumbers"
        ),
        Operation("GET", "/availablePhoneNumbers/searchResults/{searchId}", "phoneNumbers_getSearchResult"),
        Operation("POST", "/availablePhoneNumbers/:purchase", "phoneNumbers_purchasePhoneNumbers"),
        Operation("GET", "/phoneNumbers/operations/{operationId}", "phoneNumbers_getOperation"),
        Operation("DELETE", "/phoneNumbers/operations/{operationId}", "phoneNumbers_cancelOperation"),
        Operation("PATCH", "/phoneNumbers/{phoneNumber}/capabilities", "phoneNumbers_updateCapabilities"),
        Operation("GET", "/phoneNumbers/{phoneNumber}", "phoneNumbers_getByNumber"),
        Operation("DELETE", "/phoneNumbers/{phoneNumber}", "phoneNumbers_releasePhoneNumber"),
        Operation("GET", "/phoneNumbers", "phoneNumbers_listPhoneNumbers"),
        Operation("POST", "/operatorInformation/:search", "phoneNumbers_operatorInformationSearch"),
    ),
    "SIP routing": (
        Operation("GET", "/sip", "sipRouting_get"),
        Operation("PATCH", "/sip", "sipRouting_update"),
    ),
    "Chat": (
        Operation("POST", "/chat/threads", "chat_createChatThread"),
        Operation("GET", "/chat/threads", "chat_listChatThreads"),
        Operation("DELETE", "/chat/threads/{chatThreadId}", "chat_deleteChatThread"),
        Operation("GET", "/chat/threads/{chatThreadId}/readReceipts", "chatThread_listChatReadReceipts"),
        Operation("POST", "/chat/threads/{chatThreadId}/readReceipts", "chatThread_sendChatReadReceipt"),
        Operation("POST", "/chat/threads/{chatThreadId}/messages", "chatThread_sendChatMessage"),
        Operation("GET", "/chat/threads/{chatThreadId}/messages", "chatThread_listChatMessages"),
        Operation("GET", "/chat/threads/{chatThreadId}/messages/{chatMessageId}", "chatThread_getChatMessage"),
        Operation("PATCH", "/chat/threads/{chatThreadId}/messages/{chatMessageId}", "chatThread_updateChatMessage"),
        Operation("DELETE", "/chat/threads/{chatThreadId}/messages/{chatMessageId}", "chatThread_deleteChatMessage"),
        Operation("GET", "/chat/threads/{chatThreadId}/participants", "chatThread_listChatParticipants"),
        Operation("POST", "/chat/threads/{chatThreadId}/participants/:remove", "chatThread_removeChatParticipant"),
        Operation("POST", "/chat/threads/{chatThreadId}/participants/:add", "chatThread_addChatParticipants"),
        Operation("PATCH", "/chat/threads/{chatThreadId}", "chatThread_updateChatThreadProperties"),
        Operation("GET", "/chat/threads/{chatThreadId}", "chatThread_getChatThreadProperties"),
        Operation("POST", "/chat/threads/{chatThreadId}/typing", "chatThread_sendTypingNotification"),
        Operation("GET", "/chat/config/realTimeNotifications", "realTimeNotifications_getConfiguration"),
    ),
    "Rooms": (
        Operation("GET", "/rooms/{roomId}/participants", "participants_list"),
        Operation("PATCH", "/rooms/{roomId}/participants", "participants_update"),
        Operation("POST", "/rooms", "rooms_create"),
        Operation("GET", "/rooms", "rooms_list"),
        Operation("GET", "/rooms/{roomId}", "rooms_get"),
        Operation("PATCH", "/rooms/{roomId}", "rooms_update"),
        Operation("DELETE", "/rooms/{roomId}", "rooms_delete"),
    ),
    "Network traversal": (
        Operation(
            "POST",
            "/networkTraversal/:issueRelayConfiguration",
            "communicationNetworkTraversal_issueRelayConfiguration",
        ),
    ),
    "Call automation": (
        Operation("GET", "/calling/callConnections/{callConnectionId}", "callConnection_getCall"),
        Operation("DELETE", "/calling/callConnections/{callConnectionId}", "callConnection_hangupCall"),
        Operation("POST", "/calling/callConnections/{callConnectionId}:terminate", "callConnection_terminateCall"),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}:transferToParticipant",
            "callConnection_transferToParticipant",
        ),
        Operation("GET", "/calling/callConnections/{callConnectionId}/participants", "callConnection_getParticipants"),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}/participants:add", "callConnection_addParticipant"
        ),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}/participants:remove",
            "callConnection_removeParticipant",
        ),
        Operation("POST", "/calling/callConnections/{callConnectionId}/participants:mute", "callConnection_mute"),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}/participants:cancelAddParticipant",
            "callConnection_cancelAddParticipant",
        ),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}/participants:moveHere",
            "callConnection_moveParticipants",
        ),
        Operation(
            "GET",
            "/calling/callConnections/{callConnectionId}/participants/{participantRawId}",
            "callConnection_getParticipant",
        ),
        Operation("POST", "/calling/callConnections/{callConnectionId}:play", "callMedia_play"),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}:startTranscription", "callMedia_startTranscription"
        ),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}:stopTranscription", "callMedia_stopTranscription"
        ),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}:updateTranscription", "callMedia_updateTranscription"
        ),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}:cancelAllMediaOperations",
            "callMedia_cancelAllMediaOperations",
        ),
        Operation("POST", "/calling/callConnections/{callConnectionId}:recognize", "callMedia_recognize"),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}:startContinuousDtmfRecognition",
            "callMedia_startContinuousDtmfRecognition",
        ),
        Operation(
            "POST",
            "/calling/callConnections/{callConnectionId}:stopContinuousDtmfRecognition",
            "callMedia_stopContinuousDtmfRecognition",
        ),
        Operation("POST", "/calling/callConnections/{callConnectionId}:sendDtmfTones", "callMedia_sendDtmfTones"),
        Operation("POST", "/calling/callConnections/{callConnectionId}:hold", "callMedia_hold"),
        Operation("POST", "/calling/callConnections/{callConnectionId}:unhold", "callMedia_unhold"),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}:startMediaStreaming", "callMedia_startMediaStreaming"
        ),
        Operation(
            "POST", "/calling/callConnections/{callConnectionId}:stopMediaStreaming", "callMedia_stopMediaStreaming"
        ),
        Operation("POST", "/calling/recordings", "callRecording_startRecording"),
        Operation("GET", "/calling/recordings/{recordingId}", "callRecording_getRecordingProperties"),
        Operation("DELETE", "/calling/recordings/{recordingId}", "callRecording_stopRecording"),
        Operation("POST", "/calling/recordings/{recordingId}:pause", "callRecording_pauseRecording"),
        Operation("POST", "/calling/recordings/{recordingId}:resume", "callRecording_resumeRecording"),
        Operation("POST", "/calling/callConnections", "callAutomationApiClient_createCall"),
        Operation("POST", "/calling/callConnections:answer", "callAutomationApiClient_answerCall"),
        Operation("POST", "/calling/callConnections:redirect", "callAutomationApiClient_redirectCall"),
        Operation("POST", "/calling/callConnections:reject", "callAutomationApiClient_rejectCall"),
        Operation("POST", "/calling/callConnections:connect", "callAutomationApiClient_connect"),
    ),
    "Email": (
        Operation("GET", "/emails/operations/{operationId}", "email_getSendResult"),
        Operation("POST", "/emails:send", "email_send"),
    ),
    "Messages": (
        Operation("POST", "/messages/notifications:send", "messages_send"),
        Operation("GET", "/messages/streams/{id}", "messages_downloadMedia"),
        Operation("GET", "/messages/channels/{channelId}/templates", "messages_listTemplates"),
    ),
    "Job router": (
        Operation(
            "PATCH", "/routing/distributionPolicies/{distributionPolicyId}", "jobRouter_upsertDistributionPolicy"
        ),
        Operation("GET", "/routing/distributionPolicies/{distributionPolicyId}", "jobRouter_getDistributionPolicy"),
        Operation("GET", "/routing/distributionPolicies", "jobRouter_listDistributionPolicies"),
        Operation(
            "DELETE", "/routing/distributionPolicies/{distributionPolicyId}", "jobRouter_deleteDistributionPolicy"
        ),
        Operation(
            "PATCH", "/routing/classificationPolicies/{classificationPolicyId}", "jobRouter_upsertClassificationPolicy"
        ),
        Operation(
            "GET", "/routing/classificationPolicies/{classificationPolicyId}", "jobRouter_getClassificationPolicy"
        ),
        Operation("GET", "/routing/classificationPolicies", "jobRouter_listClassificationPolicies"),
        Operation(
            "DELETE", "/routing/classificationPolicies/{classificationPolicyId}", "jobRouter_deleteClassificationPolicy"
        ),
        Operation("PATCH", "/routing/exceptionPolicies/{exceptionPolicyId}", "jobRouter_upsertExceptionPolicy"),
        Operation("GET", "/routing/exceptionPolicies/{exceptionPolicyId}", "jobRouter_getExceptionPolicy"),
        Operation("GET", "/routing/exceptionPolicies", "jobRouter_listExceptionPolicies"),
        Operation("DELETE", "/routing/exceptionPolicies/{exceptionPolicyId}", "jobRouter_deleteExceptionPolicy"),
        Operation("PATCH", "/routing/queues/{queueId}", "jobRouter_upsertQueue"),
        Operation("GET", "/routing/queues/{queueId}", "jobRouter_getQueue"),
        Operation("GET", "/routing/queues", "jobRouter_listQueues"),
        Operation("DELETE", "/routing/queues/{queueId}", "jobRouter_deleteQueue"),
        Operation("PATCH", "/routing/jobs/{jobId}", "jobRouter_upsertJob"),
        Operation("GET", "/routing/jobs/{jobId}", "jobRouter_getJob"),
        Operation("DELETE", "/routing/jobs/{jobId}", "jobRouter_deleteJob"),
        Operation("POST", "/routing/jobs/{jobId}:reclassify", "jobRouter_reclassifyJob"),
        Operation("POST", "/routing/jobs/{jobId}:cancel", "jobRouter_cancelJob"),
        Operation("POST", "/routing/jobs/{jobId}/assignments/{assignmentId}:complete", "jobRouter_completeJob"),
        Operation("POST", "/routing/jobs/{jobId}/assignments/{assignmentId}:close", "jobRouter_closeJob"),
        Operation("GET", "/routing/jobs", "jobRouter_listJobs"),
        Operation("GET", "/routing/jobs/{jobId}/position", "jobRouter_getQueuePosition"),
        Operation("POST", "/routing/jobs/{jobId}/assignments/{assignmentId}:unassign", "jobRouter_unassignJob"),
        Operation("POST", "/routing/workers/{workerId}/offers/{offerId}:accept", "jobRouter_acceptJobOffer"),
        Operation("POST", "/routing/workers/{workerId}/offers/{offerId}:decline", "jobRouter_declineJobOffer"),
        Operation("GET", "/routing/queues/{queueId}/statistics", "jobRouter_getQueueStatistics"),
        Operation("PATCH", "/routing/workers/{workerId}", "jobRouter_upsertWorker"),
        Operation("GET", "/routing/workers/{workerId}", "jobRouter_getWorker"),
        Operation("DELETE", "/routing/workers/{workerId}", "jobRouter_deleteWorker"),
        Operation("GET", "/routing/workers", "jobRouter_listWorkers"),
    ),
}
"""By service, as the coverage page names it."""

API_VERSIONS: dict[str, tuple[str, ...]] = {
    "Identity": ("2021-03-07", "2021-10-31-preview", "2022-06-01", "2022-10-01", "2023-10-01"),
    "SMS": (
        "2021-03-07",
        "2022-07-07",
        "2024-01-02",
        "2024-02-05-preview",
        "2024-02-05",
        "2024-12-10-preview",
        "2025-05-29-preview",
        "2025-09-17",
        "2026-01-23",
    ),
    "Phone numbers": (
        "2021-03-07",
        "2022-01-11-preview2",
        "2022-12-01",
        "2023-05-01-preview",
        "2023-10-01-preview",
        "2024-03-01-preview",
        "2024-03-01",
        "2024-11-15-preview",
        "2025-02-11",
        "2025-04-01",
        "2025-06-01",
    ),
    "SIP routing": ("2021-05-01-preview", "2023-03-01"),
    "Chat": (
        "2021-03-07",
        "2021-04-05-preview6",
        "2021-09-07",
        "2023-11-07",
        "2024-03-07",
        "2024-06-05-preview",
        "2024-09-01",
        "2025-03-15",
    ),
    "Rooms": ("2023-03-31-preview", "2023-06-14", "2023-10-30-preview", "2024-04-15", "2025-03-13"),
    "Network traversal": ("2021-06-21-preview", "2021-10-08-preview", "2022-03-01-preview"),
}
"""Of the services that are served: the versions that released SDKs ask for, and those of public specifications, oldest
first. Rooms before 2023 and relays before June 2021 had other shapes."""

USER_SERVICES = frozenset({"Chat"})
"""Services that communication users call with their own tokens; the others take a key or a service token."""

PROBLEM_SERVICES = frozenset({"SMS"})
"""Services that write some errors as problem details (acs-wire.md 4.6)."""
