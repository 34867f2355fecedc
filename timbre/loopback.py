"""A proxy in the environment is for the network: what listens on this machine is never asked through it."""

from collections.abc import MutableMapping

_HERE = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def spare_loopback(environment: MutableMapping[str, str]) -> None:
    """Add this machine's own addresses to NO_PROXY and no_proxy, where a proxy is named; what stands there stays."""
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    for name in ("NO_PROXY", "no_proxy"):
        known = [host.strip() for host in (environment.get(name) or environment.get(name.swapcase()) or "").split(",") if host.strip()]
        if known != ["*"]:
            environment[name] = ",".join([*known, *(host for host in _HERE if host not in known)])
