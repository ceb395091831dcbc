"""The listener's settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """Where and how the listener listens. Durations in seconds."""

    host: str = "127.0.0.1"
    port: int | None = 2775
    """Without TLS; None for not at all, 0 for any free one."""
    tls_port: int | None = None
    system_id: str = "landline"
    connections: int = 1000
    """At most so many at once, and half of the files the process may open. One more cuts the oldest that has not bound,
    or is cut itself when all have."""
    submissions: int = 20_000
    """At most so many in hand over all connections; more are answered ESME_RMSGQFUL."""
    bind_s: float = 10.0
    """How long a connection may stay unbound."""
    enquire_link_s: float = 60.0
    response_s: float = 10.0
    window: int = 50
    """deliver_sm unanswered on each connection."""
    peer_window: int = 1000
    """The most an account's `window` can be."""
