"""JSON shapes of the admin API's list of opt-outs."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, field

from landline.wire.base import Wire

MOST_ENTERED = 1000


class OptOut(Wire):
    """`to` gets nothing from `from`."""

    from_: str = field(name="from")
    to: str
    at: str
    origin: str
    """keyword: a text said so; api: an SDK did; import: it was entered on the admin API."""


class OptOuts(Wire):
    value: list[OptOut]
    continuation_token: str | None = None


class OptOutToEnter(Wire, forbid_unknown_fields=True):
    from_: Annotated[str, Meta(min_length=1)] = field(name="from")
    to: str
    at: Annotated[datetime, Meta(tz=True)] | None = None
    """When that was said, elsewhere; now when absent."""


class OptOutsToEnter(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/opt-outs`."""

    value: Annotated[list[OptOutToEnter], Meta(min_length=1, max_length=MOST_ENTERED)]


class EnteredOptOuts(Wire):
    entered: int
    """How many there were not before."""


class OptOutToLift(Wire, forbid_unknown_fields=True):
    from_: Annotated[str, Meta(min_length=1)] = field(name="from")
    to: str


class OptOutsToLift(Wire, forbid_unknown_fields=True):
    """Body of `POST /resources/{name}/opt-outs:remove`."""

    value: Annotated[list[OptOutToLift], Meta(min_length=1, max_length=MOST_ENTERED)]


class LiftedOptOuts(Wire):
    removed: int
    """How many there were."""
