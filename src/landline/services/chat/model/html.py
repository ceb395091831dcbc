"""HTML of messages, as everybody in a thread may be shown it: what could run, load a frame or hide is taken out.

The allowed tags are those of rich text in chats, and the mention tag that ACS's UI library writes.
"""

import re
from collections import Counter

import nh3

_TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "center", "cite", "code", "col", "colgroup", "dd", "del"),
    *("details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i"),
    *("img", "ins", "kbd", "li", "mark", "msft-mention", "ol", "p", "pre", "q", "s", "samp", "small", "span"),
    *("strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr"),
    *("tt", "u", "ul", "var"),
}
_ATTRIBUTES = {
    "*": {"align", "dir", "lang", "style", "title"},
    "a": {"href"},
    "blockquote": {"cite"},
    "img": {"alt", "height", "id", "name", "src", "width"},
    "msft-mention": {"displaytext", "id"},
    "ol": {"start", "type"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_SCHEMES = {"http", "https", "mailto", "tel"}
_STYLES = {
    *("background-color", "color", "direction", "font-family", "font-size", "font-style", "font-weight"),
    *("margin-left", "text-align", "text-decoration"),
}

DEEPEST = 256
"""Elements within one another. Each that opens is compared with all that are open: 28 KiB of nothing but those would
take the event loop a third of a second."""
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")
_NEVER_DEEP = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
    *("caption", "colgroup", "dd", "dt", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"),
}
"""Those that hold nothing, and those that the next of their kind ends, which may be left open (HTML §13.1.2.4)."""


def is_too_deep(html: str) -> bool:
    """Whether more elements are left open at once than `DEEPEST`, as far as their names tell."""
    opened: Counter[str] = Counter()
    depth = 0
    for end, name in _TAG.findall(html):
        name = name.lower()
        if name in _NEVER_DEEP:
            continue
        if not end:
            opened[name] += 1
            depth += 1
            if depth > DEEPEST:
                return True
        elif opened[name]:
            opened[name] -= 1
            depth -= 1
    return False


def sanitised(html: str) -> str:
    """`html` without scripts, handlers, styles that place or load, and links of other schemes. Sanitising twice changes
    nothing."""
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        filter_style_properties=_STYLES,
        link_rel="noopener noreferrer",
    )
