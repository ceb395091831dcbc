"""Sanitised HTML: nothing that runs, loads a frame, or leaves the message's own place; what people write stays."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Invalid
from landline.services.chat.model import values
from landline.services.chat.model.html import sanitised
from landline.services.chat.model.values import Kind

ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/a.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href=' &#14; javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<form action=//x.example><input name=q><button>go</button></form>",
    "<object data=x></object><embed src=x>",
    "<link rel=stylesheet href=//x.example/a.css><style>*{background:url(//x.example)}</style>",
    "<meta http-equiv=refresh content='0;url=//x.example'><base href=//x.example>",
    "<div style='position:fixed;top:0;left:0;width:100%;height:100%'>x</div>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<p style='background-image:url(//x.example/track)'>x</p>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<b onmouseover=alert(1) onclick='alert(1)'>x</b>",
    "<details open ontoggle=alert(1)>x</details>",
    "<textarea><script>alert(1)</script></textarea>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<video><source onerror=alert(1)></video>",
]
RUNS = {
    *("script", "iframe", "object", "embed", "form", "input", "svg", "math", "style", "link", "meta", "base"),
    *("template", "video", "textarea", "button"),
}
SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class Harm(HTMLParser):
    """What of an HTML text could do harm."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in RUNS:
            self.found.append(tag)
        for name, value in attrs:
            scheme = SCHEME.match(value or "")
            if name.startswith("on") or name in ("srcdoc", "action", "formaction", "class"):
                self.found.append(name)
            if name in ("href", "src", "cite") and scheme and scheme[1] not in ("http", "https", "mailto", "tel"):
                self.found.append(f"{name}={value}")
            if name == "style" and ("position" in (value or "") or "url" in (value or "")):
                self.found.append(f"style={value}")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


@pytest.mark.parametrize("html", ATTACKS)
def test_an_attack_is_taken_out(html: str) -> None:
    assert Harm(sanitised(html)).found == []


@given(st.lists(st.sampled_from([*ATTACKS, "<b>", "</b>", "<", ">", '"', "'", "&lt;", "\n", "x", "<a title='"])))
def test_attacks_put_together_are_taken_out_and_twice_is_once(parts: list[str]) -> None:
    once = sanitised("".join(parts))
    assert Harm(once).found == []
    assert sanitised(once) == once


@pytest.mark.parametrize(
    "html",
    [
        "<p>one<br>two</p>",
        "<b>b</b> <i>i</i> <u>u</u> <s>s</s> <code>c</code>",
        "<ul><li>one</li><li>two</li></ul>",
        '<ol start="3"><li>three</li></ol>',
        "<table><tbody><tr><td>1</td><td>2</td></tr></tbody></table>",
        '<img src="https://example.org/a.png" alt="a" width="10" height="20">',
        '<msft-mention id="8:acs:a_b">Bob</msft-mention>',
        "1 &lt; 2 &amp; 3",
    ],
)
def test_what_people_write_stays_as_it_is(html: str) -> None:
    assert sanitised(html) == html


def test_links_open_without_the_page_they_came_from() -> None:
    link = '<a href="https://example.org/">x</a>'
    assert sanitised(link) == '<a href="https://example.org/" rel="noopener noreferrer">x</a>'


DEEP = [
    "<div>" * 257,
    "<DIV CLASS=x>" * 257,
    "<div></x>" * 257,  # which closes nothing
    "<b>" * 4000 + "</i>" * 4000,
    "<q><i>" * 200,
    "<rt>" * 5000,
]


@pytest.mark.parametrize("html", DEEP)
def test_what_is_nested_as_nobody_writes_it_is_refused(html: str) -> None:
    with pytest.raises(Invalid) as refused:
        values.content(Kind.HTML, f"{html}text", {}, ())
    assert refused.value.target == "content"


FLAT = [
    "<div>" * 200 + "text" + "</div>" * 200,
    "<p>one" * 3000,
    "<ul>" + "<li>one" * 2000 + "</ul>",
    "<table>" + "<tr><td>1<td>2" * 1500 + "</table>",
    "<table>" + "<tr><td>1</td></tr>" * 1000 + "</table>",
    "one<br>two<br/>" * 1500,
    "<b>bold</B > and <i>more</i>, " * 800,
    "1 < 2 and <3 and a<b" * 200,
]


@pytest.mark.parametrize("html", FLAT)
def test_what_is_long_and_flat_is_taken(html: str) -> None:
    assert values.content(Kind.HTML, html, {}, ())
