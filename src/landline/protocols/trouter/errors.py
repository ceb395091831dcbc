"""How the protocol fails."""


class RemoteProtocolError(Exception):
    """The peer broke the rules."""
