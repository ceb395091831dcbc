"""Who may do what in a thread: those who are in it everything, those who were in it read what they saw."""

from landline.core.errors import Forbidden, NotFound
from landline.core.ids import RawId
from landline.services.chat import records
from landline.services.chat.records import Key
from landline.store.database import Connection, Record


def no_thread() -> NotFound:
    """There is no such thread, or it is deleted, or another resource's: nobody is told which."""
    return NotFound("There is no such chat thread.", target="chatThreadId")


def no_member() -> Forbidden:
    """The thread is there, and the user is not in it."""
    return Forbidden("The user is not a participant of this chat thread.", target="chatThreadId")


async def entered(connection: Connection, key: Key, user: RawId) -> Record:
    """The thread that `user` is in. Raises `NotFound`, `Forbidden`."""
    thread = await records.thread_of(connection, key, user)
    if thread is None:
        raise no_thread()
    if not thread["member_now"] or not thread["member_ever"]:
        raise no_member()
    return thread


async def readable(connection: Connection, key: Key, user: RawId) -> Record:
    """The thread that `user` is or was in. Raises `NotFound`, `Forbidden`."""
    thread = await records.thread_of(connection, key, user)
    if thread is None:
        raise no_thread()
    if not thread["member_ever"]:
        raise no_member()
    return thread


async def locked(connection: Connection, key: Key) -> Record:
    """The thread, locked until the transaction ends. Raises `NotFound`."""
    thread = (await records.lock(connection, [key])).get(key)
    if thread is None:
        raise no_thread()
    return thread
