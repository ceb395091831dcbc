"""The keywords each number answers to: plain English unless set otherwise, cached until they change."""

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from landline.core.errors import Invalid
from landline.core.ids import ResourceId
from landline.services.sms import records_inbound
from landline.services.sms.model.keywords import ALWAYS, ENGLISH, PRESETS, Language, plain
from landline.store.changes import Changes
from landline.store.database import Database

_SUBJECT = "sms.keywords"
_CACHED = 10_000
_LANGUAGES = msgspec.json.Decoder(tuple[Language, ...])
_MOST_LANGUAGES = 16
_MOST_KEYWORDS = 64
_LONGEST_REPLY = 2048
_LONGEST_KEYWORD = 160


class Keywords:
    """Reads and sets the languages of numbers."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._cache: OrderedDict[tuple[ResourceId, str], tuple[Language, ...]] = OrderedDict()
        self._generation = 0
        changes.watch(_SUBJECT, self._forget)

    async def languages(self, resource: ResourceId, number: str) -> tuple[Language, ...]:
        """The languages of `number`, the one to answer first, first."""
        key = (resource, number)
        if self._changes.trusted and key in self._cache:
            return self._cache[key]
        generation = self._generation
        async with self._database.connection() as connection:
            stored = await records_inbound.keywords(connection, resource, number)
        languages = _LANGUAGES.decode(stored) if stored else (ENGLISH,)
        # What was read before a change was heard of is not kept: it may be from before that change.
        if self._changes.trusted and generation == self._generation:
            self._cache[key] = languages
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        return languages

    async def set(self, resource: ResourceId, number: str, languages: Sequence[Language] | None) -> None:
        """Have `number` answer to `languages` (None: plain English again). Raises `Invalid`."""
        if languages is not None:
            _check(languages)
        stored = msgspec.json.encode(languages).decode() if languages is not None else None
        async with self._database.transaction() as connection:
            await records_inbound.set_keywords(connection, resource, number, stored)
            await self._changes.publish(connection, _SUBJECT, f"{resource} {number}")
        self._changes.forget(_SUBJECT, f"{resource} {number}")

    def _forget(self, key: str | None) -> None:
        self._generation += 1
        if key is None:
            self._cache.clear()
            return
        for known in [known for known in self._cache if f"{known[0]} {known[1]}" == key]:
            del self._cache[known]


def preset(language: str) -> Language:
    """The keywords and replies that Landline brings for `language` (ISO 639-1). Raises `Invalid`."""
    found = PRESETS.get(language)
    if found is None:
        raise Invalid(f"There is no preset for {language!r}; there are {', '.join(PRESETS)}.", target="language")
    return found


def _twice(*actions: Sequence[str]) -> str | None:
    """A keyword of more than one of the `actions`."""
    seen: set[str] = set()
    for words in [{plain(word) for word in words} for words in actions]:
        if words & seen:
            return min(words & seen)
        seen |= words
    return None


def _check(languages: Sequence[Language]) -> None:
    if not 1 <= len(languages) <= _MOST_LANGUAGES:
        raise Invalid(f"Give between 1 and {_MOST_LANGUAGES} languages.", target="languages")
    for language in languages:
        words = (*language.stop, *language.start, *language.help)
        if len(words) > _MOST_KEYWORDS or not all(plain(word) and len(word) <= _LONGEST_KEYWORD for word in words):
            told = f"at most {_MOST_KEYWORDS} keywords of at most {_LONGEST_KEYWORD} characters, none of them empty"
            raise Invalid(f"A language has {told}.", target="languages")
        twice = _twice((*language.stop, ALWAYS), language.start, language.help)
        if twice is not None:
            raise Invalid(f"The keyword {twice!r} can ask for one thing only.", target="languages")
        if not language.stop or not language.start:
            raise Invalid("A language needs a stop and a start keyword.", target="languages")
        if max(len(language.stop_reply), len(language.start_reply), len(language.help_reply)) > _LONGEST_REPLY:
            raise Invalid(f"A reply has at most {_LONGEST_REPLY} characters.", target="languages")
