"""The public routes of chat (acs-wire.md 7.1): for communication users, with their own tokens."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET

from landline.core.errors import Invalid
from landline.core.ids import RawId
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Handler, Route
from landline.edge.scopes import CHANGE_MEMBERS, CHANGE_THREADS, IN_CHAT, require
from landline.services.chat import addresses, shapes
from landline.services.chat.messages import Edit, Messages
from landline.services.chat.model import values
from landline.services.chat.model.ids import (
    MessageId,
    ThreadId,
    milliseconds,
    parse_message,
    parse_thread,
    thread_text,
)
from landline.services.chat.model.values import Draft, Properties
from landline.services.chat.records import Seat, metadata, participant
from landline.services.chat.service import Chat, Patch, Repeat
from landline.store.database import Record
from landline.wire import chat

T = TypeVar("T")

_CREATE = msgspec.json.Decoder(chat.CreateChatThreadRequest)
_UPDATE = msgspec.json.Decoder(chat.UpdateChatThreadRequest)
_ADD = msgspec.json.Decoder(chat.AddChatParticipantsRequest)
_REMOVE = msgspec.json.Decoder(chat.CommunicationIdentifierModel)
_SEND = msgspec.json.Decoder(chat.SendChatMessageRequest)
_EDIT = msgspec.json.Decoder(chat.UpdateChatMessageRequest)
_READ = msgspec.json.Decoder(chat.SendReadReceiptRequest)
_TYPING = msgspec.json.Decoder(chat.SendTypingNotificationRequest)

_THREADS = "/chat/threads"
_THREAD = "/chat/threads/{chatThreadId}"
_MESSAGE = "/chat/threads/{chatThreadId}/messages/{chatMessageId}"
_LONGEST_ID = 256
_MOST = 1 << 31


def routes(service: Chat, messages: Messages) -> list[Route]:
    """The operations of the chat API."""
    threads, written = _Threads(service), _Messages(messages)
    return [
        _route("POST", _THREADS, threads.create, "chat_createChatThread"),
        _route("GET", _THREADS, threads.listed, "chat_listChatThreads"),
        _route("GET", _THREAD, threads.properties, "chatThread_getChatThreadProperties"),
        _route("PATCH", _THREAD, threads.update, "chatThread_updateChatThreadProperties"),
        _route("DELETE", _THREAD, threads.delete, "chat_deleteChatThread"),
        _route("GET", f"{_THREAD}/participants", threads.participants, "chatThread_listChatParticipants"),
        _route("POST", f"{_THREAD}/participants/:add", threads.add, "chatThread_addChatParticipants"),
        _route("POST", f"{_THREAD}/participants/:remove", threads.remove, "chatThread_removeChatParticipant"),
        _route("POST", f"{_THREAD}/messages", written.send, "chatThread_sendChatMessage"),
        _route("GET", f"{_THREAD}/messages", written.listed, "chatThread_listChatMessages"),
        _route("GET", _MESSAGE, written.one, "chatThread_getChatMessage"),
        _route("PATCH", _MESSAGE, written.edit, "chatThread_updateChatMessage"),
        _route("DELETE", _MESSAGE, written.delete, "chatThread_deleteChatMessage"),
        _route("POST", f"{_THREAD}/typing", written.typing, "chatThread_sendTypingNotification"),
        _route("POST", f"{_THREAD}/readReceipts", written.read, "chatThread_sendChatReadReceipt"),
        _route("GET", f"{_THREAD}/readReceipts", written.receipts, "chatThread_listChatReadReceipts"),
    ]


def _route(method: str, template: str, handler: Handler, name: str) -> Route:
    return Route(method, template, handler, access=Access.USER, name=name)


class _Threads:
    def __init__(self, service: Chat) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        user = require(request.caller, CHANGE_THREADS)
        asked = request.decode(_CREATE)
        properties = Properties(
            values.topic(asked.topic),
            values.checked_metadata(asked.metadata),
            shapes.retention_days(asked.retention_policy),
        )
        participants = shapes.participants(asked.participants or ())
        created = await self._service.create(request.caller.resource, user, properties, participants, _repeat(request))
        thread = shapes.shown_thread(created.thread, created.created_at, created.created_by, created.properties)
        invalid = [shapes.shown_invalid(each) for each in created.invalid]
        headers = {"location": addresses.thread(request, created.thread)}
        return json_response(201, chat.CreateChatThreadResult(thread, invalid or None), headers)

    async def listed(self, request: Request) -> Response:
        user = require(request.caller, IN_CHAT)
        limit, position = _limit(request), request.query.get("after")
        before = parse_thread(position) if position else None
        rows = await self._service.threads(request.caller.resource, user, _since(request), before, limit + 1)
        rows, link = _page(request, rows, limit, lambda row: {"after": thread_text(row["thread_id"])})
        return json_response(200, chat.ChatThreadsItemCollection([shapes.shown_item(row) for row in rows], link))

    async def properties(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        row = await self._service.properties(request.caller.resource, user, thread)
        properties = Properties(row["topic"], metadata(row["metadata"]), row["retention_days"])
        return json_response(200, shapes.shown_thread(thread, row["created_at"], row["created_by"], properties))

    async def update(self, request: Request) -> Response:
        user, thread = _in_thread(request, CHANGE_THREADS)
        asked = request.decode(_UPDATE)
        policy = asked.retention_policy
        patch = Patch(
            asked.topic,
            asked.metadata,
            shapes.retention_days(policy) if policy is not UNSET else None,
            drop_retention=policy is None,
        )
        await self._service.update(request.caller.resource, user, thread, patch)
        return Response(204)

    async def delete(self, request: Request) -> Response:
        user, thread = _in_thread(request, CHANGE_THREADS)
        await self._service.delete(request.caller.resource, user, thread)
        return Response(204)

    async def participants(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        limit, skip = _limit(request), _skip(request)
        rows = await self._service.participants(request.caller.resource, user, thread, skip, limit + 1, _seat(request))
        rows, link = _page(request, rows, limit, _after)
        found = [shapes.shown_participant(participant(row)) for row in rows]
        return json_response(200, chat.ChatParticipantsCollection(found, link))

    async def add(self, request: Request) -> Response:
        user, thread = _in_thread(request, CHANGE_MEMBERS)
        participants = shapes.participants(request.decode(_ADD).participants)
        invalid = await self._service.add(request.caller.resource, user, thread, participants)
        return json_response(
            201, chat.AddChatParticipantsResult([shapes.shown_invalid(each) for each in invalid] or None)
        )

    async def remove(self, request: Request) -> Response:
        user, thread = _in_thread(request, CHANGE_MEMBERS)
        who = shapes.raw_id(request.decode(_REMOVE))
        await self._service.remove(request.caller.resource, user, thread, who)
        return Response(204)


class _Messages:
    def __init__(self, service: Messages) -> None:
        self._service = service

    async def send(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        asked = request.decode(_SEND)
        kind, data, files = values.kind(asked.type), asked.metadata or {}, shapes.files(asked.attachments)
        content = values.content(kind, asked.content, data, files)
        draft = Draft(request.caller.resource, thread, user, asked.sender_display_name, kind, content, data, files)
        message = await self._service.send(draft)
        headers = {"location": addresses.message(request, thread, message)}
        return json_response(201, chat.SendChatMessageResult(str(message)), headers)

    async def listed(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        limit, position = _limit(request), request.query.get("before")
        before = parse_message(position) if position else None
        rows = await self._service.listed(request.caller.resource, user, thread, _since(request), before, limit + 1)
        rows, link = _page(request, rows, limit, lambda row: {"before": str(row["message_id"])})
        return json_response(200, chat.ChatMessagesCollection([shapes.seen_message(row) for row in rows], link))

    async def one(self, request: Request) -> Response:
        user, thread, message = _in_message(request)
        row = await self._service.one(request.caller.resource, user, thread, message)
        return json_response(200, shapes.seen_message(row))

    async def edit(self, request: Request) -> Response:
        user, thread, message = _in_message(request)
        asked = request.decode(_EDIT)
        files = None if asked.attachments is UNSET else shapes.files(asked.attachments)
        edit = Edit(asked.content, asked.metadata, files)
        await self._service.edit(request.caller.resource, user, thread, message, edit)
        return Response(204)

    async def delete(self, request: Request) -> Response:
        user, thread, message = _in_message(request)
        await self._service.delete(request.caller.resource, user, thread, message)
        return Response(204)

    async def typing(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        # The JavaScript SDK sends no body when it has no name to tell.
        name = request.decode(_TYPING).sender_display_name if request.body else None
        await self._service.typing(request.caller.resource, user, thread, name)
        return Response(200)

    async def read(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        message = parse_message(request.decode(_READ).chat_message_id)
        await self._service.read(request.caller.resource, user, thread, message)
        return Response(200)

    async def receipts(self, request: Request) -> Response:
        user, thread = _in_thread(request, IN_CHAT)
        limit, skip = _limit(request), _skip(request)
        asked = self._service.receipts(request.caller.resource, user, thread, skip, limit + 1, _seat(request))
        rows, link = _page(request, list(await asked), limit, _after)
        # Within a page the furthest first: the UI library stops at the first receipt that is older than what it shows.
        # All of a thread's fit in one, unless its reader wants small ones; from page to page goes an order that nobody
        # changes who reads on.
        furthest = sorted(rows, key=lambda row: row["read_message_id"], reverse=True)
        shown = [shapes.shown_receipt(row) for row in furthest]
        return json_response(200, chat.ChatMessageReadReceiptsCollection(shown, link))


def _in_thread(request: Request, scopes: frozenset[str]) -> tuple[RawId, ThreadId]:
    return require(request.caller, scopes), parse_thread(request.params["chatThreadId"])


def _in_message(request: Request) -> tuple[RawId, ThreadId, MessageId]:
    return *_in_thread(request, IN_CHAT), parse_message(request.params["chatMessageId"])


def _repeat(request: Request) -> Repeat | None:
    repeatability_id = request.headers.get("repeatability-request-id")
    if not repeatability_id:
        return None
    if len(repeatability_id) > _LONGEST_ID:
        raise Invalid(f"The id is longer than {_LONGEST_ID} characters.", target="repeatability-request-id")
    return Repeat(repeatability_id, request.body)


def _limit(request: Request) -> int:
    """The page size that is asked for, at most ACS's own largest."""
    return min(_number(request, "maxPageSize", values.DEFAULT_PAGE, least=1), values.LARGEST_PAGE)


def _skip(request: Request) -> int:
    return _number(request, "skip", 0, least=0)


def _after(row: Record) -> dict[str, str]:
    return {"after": f"{milliseconds(row['added_at'])}.{row['raw_id']}"}


def _seat(request: Request) -> Seat | None:
    """Where the page before ended, of lists in the order that participants came."""
    text = request.query.get("after")
    if text is None:
        return None
    came, _, who = text.partition(".")
    if not (came.isascii() and came.isdigit() and len(came) < 15):
        raise Invalid("This is not a link that this server gave.", target="after")
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(came)), RawId(who)


def _number(request: Request, name: str, default: int, *, least: int) -> int:
    text = request.query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 11 and least <= int(text) < _MOST):
        raise Invalid(f"{name} is a whole number from {least} on.", target=name)
    return int(text)


def _since(request: Request) -> datetime | None:
    text = request.query.get("startTime")
    return shapes.instant(text, "startTime") if text else None


def _page(
    request: Request, rows: list[T], limit: int, position: Callable[[T], dict[str, str]]
) -> tuple[list[T], str | None]:
    """The first `limit` of `rows`, and where the page after them is when there are more."""
    if len(rows) <= limit:
        return rows, None
    rows = rows[:limit]
    path = request.target.partition("?")[0]
    kept = {name: value for name, value in request.query.items() if name in ("api-version", "startTime")}
    query = {**kept, "maxPageSize": str(limit), **position(rows[-1])}
    return rows, f"{path}?{urlencode(query, quote_via=quote)}"
