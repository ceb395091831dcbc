"""URLs of callouts: one reading of each, the same for the check, the connection and the request."""

import pytest

from landline.engines.callout_url import parse


@pytest.mark.parametrize(
    ("url", "origin", "target", "host_header"),
    [
        ("https://hook.example", ("https", "hook.example", 443), "/", "hook.example"),
        ("HTTPS://Hook.Example:443/A/b", ("https", "hook.example", 443), "/A/b", "hook.example"),
        ("https://hook.example.:8443/x", ("https", "hook.example.", 8443), "/x", "hook.example:8443"),
        ("http://127.0.0.1:/?a=b?c#d", ("http", "127.0.0.1", 80), "/?a=b?c", "127.0.0.1"),
        ("https://[2A00:0:0::1]:444/", ("https", "2a00::1", 444), "/", "[2a00::1]:444"),
        ("https://h_1.example/a%2Fb%zz?c=d%20e", ("https", "h_1.example", 443), "/a%2Fb%zz?c=d%20e", "h_1.example"),
        ("https://h.example/é/{x}?q=ü&r=|", ("https", "h.example", 443), "/%C3%A9/%7Bx%7D?q=%C3%BC&r=%7C", "h.example"),
        ("https://straße.Bücher.example/", ("https", "xn--strae-oqa.xn--bcher-kva.example", 443), "/", None),
        ("https://①②⑦.⓪.⓪.①/", ("https", "127.0.0.1", 443), "/", "127.0.0.1"),
    ],
)
def test_a_url_is_read_in_one_way(url: str, origin: tuple[str, str, int], target: str, host_header: str | None) -> None:
    endpoint = parse(url)
    assert (endpoint.origin, endpoint.target) == (origin, target)
    expected = f"POST {target} HTTP/1.1\r\nhost: {host_header or origin[1]}\r\n"
    assert endpoint.opening("POST") == expected.encode()


@pytest.mark.parametrize(
    "url",
    [
        "https://hook.example/a b",
        "https://hook.example/a\r\nx: y",
        "https://hook.example/\x00",
        " https://hook.example/",
        "https:\\\\hook.example/",
        "https://hook.example\\@127.0.0.1/",
        "https://@hook.example/",
        "https://hook.example:+80/",
        "https://hook.example:٨٠/",
        "https://hook.example:65536/",
        "https://hook.example:8:0/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[::1%1]/",
        "https://[hook.example]/",
        "https://::1/",
        "https://hook..example/",
        "https://.example/",
        "https://hook.example%00.evil.example/",
        "https://hook,example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/",
        "https://\ud800.example/",
        "https:///path",
        "https:hook.example",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(url)
