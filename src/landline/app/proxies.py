"""A proxy that the environment names is for the world outside: what keeps SDKs and curl from asking it for a server on
this machine, which it does not reach."""

from collections.abc import Mapping

VARIABLES = ("NO_PROXY", "no_proxy")
"""Programs differ in which they look at."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_HERE = ("localhost", ".localhost", "127.0.0.1", "::1")


def passed_by(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with this machine's names in them, beside those that are there. None where `environment` has no
    proxy, or passes it by for everything."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return {}
    given = [host.strip() for name in VARIABLES for host in environment.get(name, "").split(",")]
    hosts = list(dict.fromkeys([*given, *_HERE]))
    return {} if "*" in hosts else dict.fromkeys(VARIABLES, ",".join(host for host in hosts if host))
