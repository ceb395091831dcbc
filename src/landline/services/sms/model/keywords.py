"""Opt-out keywords: which word a text consists of, in the languages a number was set to (acs-wire.md 4.8, sms.md 4)."""

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What a keyword asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Language:
    """The keywords of one language and the replies to them. An empty reply sends none."""

    language: str
    stop: tuple[str, ...]
    start: tuple[str, ...]
    help: tuple[str, ...]
    stop_reply: str
    start_reply: str
    help_reply: str

    def reply(self, action: Action) -> str:
        """The text that answers `action`."""
        return {Action.STOP: self.stop_reply, Action.START: self.start_reply, Action.HELP: self.help_reply}[action]


ENGLISH = Language(
    "en",
    stop=("stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"),
    start=("start", "unstop"),
    help=("help", "info"),
    stop_reply="You have successfully been unsubscribed to messages from this number. Reply START to resubscribe",
    start_reply=("You have successfully been re-subscribed to messages from this number. Reply STOP to unsubscribe."),
    help_reply="Reply STOP to unsubscribe from messages of this number, START to resubscribe.",
)

PRESETS = {
    language.language: language
    for language in (
        ENGLISH,
        Language(
            "es",
            stop=("parar", "baja", "alto", "cancelar"),
            start=("alta", "iniciar"),
            help=("ayuda",),
            stop_reply="Ya no recibirá mensajes de este número. Responda ALTA para volver a recibirlos.",
            start_reply="Volverá a recibir mensajes de este número. Responda BAJA para dejar de recibirlos.",
            help_reply="Responda BAJA para dejar de recibir mensajes de este número, ALTA para volver a recibirlos.",
        ),
        Language(
            "fr",
            stop=("arret", "arrêt", "desabonner", "désabonner"),
            start=("debut", "début", "reprendre"),
            help=("aide",),
            stop_reply="Vous ne recevrez plus de messages de ce numéro. Répondez DEBUT pour les recevoir à nouveau.",
            start_reply="Vous recevrez à nouveau les messages de ce numéro. Répondez ARRET pour les arrêter.",
            help_reply="Répondez ARRET pour ne plus recevoir de messages de ce numéro, DEBUT pour les reprendre.",
        ),
        Language(
            "de",
            stop=("stopp", "abmelden", "ende"),
            start=("anmelden",),
            help=("hilfe",),
            stop_reply="Sie erhalten keine Nachrichten mehr von dieser Nummer. Antworten Sie ANMELDEN, um sie wieder "
            "zu erhalten.",
            start_reply="Sie erhalten wieder Nachrichten von dieser Nummer. Antworten Sie STOPP, um sie zu beenden.",
            help_reply="Antworten Sie STOPP, um keine Nachrichten mehr zu erhalten, ANMELDEN, um sie zu erhalten.",
        ),
        Language(
            "pt",
            stop=("parar", "sair", "cancelar"),
            start=("iniciar", "voltar"),
            help=("ajuda",),
            stop_reply="Não receberá mais mensagens deste número. Responda VOLTAR para as receber de novo.",
            start_reply="Voltará a receber mensagens deste número. Responda SAIR para as deixar de receber.",
            help_reply="Responda SAIR para deixar de receber mensagens deste número, VOLTAR para as receber de novo.",
        ),
    )
}

ALWAYS = "stop"
"""Asks every number for the same."""
_TURKISH_I = re.compile("i\u0307|\u0131")
"""What folding leaves of İ, and ı."""
_ACCENTS = re.compile("[\u0300-\u036f]+")
"""Of letters that have one. Vowel signs of other scripts, which make other words, are not among them."""
_BETWEEN_WORDS = re.compile(r"[\s\u2010-\u2015-]+")


def plain(text: str) -> str:
    """`text` as keywords are compared: NFKC, case folded, without accents, inner white space and hyphens a single
    space, edges bare of white space, punctuation and invisible characters."""
    # Phones have their language's case: a Turkish one makes "QUİT" of "quit" and "quıt" of "QUIT".
    folded = _TURKISH_I.sub("i", unicodedata.normalize("NFKC", text).casefold())
    # Greek capitals have no accents, French ones often none, and many people write none at all.
    folded = folded if folded.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    start, end = 0, len(folded)
    while start < end and _edge(folded[start]):
        start += 1
    while end > start and _edge(folded[end - 1]):
        end -= 1
    return _BETWEEN_WORDS.sub(" ", folded[start:end])


def find(text: str, languages: tuple[Language, ...]) -> tuple[Action, Language] | None:
    """The action that `text` as a whole asks for and the language it asks in; the first language listed wins. STOP is
    obeyed in all of them: people know it, and carriers ask for it, whatever language they were texted in."""
    word = plain(text)
    if not word:
        return None
    for language in languages:
        for action, keywords in (
            (Action.STOP, language.stop),
            (Action.START, language.start),
            (Action.HELP, language.help),
        ):
            if (word != ALWAYS or action is Action.STOP) and any(plain(keyword) == word for keyword in keywords):
                return action, language
    return (Action.STOP, languages[0]) if word == ALWAYS and languages else None


def _edge(character: str) -> bool:
    return unicodedata.category(character)[0] in "PZC"
