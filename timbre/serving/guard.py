"""The door: what every request passes before it is looked at, and what is written down of it afterwards.

An ASGI application around another one. It bounds bodies, times and how many there are, asks for keys, refuses other sites'
pages, and turns every refusal into OpenAI's form of an error. It logs one JSON object a request, without a word of its text.
"""

import asyncio
import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from timbre.serving.keys import Keys
from timbre.serving.limits import Limits
from timbre.serving.metrics import Metrics
from timbre.serving.refusal import Refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("timbre.serving")
_OPEN = frozenset({"/health", "/ready"})
_UNGUARDED_PAGES = frozenset({"/", "/try.css", "/try.js", "/try.svg"})
_PATIENCE = 16
"""Bodies up to so many times too long are read to their end before they are refused."""


class Left(Exception):
    """The client has gone, or has stopped reading."""


class Guard:
    """The door of one server."""

    def __init__(self, app: App, limits: Limits, keys: Keys, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app, self._limits, self._keys, self._metrics, self._routes = app, limits, keys, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note: dict[str, Any] = {"id": secrets.token_hex(8), "method": scope["method"], "route": self._route(scope)}
        scope["timbre"] = note
        answer = _Reply(send, self._limits.write_seconds, note, scope.get("timbre.abort"))
        self._metrics.in_flight += 1
        began = time.monotonic()
        try:
            await self._pass(scope, receive, answer, note)
        except Refusal as refusal:
            with suppress(Left):
                await answer.refuse(refusal)
        except (Left, asyncio.CancelledError) as ending:
            note["left"] = True
            if isinstance(ending, asyncio.CancelledError):
                raise
        except Exception as error:
            _log.error("a bug", exc_info=error, extra={"about": {"id": note["id"]}})
        finally:
            self._metrics.in_flight -= 1
            self._write_down(note, time.monotonic() - began)

    async def _pass(self, scope: Scope, receive: Receive, answer: "_Reply", note: dict[str, Any]) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._metrics.in_flight > self._limits.connections and scope["path"] not in _OPEN:
            raise Refusal(
                429, f"more than {self._limits.connections} requests at once: ask again", code="busy", headers={"Retry-After": "1"}
            )
        self._admit(scope["path"], headers, note)
        body = b""
        if scope["method"] == "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise Refusal(415, "send JSON, with Content-Type: application/json", code="unsupported_media_type")
            body = await self._body(receive, headers)
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if not replayed:
                replayed = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, replay, answer.send)

    def _admit(self, path: str, headers: dict[str, str], note: dict[str, Any]) -> None:
        """Raises: Refusal: no key, a wrong one, or a page of another site that asks a server without keys."""
        if not self._keys:
            if not _is_here(headers.get("host", "")):
                raise Refusal(403, "this server has no keys and answers only to loopback names in Host", code="wrong_host")
            origin = headers.get("origin")
            if origin is not None and not _is_here(origin.partition("://")[2]):
                raise Refusal(403, "this server has no keys and answers no other site's pages", code="wrong_origin")
            return
        if path in _OPEN or path in _UNGUARDED_PAGES:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        owner = self._keys.owner(key.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise Refusal(401, "send a good key: Authorization: Bearer KEY", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        note["key"] = owner

    async def _body(self, receive: Receive, headers: dict[str, str]) -> bytes:
        most = self._limits.body_bytes
        too_long = Refusal(413, f"the body is longer than {most} bytes", code="body_too_long", headers={"Connection": "close"})
        declared = headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > _PATIENCE * most:
            raise too_long
        parts: list[bytes] = []
        held = 0
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Left
                    parts.append(message.get("body", b""))
                    held += len(parts[-1])
                    if held > most:
                        parts.clear()  # thrown away as it comes: a client that still sends would not read the answer
                    ended = not message.get("more_body", False)
                    if held > _PATIENCE * most or (ended and held > most):
                        raise too_long
                    if ended:
                        return b"".join(parts)
        except TimeoutError:
            why = f"the body was not here within {self._limits.read_seconds:g} s"
            raise Refusal(408, why, code="slow_body", headers={"Connection": "close"}) from None

    def _route(self, scope: Scope) -> str:
        """The route as it is declared: what a client made up is no label."""
        path: str = scope["path"]
        return path if path in self._routes else "/v1/models/{model}" if path.startswith("/v1/models/") else "other"

    def _write_down(self, note: dict[str, Any], seconds: float) -> None:
        status = note.get("status", 499)
        self._metrics.requests.labels(note["route"], str(status)).inc()
        self._metrics.seconds.labels(note["route"]).observe(seconds)
        level = logging.DEBUG if note["route"] in ("/health", "/ready", "/metrics") and status == 200 else logging.INFO
        _log.log(level, "request", extra={"about": {**note, "status": status, "ms": round(1000 * seconds, 1)}})


class _Reply:
    """Sends, with an end to its patience, and remembers what was begun."""

    def __init__(self, send: Send, patience: float, note: dict[str, Any], abort: Callable[[], None] | None) -> None:
        self._send, self._patience, self._note, self._abort = send, patience, note, abort

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._note["status"] = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self._note["id"].encode())]
        try:
            async with asyncio.timeout(self._patience):
                await self._send(message)
        except TimeoutError:
            if self._abort is not None:
                self._abort()  # what lies unread in the socket goes with it
            raise Left from None
        except OSError:
            raise Left from None

    async def refuse(self, refusal: Refusal) -> None:
        """The refusal as an answer of its own."""
        body = json.dumps(refusal.body, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _is_here(host: str) -> bool:
    """Whether a Host, with or without its port, is a loopback name."""
    name = host.strip().lower()
    name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(name)


def is_loopback(name: str) -> bool:
    """`localhost`, 127.0.0.0/8 or ::1."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
