"""A look at a server that runs: does it answer, with the version that the ledger names, and does it write?"""

import json
import os
import urllib.error
import urllib.request
from typing import Any

from timbre.config import Frozen, ModelConfig
from timbre.tasks.canary import settle
from timbre.tasks.context import latest_transition, registered_name

KEY_VARIABLE = "TIMBRE_SERVING_KEY"
"""An API key of the server that is looked at, where it has keys; never a parameter, which pages would show."""
_SECONDS = 60.0


class Looked(Frozen):
    """What a server said of a style."""

    model: str
    version: int
    champion: int
    settled: int | None = None
    """The version that a pending decision made champion on the way."""
    wrote: int | None = None
    """Tokens that it wrote when it was asked to; None where it has keys and none was given."""


def look_at(style: str, model: ModelConfig, address: str) -> Looked:
    """Carry out what the ledger says is due, then ask the server.

    Raises:
        ValueError: it does not answer, serves another version than the champion, or does not write; the sentence says which.
    """
    name = registered_name(style, model)
    moved = settle(style, model)
    champion = latest_transition(name)
    if champion is None:
        raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one")
    ready = _asked(f"{address}/ready")
    served = ready["styles"].get(style)
    if served is None:
        raise ValueError(
            f"{address} serves {', '.join(ready['styles']) or 'nothing'}, not {style}: start it with `timbre serve --style {style}`"
        )
    if why := ready["not_served"].get(style):
        raise ValueError(f"{address} does not serve {name} v{champion.version} but v{served['version']}: {why}")
    if served["version"] != champion.version and moved is None:
        raise ValueError(f"{address} serves {name} v{served['version']}, champion is v{champion.version}: does it use this home's ledger?")
    looked = Looked(model=name, version=served["version"], champion=champion.version, settled=moved.version if moved else None)
    try:
        answer = _asked(f"{address}/v1/completions", {"model": name, "prompt": "It was", "max_tokens": 8, "seed": 1})
    except PermissionError:
        return looked
    return looked.model_copy(update={"wrote": answer["usage"]["completion_tokens"]})


def _asked(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Raises: ValueError: no answer, or a refusal. PermissionError: it asks for a key, and none was given."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # nosec B310: the address that its user names
            told: dict[str, Any] = json.load(answer)
            return told
    except urllib.error.HTTPError as error:
        if error.code == 401 and KEY_VARIABLE not in os.environ:
            raise PermissionError(url) from error
        raise ValueError(f"{url} refused with {error.code}: {error.read(300).decode(errors='replace')}") from error
    except OSError as error:
        raise ValueError(f"{url} does not answer ({error}): is `timbre serve` up?") from error
