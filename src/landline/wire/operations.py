"""Every operation of the official SDKs, in one table: what is served, what is answered 501, and the coverage page all come
from it. Names are the SDKs' own (`operationId` without its service), so that metrics and logs speak their language."""

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of the public wire."""

    service: str
    method: str
    template: str
    name: str
    user: bool = False
    """Whether communication users call it with their own token; all others take a key or a service token."""


_TABLE = """
identity
  POST /identities communicationIdentityOperations_create
  DELETE /identities/{id} communicationIdentityOperations_delete
  POST /identities/{id}/:revokeAccessTokens communicationIdentityOperations_revokeAccessTokens
  POST /teamsUser/:exchangeAccessToken communicationIdentityOperations_exchangeTeamsUserAccessToken
  POST /identities/{id}/:issueAccessToken communicationIdentityOperations_issueAccessToken
  POST /access/entra/:exchangeAccessToken exchangeEntraAccessToken
  POST /access/teamsExtension/:exchangeAccessToken exchangeTeamsExtensionAccessToken
sms
  POST /sms/optouts:add optOuts_add
  POST /sms/optouts:remove optOuts_remove
  POST /sms/optouts:check optOuts_check
  POST /sms sms_send
  GET /deliveryReports/{outgoingMessageId} deliveryReports_get
phonenumbers
  GET /availablePhoneNumbers/countries/{countryCode}/areaCodes phoneNumbers_listAreaCodes
  GET /availablePhoneNumbers/countries phoneNumbers_listAvailableCountries
  POST /availablePhoneNumbers/countries/{countryCode}/:browse phoneNumbers_browseAvailableNumbers
  GET /availablePhoneNumbers/countries/{countryCode}/localities phoneNumbers_listAvailableLocalities
  GET /availablePhoneNumbers/countries/{countryCode}/offerings phoneNumbers_listOfferings
  GET /availablePhoneNumbers/reservations phoneNumbers_listReservations
  PATCH /availablePhoneNumbers/reservations/{reservationId} phoneNumbers_createOrUpdateReservation
  GET /availablePhoneNumbers/reservations/{reservationId} phoneNumbers_getReservation
  DELETE /availablePhoneNumbers/reservations/{reservationId} phoneNumbers_deleteReservation
  POST /availablePhoneNumbers/reservations/{reservationId}/:purchase phoneNumbers_purchaseReservation
  POST /availablePhoneNumbers/countries/{countryCode}/:search phoneNumbers_searchAvailablePhoneNumbers
  GET /availablePhoneNumbers/searchResults/{searchId} phoneNumbers_getSearchResult
  POST /availablePhoneNumbers/:purchase phoneNumbers_purchasePhoneNumbers
  GET /phoneNumbers/operations/{operationId} phoneNumbers_getOperation
  DELETE /phoneNumbers/operations/{operationId} phoneNumbers_cancelOperation
  PATCH /phoneNumbers/{phoneNumber}/capabilities phoneNumbers_updateCapabilities
  GET /phoneNumbers/{phoneNumber} phoneNumbers_getByNumber
  DELETE /phoneNumbers/{phoneNumber} phoneNumbers_releasePhoneNumber
  GET /phoneNumbers phoneNumbers_listPhoneNumbers
  POST /operatorInformation/:search phoneNumbers_operatorInformationSearch
siprouting
  GET /sip sipRouting_get
  PATCH /sip sipRouting_update
chat
  POST /chat/threads chat_createChatThread
  GET /chat/threads chat_listChatThreads
  DELETE /chat/threads/{chatThreadId} chat_deleteChatThread
  GET /chat/threads/{chatThreadId}/readReceipts chatThread_listChatReadReceipts
  POST /chat/threads/{chatThreadId}/readReceipts chatThread_sendChatReadReceipt
  POST /chat/threads/{chatThreadId}/messages chatThread_sendChatMessage
  GET /chat/threads/{chatThreadId}/messages chatThread_listChatMessages
  GET /chat/threads/{chatThreadId}/messages/{chatMessageId} chatThread_getChatMessage
  PATCH /chat/threads/{chatThreadId}/messages/{chatMessageId} chatThread_updateChatMessage
  DELETE /chat/threads/{chatThreadId}/messages/{chatMessageId} chatThread_deleteChatMessage
  GET /chat/threads/{chatThreadId}/participants chatThread_listChatParticipants
  POST /chat/threads/{chatThreadId}/participants/:remove chatThread_removeChatParticipant
  POST /chat/threads/{chatThreadId}/participants/:add chatThread_addChatParticipants
  PATCH /chat/threads/{chatThreadId} chatThread_updateChatThreadProperties
  GET /chat/threads/{chatThreadId} chatThread_getChatThreadProperties
  POST /chat/threads/{chatThreadId}/typing chatThread_sendTypingNotification
  GET /chat/config/realTimeNotifications realTimeNotifications_getConfiguration
rooms
  GET /rooms/{roomId}/participants participants_list
  PATCH /rooms/{roomId}/participants participants_update
  POST /rooms rooms_create
  GET /rooms rooms_list
  GET /rooms/{roomId} rooms_get
  PATCH /rooms/{roomId} rooms_update
  DELETE /rooms/{roomId} rooms_delete
networktraversal
  POST /networkTraversal/:issueRelayConfiguration communicationNetworkTraversal_issueRelayConfiguration
callautomation
  GET /calling/callConnections/{callConnectionId} callConnection_getCall
  DELETE /calling/callConnections/{callConnectionId} callConnection_hangupCall
  POST /calling/callConnections/{callConnectionId}:terminate callConnection_terminateCall
  POST /calling/callConnections/{callConnectionId}:transferToParticipant callConnection_transferToParticipant
  GET /calling/callConnections/{callConnectionId}/participants callConnection_getParticipants
  POST /calling/callConnections/{callConnectionId}/participants:add callConnection_addParticipant
  POST /calling/callConnections/{callConnectionId}/participants:remove callConnection_removeParticipant
  POST /calling/callConnections/{callConnectionId}/participants:mute callConnection_mute
  POST /calling/callConnections/{callConnectionId}/participants:cancelAddParticipant callConnection_cancelAddParticipant
  POST /calling/callConnections/{callConnectionId}/participants:moveHere callConnection_moveParticipants
  GET /calling/callConnections/{callConnectionId}/participants/{participantRawId} callConnection_getParticipant
  POST /calling/callConnections/{callConnectionId}:play callMedia_play
  POST /calling/callConnections/{callConnectionId}:startTranscription callMedia_startTranscription
  POST /calling/callConnections/{callConnectionId}:stopTranscription callMedia_stopTranscription
  POST /calling/callConnections/{callConnectionId}:updateTranscription callMedia_updateTranscription
  POST /calling/callConnections/{callConnectionId}:cancelAllMediaOperations callMedia_cancelAllMediaOperations
  POST /calling/callConnections/{callConnectionId}:recognize callMedia_recognize
  POST /calling/callConnections/{callConnectionId}:startContinuousDtmfRecognition callMedia_startContinuousDtmfRecognition
  POST /calling/callConnections/{callConnectionId}:stopContinuousDtmfRecognition callMedia_stopContinuousDtmfRecognition
  POST /calling/callConnections/{callConnectionId}:sendDtmfTones callMedia_sendDtmfTones
  POST /calling/callConnections/{callConnectionId}:hold callMedia_hold
  POST /calling/callConnections/{callConnectionId}:unhold callMedia_unhold
  POST /calling/callConnections/{callConnectionId}:startMediaStreaming callMedia_startMediaStreaming
  POST /calling/callConnections/{callConnectionId}:stopMediaStreaming callMedia_stopMediaStreaming
  POST /calling/recordings callRecording_startRecording
  GET /calling/recordings/{recordingId} callRecording_getRecordingProperties
  DELETE /calling/recordings/{recordingId} callRecording_stopRecording
  POST /calling/recordings/{recordingId}:pause callRecording_pauseRecording
  POST /calling/recordings/{recordingId}:resume callRecording_resumeRecording
  POST /calling/callConnections callAutomationApiClient_createCall
  POST /calling/callConnections:answer callAutomationApiClient_answerCall
  POST /calling/callConnections:redirect callAutomationApiClient_redirectCall
  POST /calling/callConnections:reject callAutomationApiClient_rejectCall
  POST /calling/callConnections:connect callAutomationApiClient_connect
email
  GET /emails/operations/{operationId} email_getSendResult
  POST /emails:send email_send
messages
  POST /messages/notifications:send send
  GET /messages/streams/{id} download_media
  GET /messages/channels/{channelId}/templates list_templates
jobrouter
  PATCH /routing/distributionPolicies/{distributionPolicyId} upsert_distribution_policy
  GET /routing/distributionPolicies/{distributionPolicyId} get_distribution_policy
  GET /routing/distributionPolicies list_distribution_policies
  DELETE /routing/distributionPolicies/{distributionPolicyId} delete_distribution_policy
  PATCH /routing/classificationPolicies/{classificationPolicyId} upsert_classification_policy
  GET /routing/classificationPolicies/{classificationPolicyId} get_classification_policy
  GET /routing/classificationPolicies list_classification_policies
  DELETE /routing/classificationPolicies/{classificationPolicyId} delete_classification_policy
  PATCH /routing/exceptionPolicies/{exceptionPolicyId} upsert_exception_policy
  GET /routing/exceptionPolicies/{exceptionPolicyId} get_exception_policy
  GET /routing/exceptionPolicies list_exception_policies
  DELETE /routing/exceptionPolicies/{exceptionPolicyId} delete_exception_policy
  PATCH /routing/queues/{queueId} upsert_queue
  GET /routing/queues/{queueId} get_queue
  GET /routing/queues list_queues
  DELETE /routing/queues/{queueId} delete_queue
  PATCH /routing/jobs/{jobId} upsert_job
  GET /routing/jobs/{jobId} get_job
  DELETE /routing/jobs/{jobId} delete_job
  POST /routing/jobs/{jobId}:reclassify _reclassify_job
  POST /routing/jobs/{jobId}:cancel _cancel_job
  POST /routing/jobs/{jobId}/assignments/{assignmentId}:complete _complete_job
  POST /routing/jobs/{jobId}/assignments/{assignmentId}:close _close_job
  GET /routing/jobs list_jobs
  GET /routing/jobs/{jobId}/position get_queue_position
  POST /routing/jobs/{jobId}/assignments/{assignmentId}:unassign unassign_job
  POST /routing/workers/{workerId}/offers/{offerId}:accept accept_job_offer
  POST /routing/workers/{workerId}/offers/{offerId}:decline _decline_job_offer
  GET /routing/queues/{queueId}/statistics get_queue_statistics
  PATCH /routing/workers/{workerId} upsert_worker
  GET /routing/workers/{workerId} get_worker
  DELETE /routing/workers/{workerId} delete_worker
  GET /routing/workers list_workers
"""
