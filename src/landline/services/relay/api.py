"""The public operation of network traversal (acs-wire.md 8)."""

import msgspec

from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route
from landline.services.relay.service import Relays
from landline.wire.base import timestamp
from landline.wire.relay import (
    CommunicationIceServer,
    CommunicationRelayConfiguration,
    CommunicationRelayConfigurationRequest,
)

_REQUEST = msgspec.json.Decoder(CommunicationRelayConfigurationRequest)
_NO_STORE = {"cache-control": "no-store"}


def routes(relays: Relays) -> list[Route]:
    async def issue(request: Request) -> Response:
        wanted = request.decode(_REQUEST) if request.body else CommunicationRelayConfigurationRequest()
        issued = relays.issue(request.caller.resource, wanted.id, wanted.route_type, wanted.ttl)
        proof = issued.credentials
        servers = [
            CommunicationIceServer(list(urls), proof.username, proof.password, route_type=route_type.value)
            for route_type, urls in issued.servers.items()
        ]
        shape = CommunicationRelayConfiguration(timestamp(proof.expires_at), servers)
        return json_response(200, shape, _NO_STORE)

    return [
        Route(
            "POST",
            f"/{service}/:issueRelayConfiguration",
            issue,
            name="communicationNetworkTraversal_issueRelayConfiguration",
        )
        for service in ("networkTraversal", "networktraversal")  # so wrote it the SDKs before 1.1.0
    ]
