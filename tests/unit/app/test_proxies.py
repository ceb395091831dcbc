"""A proxy of the environment is not asked for what runs on this machine."""

import pytest
from requests.utils import should_bypass_proxies

from landline.app.proxies import passed_by

PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


@pytest.mark.parametrize(
    "environment", [{}, {"NO_PROXY": "a.example"}, {**PROXY, "no_proxy": "*"}, {"https_proxy": ""}]
)
def test_without_a_proxy_nothing_is_set(environment: dict[str, str]) -> None:
    assert passed_by(environment) == {}


def test_what_was_passed_by_still_is() -> None:
    set_ = passed_by({**PROXY, "NO_PROXY": "a.example, localhost", "no_proxy": "b.example"})
    assert set_ == dict.fromkeys(("NO_PROXY", "no_proxy"), "a.example,localhost,b.example,.localhost,127.0.0.1,::1")
    assert passed_by({**PROXY, **set_}) == set_


@pytest.mark.parametrize("host", ["localhost:8443", "shop.localhost:8443", "127.0.0.1:9443"])
def test_the_sdks_reach_this_machine_without_the_proxy(host: str) -> None:
    set_ = passed_by(PROXY)
    assert should_bypass_proxies(f"https://{host}/", set_["no_proxy"])
    assert not should_bypass_proxies("https://app.example/", set_["no_proxy"])
