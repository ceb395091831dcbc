"""Which texts are keywords, and which only look like them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.services.sms.model.keywords import ENGLISH, PRESETS, Action, find, plain

SURROUNDINGS = st.text(alphabet=" \t\n\r.,!?;:-\"'()[]\u00a0\u200b*", max_size=4)
ENGLISH_KEYWORDS = [
    *((word, Action.STOP) for word in ENGLISH.stop),
    *((word, Action.START) for word in ENGLISH.start),
    *((word, Action.HELP) for word in ENGLISH.help),
]


@given(st.sampled_from(ENGLISH_KEYWORDS), SURROUNDINGS, SURROUNDINGS, st.randoms(use_true_random=False))
def test_a_keyword_is_found_whatever_its_case_and_surroundings(keyword, before, after, random):
    word, action = keyword
    shouted = "".join(random.choice((letter.upper(), letter.lower())) for letter in word)
    found = find(before + shouted + after, (ENGLISH,))
    assert found is not None
    assert found[0] is action


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "...",
        "please stop",
        "STOP PLEASE",
        "stop it",
        "nonstop",
        "st op",
        "don't stop",
        "start now",
        "stopstart",
    ],
)
def test_a_keyword_inside_a_longer_text_is_no_keyword(text):
    assert find(text, (ENGLISH,)) is None


@pytest.mark.parametrize("text", ["OPT-OUT", "Opt\u2013out.", "stop - all"])
def test_a_hyphen_between_words_counts_as_a_space(text):
    assert find(text, (ENGLISH,)) == (Action.STOP, ENGLISH)


def test_full_width_letters_count_as_their_plain_ones():
    assert plain("ＳＴＯＰ") == "stop"


@pytest.mark.parametrize("text", ["İPTAL", "iptal", "IPTAL", "ıptal", "İptal!", "i\u0307ptal", "I\u0307PTAL"])
@pytest.mark.parametrize("keyword", ["iptal", "İPTAL", "IPTAL"])
def test_a_keyword_is_found_with_the_case_of_turkish(keyword, text):
    turkish = replace(ENGLISH, language="tr", stop=(keyword,))
    assert find(text, (turkish,)) == (Action.STOP, turkish)


@pytest.mark.parametrize("text", ["QUİT", "quıt", "UNSUBSCRİBE", "unsubscrıbe"])
def test_an_english_keyword_is_found_as_a_turkish_phone_writes_it(text):
    assert find(text, (ENGLISH,)) == (Action.STOP, ENGLISH)


@pytest.mark.parametrize("text", ["σταμάτα", "Σταμάτα.", "ΣΤΑΜΑΤΑ", "ΣΤΑΜΆΤΑ", "σταματα", "σταμα\u0301τα"])
@pytest.mark.parametrize("keyword", ["σταμάτα", "ΣΤΑΜΑΤΑ"])
def test_a_keyword_is_found_with_and_without_its_accents(keyword, text):
    """Capitals of Greek have none: who shouts the word that is set would go on getting messages."""
    greek = replace(ENGLISH, language="el", stop=(keyword,))
    assert find(text, (greek,)) == (Action.STOP, greek)


@pytest.mark.parametrize(("keyword", "text"), [("หยุด", "หยด"), ("बंद", "बद"), ("やめて", "やぬて"), ("ガ", "カ")])
def test_signs_that_make_another_word_are_no_accents(keyword, text):
    other = replace(ENGLISH, language="xx", stop=(keyword,))
    assert find(keyword, (other,)) == (Action.STOP, other)
    assert find(text, (other,)) is None


def test_each_preset_answers_in_its_own_language():
    for language in PRESETS.values():
        found = find(language.stop[0].upper(), (language, ENGLISH))
        assert found == (Action.STOP, language)


@pytest.mark.parametrize("text", ["STOP", "stop.", " Stop! "])
def test_stop_is_obeyed_whatever_languages_are_set(text):
    spanish, german = PRESETS["es"], PRESETS["de"]
    assert find(text, (spanish, german)) == (Action.STOP, spanish)
    assert find(text, (german, ENGLISH)) == (Action.STOP, ENGLISH)
    assert find("START", (spanish, german)) is None


@pytest.mark.parametrize("action", ["start", "help"])
def test_stop_is_obeyed_even_where_a_language_has_it_for_something_else(action):
    """As one that was set before that was refused."""
    confused = replace(PRESETS["de"], **{action: ("stop", "weiter")})
    assert find("Stop!", (confused,)) == (Action.STOP, confused)
    assert find("stop", (confused, ENGLISH)) == (Action.STOP, ENGLISH)
    assert find("weiter", (confused, ENGLISH)) == (Action(action), confused)


def test_the_first_language_listed_wins_a_shared_keyword():
    spanish, portuguese = PRESETS["es"], PRESETS["pt"]
    assert find("parar", (spanish, portuguese)) == (Action.STOP, spanish)
    assert find("parar", (portuguese, spanish)) == (Action.STOP, portuguese)


def test_the_default_replies_are_the_documented_ones():
    assert ENGLISH.reply(Action.STOP) == (
        "You have successfully been unsubscribed to messages from this number. Reply START to resubscribe"
    )
    assert ENGLISH.reply(Action.START) == (
        "You have successfully been re-subscribed to messages from this number. Reply STOP to unsubscribe."
    )


@given(st.text(max_size=40))
def test_any_text_is_judged_without_failing_and_stays_what_it_was(text):
    assert plain(plain(text)) == plain(text)
    assert find(text, (ENGLISH,)) == find(plain(text), (ENGLISH,))
