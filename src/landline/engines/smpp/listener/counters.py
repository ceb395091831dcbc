"""What the listener counts, for the metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class ListenerCounters:
    """Since the start."""

    connections: int = 0
    refused_binds: int = 0
    throttled: int = 0
    delivered: int = 0
    undelivered: int = 0
