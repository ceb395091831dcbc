"""What `build` makes and the supervisor runs: the product behind two applications of the edge."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Protocol, TypeAlias
from uuid import UUID

from landline.app.config import Config
from landline.app.served_certificates import Served
from landline.edge.server import App
from landline.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class DevInfo:
    """What `dev` tells its user, beside the addresses."""

    connection_string: str
    phone_number: str
    """The toll-free number of resource `local`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes on its database a process is."""

    alone: bool = True
    """No other works on the database: what earlier ones left is taken over at once."""
    first: bool = True
    """It has what only one process of a server may have, such as the simulated carrier."""
    together: int = 1
    """How many processes are started together with it, itself included."""
    owner: UUID | None = None
    """By which it holds leases; None for one of its own making."""
    succeeds: tuple[UUID, ...] = ()
    """Owners that are known to have died: what they held need not wait for their leases' ends."""


class Application(Protocol):
    """Everything above the database and below the sockets."""

    @property
    def public_app(self) -> App:
        """What is served to clients."""
        ...

    @property
    def admin_app(self) -> App:
        """What is served on the admin port."""
        ...

    async def start(self, customers: Sequence[socket], customers_tls: Sequence[socket], served: Served | None) -> None:
        """Start the workers; `customers` are the bound sockets of the SMPP server, without TLS and with it, by what is
        `served`, which is watched from now on. Raises `Refusal` in one line when the configuration cannot work."""
        ...

    async def failed(self) -> None:
        """Wait until a worker ends by itself, which only a bug makes it do; raises what it raised."""
        ...

    async def drain(self, patience_s: float) -> None:
        """Answer what SMPP customers have submitted and hear the answers of carriers, for at most so long, and part
        with both: as listeners do with HTTP, and while they do."""
        ...

    async def close(self) -> None:
        """Stop the workers and let go of the database. Called after the last request has ended, and once at most."""
        ...

    def dev_info(self) -> DevInfo | None:
        """After `start`; None in `serve`."""
        ...


Build: TypeAlias = Callable[[Config, str, Clock, Place], Awaitable[Application]]
"""Make the application for a configuration whose ports, token and sealing secret are settled, on the database of a DSN,
which it migrates."""
