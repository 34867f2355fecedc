"""The routes: OpenAI's `/v1/completions`, `/v1/chat/completions` and `/v1/models`; health, readiness, metrics.

app = application(styles, Limits(), Keys({}))     # an ASGI application
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from timbre.serving.answering import AnyRequest, Desk, Marks
from timbre.serving.champions import Loaded, Styles
from timbre.serving.distance import DistanceRequest, mount_distance
from timbre.serving.guard import App, Guard, Left, Receive, Scope, Send
from timbre.serving.keys import Keys
from timbre.serving.limits import Limits
from timbre.serving.metrics import Metrics
from timbre.serving.ongoing import Answer
from timbre.serving.page import mount_page
from timbre.serving.refusal import Refusal, of_fields
from timbre.serving.requests import ChatRequest, CompletionRequest
from timbre.serving.watch import Note, Watch

_ERROR = {
    "type": "object", "required": ["error"],
    "properties": {"error": {
        "type": "object", "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {"type": "string"}, "type": {"type": "string"},
            "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]},
        },
    }},
}  # fmt: skip
_REFUSALS = (400, 401, 403, 404, 405, 408, 413, 415, 429, 503)
CLIENT = "x-timbre-client"
"""Header by which a client stays with one version while a challenger is tried."""
ResultT = TypeVar("ResultT")


@dataclass
class _Server:
    """What the routes share."""

    styles: Styles
    limits: Limits
    desk: Desk
    metrics: Metrics
    watch: Watch | None = None
    stopping: bool = False

    def saw(self, answer: Answer) -> None:
        """Note what was written for an answer that ended or broke off; of one that was left nothing follows."""
        if self.watch is None or not (answer.broken or all(choice.finish for choice in answer.choices)):
            return
        tokens = sum(choice.tokens for choice in answer.choices)
        first, pace = None, None
        if answer.first_at is not None:
            first = 1000 * (answer.first_at - asyncio.get_running_loop().time() + time.monotonic() - answer.orders[0].at)
            if answer.ended_at is not None and tokens > len(answer.choices):
                pace = 1000 * (answer.ended_at - answer.first_at) / (tokens / len(answer.choices) - 1)
        for choice in answer.choices:
            text = choice.text if answer.form.steering is None else ""  # a mixture is not the version's own style
            self.watch.saw(Note(answer.loaded, answer.known_by, not answer.broken, choice.tokens, first, pace, text))


def application(
    styles: Styles, limits: Limits, keys: Keys, marks: Marks | None = None, *, steers: bool = True, watch: Watch | None = None
) -> tuple[App, Callable[[], None]]:
    """The guarded application, and what to call when the server stops taking requests."""
    challengers = None if watch is None else watch.challengers

    def written(answer: Answer) -> None:
        server.saw(answer)

    desk = Desk(styles, limits, marks or Marks(), steers, challengers, written)
    server = _Server(styles, limits, desk, Metrics(styles, watch), watch)
    app = FastAPI(title="Timbre", version=version("timbre"), docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Left, _left)
    app.add_exception_handler(Exception, _bug)  # the guard writes it down
    mount_page(app)
    mount_distance(app, desk)
    _mount_looks(app, server)
    _mount_writing(app, server)
    app.openapi = lambda: _schema(app, bool(keys))  # type: ignore[method-assign]
    routes = frozenset(path for route in app.routes if "{" not in (path := str(getattr(route, "path", ""))))

    def stop() -> None:
        server.stopping = True

    return Guard(app, limits, keys, server.metrics, routes), stop


def _mount_looks(app: FastAPI, server: _Server) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Which versions take requests; 503 while the server stops."""
        served = {loaded.style: _about(loaded) | {"model": loaded.champion.model} for loaded in server.styles.current}
        status = "stopping" if server.stopping else "ready"
        body = {"status": status, "styles": served, "not_served": server.styles.troubles, "trials": _on_trial(server.watch)}
        return JSONResponse(body, 503 if server.stopping else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(server.metrics.page(), media_type="text/plain; version=1.0.0")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The styles that are served, in OpenAI's form."""
        return {"object": "list", "data": [_model(loaded) for loaded in server.styles.current]}

    @app.get("/v1/models/{model}")
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        return _model(server.desk.loaded(CompletionRequest(model=model[:300], prompt="")))


def _mount_writing(app: FastAPI, server: _Server) -> None:
    @app.post("/v1/completions", openapi_extra=_body_schema(CompletionRequest))
    async def completions(request: Request) -> Response:
        """Texts that go on from a prompt."""
        return await _answered(server, request, CompletionRequest)

    @app.post("/v1/chat/completions", openapi_extra=_body_schema(ChatRequest))
    async def chat(request: Request) -> Response:
        """What the assistant says next, by the model's own chat template."""
        return await _answered(server, request, ChatRequest)


async def _answered(server: _Server, request: Request, kind: type[CompletionRequest] | type[ChatRequest]) -> Response:
    note: dict[str, Any] = request.scope["timbre"]
    try:
        wanted: AnyRequest = kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise of_fields(error) from None
    began = time.monotonic()
    if wanted.refine is not None:
        return await _refined(server, request, wanted, note)
    answer = await server.desk.take(wanted, (request.headers.get(CLIENT) or "")[:500] or None)
    if wanted.stream:
        answer = await _begun(server, request, wanted, answer, note, began)
        chunks = answer.chunks(counts=wanted.counts_at_the_end)
        return _Stream(chunks, _told(answer, note, stream=True), lambda: _done(server, answer, note, began))
    try:
        return await _whole(server, request, answer, note, began)
    except Refusal:
        if not answer.broken or answer.loaded in server.styles.current:
            raise
    last = await server.desk.take(wanted, tried=False)  # a challenger broke off, and nobody has read a word of it
    return await _whole(server, request, last, note, began)


async def _begun(server: _Server, request: Request, wanted: AnyRequest, answer: Answer, note: dict[str, Any], began: float) -> Answer:
    """The answer that is streamed: the champion's where a challenger breaks off before its first word."""
    if answer.loaded in server.styles.current:
        return answer
    try:
        await _unless_left(request.receive, answer.begun())
        return answer
    except Refusal:
        _done(server, answer, note, began)
        if not answer.broken:
            raise
    except Left:
        answer.cancel()
        raise
    return await server.desk.take(wanted, tried=False)


async def _whole(server: _Server, request: Request, answer: Answer, note: dict[str, Any], began: float) -> Response:
    headers = _told(answer, note, stream=False)
    try:
        body = await _unless_left(request.receive, answer.whole())
    finally:
        _done(server, answer, note, began)
    return Response(json.dumps(body, ensure_ascii=False), media_type="application/json", headers=headers)


def _told(answer: Answer, note: dict[str, Any], *, stream: bool) -> dict[str, str]:
    """The headers that say which version writes; the same goes into the log."""
    form = answer.form
    note |= {"model": form.model, "version": form.version, "prompt_tokens": form.prompt_tokens, "stream": stream}
    return {"x-timbre-model": form.model, "x-timbre-version": str(form.version)}


def _done(server: _Server, answer: Answer, note: dict[str, Any], began: float) -> None:
    answer.cancel()
    _count(server.metrics, answer, note, began)
    server.saw(answer)


async def _refined(server: _Server, request: Request, wanted: AnyRequest, note: dict[str, Any]) -> Response:
    """A text that is bettered before it is sent. What is written for nobody ends with the step it is at."""
    gone = threading.Event()
    try:
        form, choice = await _unless_left(request.receive, server.desk.refined(wanted, gone.is_set))
    except Left:
        gone.set()
        raise
    labels = (form.model, str(form.version))
    note |= {
        "model": form.model, "version": form.version, "prompt_tokens": form.prompt_tokens, "stream": False,
        "completion_tokens": choice.tokens, "finish": [choice.finish],
    }  # fmt: skip
    server.metrics.prompt_tokens.labels(*labels).inc(form.prompt_tokens)
    server.metrics.written_tokens.labels(*labels).inc(choice.tokens)
    server.metrics.finished.labels(*labels, choice.finish or "cut off").inc()
    headers = {"x-timbre-model": form.model, "x-timbre-version": str(form.version)}
    return Response(json.dumps(form.whole([choice]), ensure_ascii=False), media_type="application/json", headers=headers)


def _count(metrics: Metrics, answer: Answer, note: dict[str, Any], began: float) -> None:
    form, loop = answer.form, asyncio.get_running_loop()
    written, labels = sum(choice.tokens for choice in answer.choices), (form.model, str(form.version))
    note |= {"completion_tokens": written, "finish": [choice.finish for choice in answer.choices]}
    metrics.prompt_tokens.labels(*labels).inc(form.prompt_tokens)
    metrics.written_tokens.labels(*labels).inc(written)
    for choice in answer.choices:
        metrics.finished.labels(*labels, choice.finish or "cut off").inc()
    if answer.first_at is not None:
        first = answer.first_at - loop.time() + time.monotonic() - began
        metrics.first.labels(form.model).observe(first)
        note["first_ms"] = round(1000 * first, 1)
    if (read := answer.orders[0].began) is not None:
        metrics.queued.labels(form.model).observe(read - began)
        note["queue_ms"] = round(1000 * (read - began), 1)


class _Stream(Response):
    """Server-sent events, which end with the client or with `[DONE]`."""

    def __init__(self, chunks: AsyncGenerator[dict[str, Any], None], headers: dict[str, str], done: Callable[[], None]) -> None:
        super().__init__(headers=headers | {"cache-control": "no-store", "x-accel-buffering": "no"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._chunks, self._done = chunks, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _unless_left(receive, self._send_all(send))
        except Refusal as refusal:  # the answer has begun: its last event says why there is no more
            with suppress(Left):
                await send({"type": "http.response.body", "body": _event(refusal.body), "more_body": False})
        except Left:
            scope["timbre"]["left"] = True
        finally:
            self._done()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": _event(chunk), "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def _unless_left(receive: Receive, work: Awaitable[ResultT]) -> ResultT:
    """The result of `work`, which is cancelled when the client leaves. Raises: Left: it did."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise Left
        return await doing
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _not_found(_: Request, error: Exception) -> Response:
    """A path or method that there is not, in OpenAI's form."""
    assert isinstance(error, HTTPException)
    why = {404: "no such path", 405: "this path takes another method"}.get(error.status_code, str(error.detail))
    return JSONResponse(Refusal(error.status_code, why).body, error.status_code, headers=dict(error.headers or {}))


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)


async def _left(request: Request, _: Exception) -> Response:
    """Nobody reads this."""
    request.scope["timbre"]["left"] = True
    return Response(status_code=499)


async def _bug(_: Request, __: Exception) -> Response:
    return JSONResponse(Refusal(500, "something went wrong here; the log says what, under this request's id").body, 500)


def _model(loaded: Loaded) -> dict[str, Any]:
    about = _about(loaded) | {"baseline": None if loaded.baseline is None else loaded.baseline[0]}
    return {"id": loaded.champion.model, "object": "model", "created": int(loaded.since), "owned_by": "timbre", "timbre": about}


def _about(loaded: Loaded) -> dict[str, Any]:
    engine = loaded.engine
    return {
        "style": loaded.style, "version": loaded.version, "bundle": engine.digest, "precision": engine.precision,
        "context": engine.facts.context, "provider": engine.provider,
    }  # fmt: skip


def _on_trial(watch: Watch | None) -> dict[str, Any]:
    found = [] if watch is None else watch.challengers.all
    return {
        each.loaded.style: {"version": each.loaded.version, "share": each.trial.share, "shadow": each.trial.shadow} for each in found
    }  # fmt: skip


def _body_schema(kind: type[CompletionRequest] | type[ChatRequest]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}}
    }


def _schema(app: FastAPI, keys: bool) -> dict[str, Any]:
    """The OpenAPI document: bodies as they are checked, every refusal, and keys where there are any."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for kind in (CompletionRequest, ChatRequest, DistanceRequest):
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {kind.__name__: schema}
    schemas["Error"] = _ERROR
    refusal = {
        "description": "Refused, with the reason.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"] |= {str(status): refusal for status in _REFUSALS if str(status) not in operation["responses"]}
    if keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    app.openapi_schema = document
    return document
