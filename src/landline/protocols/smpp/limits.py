"""The timers and bounds of a session."""

import math
from dataclasses import dataclass

from landline.protocols.smpp.framing import PDU_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """Timers in seconds (§7.2) and bounds of a session. None switches a timer off."""

    response_s: float = 10.0
    """For submit_sm and deliver_sm, which a peer answers when it has come to them."""
    control_s: float = 10.0
    """For all other requests, which a peer that is there answers at once."""
    enquire_link_s: float | None = 30.0
    """Silence after which the peer is asked whether it is there."""
    init_s: float | None = 10.0
    """How long a connection may stay without a bind."""
    init_bytes: float = math.inf
    """How much a peer may say without being bound."""
    inactivity_s: float | None = None
    """Time without requests other than enquire_link after which the session is given up."""
    window: int = 100
    """Our requests the peer may leave unanswered."""
    peer_window: int = 10_000
    """The peer's requests we leave unanswered before further ones are refused."""
    peer_bytes: int = 8 << 20
    """Of the peer's large requests (`owed.LARGE_BYTES`), likewise: each may have 64 KiB."""
    late_s: float = 900.0
    """How long after its response timer ended the response to a submit_sm is still known for what it is."""
    late: int = 10_000
    """How many such submit_sm are remembered; the oldest are forgotten first."""
    pdu_bytes: int = PDU_LIMIT_BYTES
