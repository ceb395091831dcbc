"""The admin routes of SMS: a message's timeline, and the keywords a number answers to."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from landline.core.errors import Invalid, NotFound
from landline.core.ids import ResourceId, ResourceNamed
from landline.core.phone import SenderKind
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Route, admin_route
from landline.services.numbers.service import Numbers
from landline.services.sms.keywords import Keywords, preset
from landline.services.sms.model.keywords import Language
from landline.services.sms.timeline import Timelines
from landline.wire.base import Wire


class LanguageSetting(Wire, forbid_unknown_fields=True):
    """One language of a number; what is absent comes from the preset of that language."""

    language: Annotated[str, Meta(min_length=2, max_length=8)]
    stop: list[str] | None = None
    start: list[str] | None = None
    help: list[str] | None = None
    stop_reply: str | None = None
    start_reply: str | None = None
    help_reply: str | None = None


class KeywordSettings(Wire, forbid_unknown_fields=True):
    languages: Annotated[list[LanguageSetting], Meta(min_length=1)]


_SETTINGS = msgspec.json.Decoder(KeywordSettings)
AllResources = Callable[[], Awaitable[list[ResourceId]]]


def routes(
    timelines: Timelines,
    keywords: Keywords,
    numbers: Numbers,
    resource_named: ResourceNamed,
    all_resources: AllResources,
) -> list[Route]:
    """The admin operations."""
    handlers = _Handlers(timelines, keywords, numbers, resource_named, all_resources)
    path = "/resources/{name}/numbers/{number}/keywords"
    return [
        admin_route("GET", "/messages/{messageId}/timeline", handlers.timeline, "Messages_Timeline"),
        admin_route("GET", path, handlers.keywords, "Keywords_Get"),
        admin_route("PUT", path, handlers.set_keywords, "Keywords_Set"),
        admin_route("DELETE", path, handlers.reset_keywords, "Keywords_Reset"),
    ]


class _Handlers:
    def __init__(
        self,
        timelines: Timelines,
        keywords: Keywords,
        numbers: Numbers,
        resource_named: ResourceNamed,
        all_resources: AllResources,
    ) -> None:
        self._timelines = timelines
        self._keywords = keywords
        self._numbers = numbers
        self._resource_named = resource_named
        self._all_resources = all_resources

    async def timeline(self, request: Request) -> Response:
        """What became of a message, step by step."""
        found = await self._timelines.timeline(await self._all_resources(), request.params["messageId"])
        return json_response(200, found)

    async def keywords(self, request: Request) -> Response:
        """The keywords that a number answers to, and its replies, by language."""
        resource, number = await self._number(request)
        languages = await self._keywords.languages(resource, number)
        return json_response(200, KeywordSettings([_setting(language) for language in languages]))

    async def set_keywords(self, request: Request) -> Response:
        """Have a number answer in these languages; what one leaves out comes from its preset."""
        resource, number = await self._number(request)
        if (owned := await self._numbers.sender(resource, number)) and owned.kind is SenderKind.ALPHANUMERIC:
            raise Invalid("An alphanumeric sender has no keywords: nobody can answer it.", target="number")
        asked = request.decode(_SETTINGS)
        await self._keywords.set(resource, number, [_language(setting) for setting in asked.languages])
        return await self.keywords(request)

    async def reset_keywords(self, request: Request) -> Response:
        """Have a number answer to plain English again."""
        resource, number = await self._number(request)
        await self._keywords.set(resource, number, None)
        return Response(204)

    async def _number(self, request: Request) -> tuple[ResourceId, str]:
        resource = await self._resource_named(request.params["name"])
        number = request.params["number"]
        if await self._numbers.sender(resource, number) is None:
            raise NotFound("The resource does not own this number.", target="number")
        return resource, number


def _language(setting: LanguageSetting) -> Language:
    given = {
        "stop": tuple(setting.stop) if setting.stop is not None else None,
        "start": tuple(setting.start) if setting.start is not None else None,
        "help": tuple(setting.help) if setting.help is not None else None,
        "stop_reply": setting.stop_reply,
        "start_reply": setting.start_reply,
        "help_reply": setting.help_reply,
    }
    missing = [name for name, value in given.items() if value is None]
    base = preset(setting.language) if missing else None
    values = {name: value if value is not None else getattr(base, name) for name, value in given.items()}
    return msgspec.convert({"language": setting.language, **values}, Language)


def _setting(language: Language) -> LanguageSetting:
    return LanguageSetting(
        language.language,
        list(language.stop),
        list(language.start),
        list(language.help),
        language.stop_reply,
        language.start_reply,
        language.help_reply,
    )
