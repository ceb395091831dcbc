"""HTML of messages, as everybody in a thread may be shown it: what could run, load a frame or hide is taken out.

The allowed tags are those of rich text in chats, and the mention tag that ACS's UI library writes.
"""

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
