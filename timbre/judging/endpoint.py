"""A judge behind an OpenAI-compatible address (POST {base}/chat/completions): a hosted model or a server of one's own."""

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from timbre.judging.question import Reply, read_choice

if TYPE_CHECKING:
    import httpx

REQUEST: Mapping[str, Any] = {"temperature": 0, "max_tokens": 512}
"""Fields of every request besides model and messages; a model that thinks first needs the room."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_UNFIT = frozenset({400, 413, 422})
"""The server does not like this question: no answer, and the next one is asked. Other refusals end the run."""
_LONGEST_WAIT = 300.0
_KEPT = 200


@dataclass(frozen=True)
class EndpointJudge:
    """Asks a server; retries what may pass, and never shows or keeps the key.

    Args:
        base_url: up to and without /chat/completions, for example http://127.0.0.1:8000/v1.
        request: merged over `REQUEST`; a field that is None is left out.
        tries: of each question, one, two, four… seconds apart, or as long as the server's Retry-After asks.
        per_minute: questions a minute at most; 0 for as many as it takes.

    Raises:
        ValueError: an address that is not one, or a key that would be sent in the clear.
    """

    name: str
    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)
    request: Mapping[str, Any] = field(default_factory=dict)
    parallel: int = 4
    tries: int = 6
    timeout_seconds: float = 120.0
    per_minute: float = 0.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.name}: a judge's address looks like https://HOST/v1, without a query")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"{self.name}: the address holds a password; name an environment variable that holds the key instead")
        if self.key is not None:
            if not self.key.isascii() or not self.key.isprintable() or " " in self.key or not self.key:
                raise ValueError(f"{self.name}: the key holds a space, a line end or another character that no header takes")
            if parts.scheme == "http" and not _is_loopback(parts.hostname):
                raise ValueError(
                    f"{self.name}: a key is not sent over http:// to another machine, where anyone could read it; use https://"
                )

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": "endpoint", "url": self.base_url.rstrip("/"), "model": self.model, "request": self._fields}

    @property
    def _fields(self) -> dict[str, Any]:
        return {name: value for name, value in {**REQUEST, **self.request}.items() if value is not None}

    @cached_property
    def _turns(self) -> "_Turns":
        return _Turns(60.0 / self.per_minute if self.per_minute > 0 else 0.0, self.sleep)

    @cached_property
    def _client(self) -> "httpx.Client":
        """Follows no redirects, which would carry the key elsewhere; this machine is reached without a proxy."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"} if self.key is not None else {}
        here = _is_loopback(str(urlsplit(self.base_url).hostname))
        timeout = httpx.Timeout(self.timeout_seconds, connect=min(10.0, self.timeout_seconds))
        return httpx.Client(headers=headers, timeout=timeout, follow_redirects=False, trust_env=not here)

    def reply_to(self, question: str) -> Reply:
        """The server's choice; words that are none, and a request it calls unfit, are "no answer".

        Raises:
            ValueError: it refuses (the key, the model), or does not answer after all tries.
        """
        import httpx

        body = {"model": self.model, "messages": [{"role": "user", "content": question}], **self._fields}
        trouble = ""
        for attempt in range(self.tries):
            self._turns.take()
            wait = min(2.0**attempt, 60.0)
            try:
                response = self._client.post(f"{self.base_url.rstrip('/')}/chat/completions", json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {self._safe(str(error))}"
            else:
                if response.status_code not in _AGAIN:
                    return self._read(response)
                trouble = self._trouble(response)
                wait = _retry_after(response.headers.get("retry-after"), wait)
            if attempt + 1 < self.tries:
                self.sleep(wait)
        raise ValueError(
            f"{self.name} did not answer in {self.tries} tries ({trouble}); what it answered is kept: run the same command again"
        )

    def _read(self, response: "httpx.Response") -> Reply:
        if response.status_code in _UNFIT:
            return Reply(None, f"refused: {self._trouble(response)}")
        if response.status_code != 200:
            raise ValueError(f"{self.name} refuses to be asked ({self._trouble(response)}): check address, model and key")
        try:
            answer = json.loads(response.content)
            said = answer["choices"][0]["message"]["content"]
            served = str(answer.get("model", ""))
        except (ValueError, LookupError, TypeError, AttributeError):
            return Reply(None, "not the chat form", {"said": self._safe(response.text)})
        if not isinstance(said, str):
            return Reply(None, "no words", {"model": self._safe(served)})
        choice = read_choice(said)
        return Reply(choice, "" if choice else "neither A, B nor tie", {"said": self._safe(said), "model": self._safe(served)})

    def _trouble(self, response: "httpx.Response") -> str:
        said = self._safe(" ".join(response.text.split()))
        return f"HTTP {response.status_code}" + (f": {said}" if said else "")

    def _safe(self, text: str) -> str:
        """What a server says, shortened from the front, its echo of our key blotted out."""
        clean = text.replace(self.key, "***") if self.key else text
        return clean if len(clean) <= _KEPT else "…" + clean[-_KEPT:]


class _Turns:
    """Lets one caller pass every `seconds`, whichever thread it is in."""

    def __init__(self, seconds: float, sleep: Callable[[float], None]) -> None:
        self._seconds, self._sleep = seconds, sleep
        self._lock, self._next = threading.Lock(), 0.0

    def take(self) -> None:
        if not self._seconds:
            return
        with self._lock:
            now = time.monotonic()
            wait, self._next = self._next - now, max(self._next, now) + self._seconds
        if wait > 0:
            self._sleep(wait)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _retry_after(header: str | None, otherwise: float) -> float:
    """Seconds that the server asks for; a date, or nonsense, counts as nothing said."""
    try:
        return min(max(float(header or ""), 0.0), _LONGEST_WAIT) if header else otherwise
    except ValueError:
        return otherwise
