"""Long-running operations as clients poll them, and their rows in `numbers_operations`."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from landline.core.ids import ResourceId
from landline.store.database import Connection


class OperationType(Enum):
    """ACS's PhoneNumberOperationType."""

    SEARCH = "search"
    PURCHASE = "purchase"
    RESERVATION_PURCHASE = "reservationPurchase"
    RELEASE = "releasePhoneNumber"
    CAPABILITIES = "updatePhoneNumberCapabilities"


class Status(Enum):
    """How an operation ended. All of ours end in the transaction that begins them; nothing is ever seen running."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed, or one number of it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `location` is the path of its result."""

    operation_id: str
    type: OperationType
    at: datetime
    location: str | None = None
    failure: Failure | None = None

    @property
    def status(self) -> Status:
        return Status.FAILED if self.failure else Status.SUCCEEDED


async def insert(connection: Connection, resource: ResourceId, operation: Operation) -> None:
    failure = operation.failure
    await connection.execute(
        "INSERT INTO numbers_operations (resource_id, operation_id, type, location, error_code, error_message,"
        " created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        resource,
        operation.operation_id,
        operation.type.value,
        operation.location,
        failure.code if failure else None,
        failure.message if failure else None,
        operation.at,
    )


async def find(connection: Connection, resource: ResourceId, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(
        "SELECT type, location, error_code, error_message, created_at FROM numbers_operations"
        " WHERE resource_id = $1 AND operation_id = $2",
        resource,
        operation_id,
    )
    if row is None:
        return None
    failure = Failure(row["error_code"], row["error_message"]) if row["error_code"] else None
    return Operation(operation_id, OperationType(row["type"]), row["created_at"], row["location"], failure)
