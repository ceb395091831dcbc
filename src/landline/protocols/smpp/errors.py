"""The failures of an SMPP core: ours (`LocalProtocolError`) and the peer's (`RemoteProtocolError`, `MalformedPdu`)."""


class LocalProtocolError(Exception):
    """We asked the core for what the protocol does not allow: a bug on our side."""


class RemoteProtocolError(Exception):
    """The peer's octets cannot be cut into PDUs; the connection is of no more use."""


class MalformedPdu(Exception):
    """One PDU cannot be read; the stream goes on. `status` is the command_status it is answered with."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
