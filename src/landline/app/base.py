"""What the parts of the product stand on: the database and its helpers, the slices below them, and who is who."""

from dataclasses import dataclass
from uuid import UUID

from landline.app.application import Place
from landline.app.config import Config
from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.services.events.service import Events
from landline.services.insights.service import Insights
from landline.services.numbers.service import Numbers
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.processes import Processes
from landline.store.sealing import Sealer
from landline.store.wakeups import Wakeups

CHAT = "chat"
"""What only processes that take requests serve."""
EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Base:
    """Made once by `build`; `owner` is this process's name for its leases."""

    config: Config
    place: Place
    database: Database
    changes: Changes
    clock: Clock
    owner: UUID
    sealer: Sealer
    processes: Processes
    wakeups: Wakeups
    resources: Resources
    events: Events
    insights: Insights
    numbers: Numbers

    def share(self) -> int:
        """How many processes share the rate of a carrier or a sender."""
        return self.processes.live

    def takers(self) -> int:
        """How many processes take requests: a worker does not."""
        return self.processes.serving(CHAT)

    async def resource_named(self, name: str) -> ResourceId:
        """The id of the resource called `name`. Raises `NotFound`."""
        return (await self.resources.get(name)).resource_id

    async def resource_ids(self) -> dict[str, ResourceId]:
        """All resources by their names."""
        return {resource.name: resource.resource_id for resource in await self.resources.list_all()}

    async def all_resources(self) -> list[ResourceId]:
        """The ids of all resources, the oldest first."""
        return [resource.resource_id for resource in await self.resources.list_all()]
