"""From a request that was read to its answer, whole or as it is written."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from timbre.artifacts import IntegrityError
from timbre.export.session import Decoder
from timbre.inference.sampling import Controls
from timbre.inference.spans import Spans
from timbre.inference.watermark import Watermark
from timbre.serving.answers import Choice, Form
from timbre.serving.challengers import Challengers, OnTrial
from timbre.serving.champions import Loaded, Styles
from timbre.serving.engine import same_tokens
from timbre.serving.limits import Limits
from timbre.serving.ongoing import Answer, Events
from timbre.serving.refine import Refiner
from timbre.serving.refusal import Refusal
from timbre.serving.requests import ChatRequest, CompletionRequest
from timbre.serving.writer import Busy, Closed, Event, Order

AnyRequest = CompletionRequest | ChatRequest
_log = logging.getLogger("timbre.serving")
_CONTROLS = ("temperature", "top_p", "top_k", "min_p", "top_h", "dynamic_temperature")
_READING: set["asyncio.Future[None]"] = set()
"""Answers that are read though nobody sees them: a task that nothing holds may vanish."""


@dataclass(frozen=True)
class Marks:
    """The watermark, if there is a key, and which texts are marked unasked: those that may become longer than `over` tokens."""

    mark: Watermark | None = None
    over: int | None = None

    def unasked(self, tokens: int) -> bool:
        return self.over is not None and tokens > self.over


@dataclass(frozen=True)
class Desk:
    """Takes requests on: which version, which tokens, whether they fit."""

    styles: Styles
    limits: Limits
    marks: Marks
    steers: bool = True
    """Whether the base model may be loaded beside a champion, and mixed in."""
    challengers: Challengers | None = None
    unseen: Callable[[Answer], None] = lambda _: None
    """Told of an answer that a challenger wrote beside the champion's, once it is whole or broke off."""
    _refining: asyncio.Lock = field(default_factory=asyncio.Lock)

    def loaded(self, request: AnyRequest) -> Loaded:
        """The version that a request means.

        Raises:
            Refusal: it names none that is served.
        """
        served = {loaded.champion.model: loaded for loaded in self.styles.current}
        by_style = {loaded.style: loaded for loaded in served.values()}
        if request.style is not None and request.style not in by_style:
            raise Refusal(404, f"no such style here; served are {', '.join(by_style)}", param="style", code="style_not_found")
        if request.model is None:
            return by_style[request.style] if request.style is not None else next(iter(served.values()))
        found = served.get(request.model) or by_style.get(request.model)
        if found is None:
            raise Refusal(404, f"no such model here; served are {', '.join(served)}", param="model", code="model_not_found")
        if request.style not in (None, found.style):
            raise Refusal(400, f"model and style name different voices: {found.champion.model} is {found.style}", param="style")
        return found

    async def take(self, request: AnyRequest, known_by: str | None = None, *, tried: bool = True) -> Answer:
        """Take a request on.

        Args:
            known_by: what decides whether a challenger on trial answers it; None where nothing does.
            tried: whether a challenger may.

        Raises:
            Refusal: it cannot be followed, does not fit, or the queue is full.
        """
        on_trial = self._on_trial(request, known_by) if tried else None
        if on_trial is not None and not on_trial.trial.shadow:
            try:
                return await self._taken(request, known_by, on_trial.loaded)
            except Refusal as refusal:
                if refusal.status not in (429, 503):  # it cannot take it on: the champion can
                    raise
        answer = await self._taken(request, known_by)
        if on_trial is not None and on_trial.trial.shadow and not on_trial.loaded.writer.waiting:
            with suppress(Refusal):
                self._follow(await self._taken(request, known_by, on_trial.loaded, answer.form.seed))
        return answer

    def _on_trial(self, request: AnyRequest, known_by: str | None) -> OnTrial | None:
        """The challenger that is asked, if one is; not for texts that mix in a base model which is not the champion's."""
        if self.challengers is None:
            return None
        if request.baseline:
            return None
        loaded = self.loaded(request)
        found = self.challengers.choose(loaded.style, known_by or request.user)
        if found is None or (isinstance(request, ChatRequest) and found.loaded.chat is None):
            return None
        bases = [{name: each.engine.facts.digests.get(name) for name in ("model", "decoder")} for each in (loaded, found.loaded)]
        return None if request.steering is not None and bases[0] != bases[1] else found

    def _follow(self, answer: Answer) -> None:
        """Read an answer that nobody sees to its end."""

        async def read() -> None:
            with suppress(Refusal):
                async for _ in answer.pieces():
                    pass
            self.unseen(answer)

        task = asyncio.ensure_future(read())
        _READING.add(task)
        task.add_done_callback(_READING.discard)

    async def _taken(self, request: AnyRequest, known_by: str | None, by: Loaded | None = None, seed: int | None = None) -> Answer:
        """The same on one version: the champion unless another one is given."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.request_seconds
        for _ in range(3):
            loaded = self.loaded(request) if by is None else by
            rows = await asyncio.to_thread(_prompts, loaded, request)
            mixed = self._baseline if request.baseline else self._base
            base = None if request.steering is None else await asyncio.to_thread(mixed, loaded)
            spans = None if request.no_repeat is None else await asyncio.to_thread(self._spans, loaded)
            answer = self._answer(loaded, request, rows, base, self._others(loaded, request), spans, loop, deadline, seed)
            answer.known_by = known_by or request.user
            try:
                loaded.writer.submit(*answer.orders)
                return answer
            except Busy as busy:
                raise Refusal(429, str(busy), code="busy", headers={"Retry-After": str(busy.retry_after)}) from None
            except Closed:  # another champion took its place since we looked
                continue
        raise Refusal(503, "the champion is changing: ask again", code="changing", headers={"Retry-After": "1"})

    def _spans(self, loaded: Loaded) -> Spans:
        """Raises: Refusal: the training text is not to be had here."""
        try:
            return self.styles.spans(loaded)
        except (ValueError, IntegrityError, ModuleNotFoundError) as error:
            _log.error("no training text", extra={"about": {"style": loaded.style, "why": str(error)}})
            why = "the training text that no_repeat needs is not to be had on this server; its log says why"
            raise Refusal(400, why, param="no_repeat", code="no_reference") from None

    def _base(self, loaded: Loaded) -> Decoder:
        """Raises: Refusal: the base model is not to be had here."""
        if not self.steers:
            raise Refusal(400, "this server was started without diversity and strength", param="strength", code="no_steering")
        try:
            return self.styles.base(loaded)
        except (ValueError, IntegrityError) as error:
            _log.error("no base model", extra={"about": {"style": loaded.style, "why": str(error)}})
            why = "the base model that diversity and strength mix in is not to be had on this server; its log says why"
            raise Refusal(400, why, param="strength", code="no_base_model") from None

    def _baseline(self, loaded: Loaded) -> Decoder:
        """Raises: Refusal: no baseline was trained beside it, or it is not to be had here."""
        if not self.steers or loaded.baseline is None:
            why = "no baseline was trained beside this version" if self.steers else "this server was started without baselines"
            raise Refusal(404, why, param="baseline", code="no_baseline")
        try:
            return self.styles.baseline(loaded)
        except (ValueError, IntegrityError) as error:
            _log.error("no baseline", extra={"about": {"style": loaded.style, "why": str(error)}})
            why = "the baseline is not to be had on this server; its log says why"
            raise Refusal(404, why, param="baseline", code="no_baseline") from None

    def _others(self, loaded: Loaded, request: AnyRequest) -> list[tuple[Loaded, float]]:
        """The styles that are blended in, with their shares.

        Raises:
            Refusal: one is not served here, is the style itself, or has another tokenizer.
        """
        by_style, found = {one.style: one for one in self.styles.current}, list[tuple[Loaded, float]]()
        for style, share in (request.blend or {}).items():
            other = by_style.get(style)
            if other is None:
                why = f"no style {style!r} to blend in here; served are {', '.join(by_style)}"
                raise Refusal(404, why, param="blend", code="style_not_found")
            if style == loaded.style:
                raise Refusal(400, f"{style} is what others are blended into: it has the rest of the shares", param="blend")
            if not same_tokens(loaded.bundle, other.bundle):
                raise Refusal(400, f"{style} has another tokenizer than {loaded.style}: the two cannot be blended", param="blend")
            found.append((other, share))
        return found

    def _answer(
        self,
        loaded: Loaded,
        request: AnyRequest,
        rows: list[list[int]],
        base: Decoder | None,
        others: list[tuple[Loaded, float]],
        spans: Spans | None,
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        drawn: int | None = None,
    ) -> Answer:
        texts = len(rows) * request.n
        if texts > self.limits.texts:
            raise Refusal(
                400, f"{texts} texts are asked for, and {self.limits.texts} are the most at once", param="n", code="too_many_texts"
            )
        sampler = _sampler(loaded, request)
        seed = drawn if drawn is not None else secrets.randbits(32) if request.seed is None else request.seed
        mark = self._mark(request, sampler)
        blend = [(other.engine.decoder, share) for other, share in others]
        kept_out = None if spans is None or request.no_repeat is None else (spans, request.no_repeat)
        events: Events = asyncio.Queue()

        def order(first: int, ids: list[int]) -> Order:
            def sink(number: int, event: Event) -> None:
                try:
                    loop.call_soon_threadsafe(events.put_nowait, (first + number, event))
                except RuntimeError:  # the loop has ended before the writer: nobody listens
                    return

            seeds = [_seed(seed, first + number) for number in range(request.n)]
            tokens = self._tokens(loaded, request, len(ids))
            chosen = self._chosen(request, mark, tokens, sampler)
            return Order(
                ids, tokens, sampler, seeds, sink, request.stops, request.top, chosen, request.steering, base, blend, kept_out
            )  # fmt: skip

        orders = [order(number * request.n, ids) for number, ids in enumerate(rows)]
        form = Form(
            request.served, loaded.champion.model, loaded.version, loaded.engine.digest, loaded.style, seed, request.top is not None,
            sum(len(ids) for ids in rows), request.steering, [(other.style, other.version, share) for other, share in others],
            baseline=loaded.baseline[0] if request.baseline and loaded.baseline is not None else None,
        )  # fmt: skip
        return Answer(loaded, form, orders, events, deadline)

    def _chosen(self, request: AnyRequest, mark: Watermark | None, tokens: int, sampler: Controls) -> Watermark | None:
        """The mark of a text that may become so long; None: it is not marked."""
        chosen = mark if request.watermark or (request.watermark is None and self.marks.unasked(tokens)) else None
        return None if sampler.temperature == 0 else chosen

    async def refined(self, request: AnyRequest, left: Callable[[], bool]) -> tuple[Form, Choice]:
        """One text, drafted and then bettered, apart from the rows of the writer; one at a time.

        Args:
            left: whether nobody waits for it any more.

        Raises:
            Refusal: it cannot be followed, or another is being refined.
        """
        if self._refining.locked():
            raise Refusal(429, "a text is being refined: ask again in a while", code="busy", headers={"Retry-After": "10"})
        async with self._refining:
            loaded = self.loaded(request)
            rows = await asyncio.to_thread(_prompts, loaded, request)
            if len(rows) != 1:
                raise Refusal(400, f"one text is refined at a time, and {len(rows)} prompts are given", param="refine")
            sampler, seed = _sampler(loaded, request), secrets.randbits(32) if request.seed is None else request.seed
            tokens, mark = self._tokens(loaded, request, len(rows[0])), self._mark(request, sampler)
            deadline = time.monotonic() + self.limits.request_seconds
            try:
                refiner = Refiner(
                    loaded.engine, await asyncio.to_thread(self.styles.critic, loaded), self._chosen(request, mark, tokens, sampler)
                )
                found = await asyncio.to_thread(
                    refiner.refine, rows[0], steps=request.refine or 0, max_new_tokens=tokens, sampler=sampler, seed=_seed(seed, 0),
                    going=lambda: time.monotonic() < deadline and not left(),
                )  # fmt: skip
            except (ValueError, IntegrityError, ModuleNotFoundError) as error:
                _log.error("not refined", extra={"about": {"style": loaded.style, "why": str(error)}})
                greedy = sampler.temperature == 0
                why = str(error) if greedy else "the training text that refining needs is not to be had on this server; its log says why"
                raise Refusal(400, why, param="refine", code="greedy" if greedy else "no_reference") from None
        did = {
            "steps": len(found.steps), "kept": sum(step.kept for step in found.steps), "draft_score": round(found.draft_score, 6),
            "score": round(found.score, 6), "draft": found.draft, "tokens_read": found.read,
        }  # fmt: skip
        form = Form(
            request.served, loaded.champion.model, loaded.version, loaded.engine.digest, loaded.style, seed, False, len(rows[0]),
            refined=did,
        )  # fmt: skip
        return form, Choice(found.text, finish=found.finish, tokens=len(found.token_ids))

    def _mark(self, request: AnyRequest, sampler: Controls) -> Watermark | None:
        """Raises: Refusal: a mark is asked for and there is no key, or no draw in which it could lie."""
        if request.watermark and self.marks.mark is None:
            raise Refusal(400, "this server has no watermark key: see docs/how-to/serving.md", param="watermark", code="no_watermark_key")
        if request.watermark and sampler.temperature == 0:
            raise Refusal(400, "greedy text (temperature 0) cannot be marked: nothing is drawn", param="watermark", code="greedy")
        return self.marks.mark

    def _tokens(self, loaded: Loaded, request: AnyRequest, prompt: int) -> int:
        """How long a text may become.

        Raises:
            Refusal: longer than is allowed, or than the context.
        """
        context, most = loaded.engine.facts.context, self.limits.max_tokens
        wanted = min(most, context - prompt) if request.wanted is None else request.wanted
        if wanted > most:
            raise Refusal(400, f"max_tokens is {wanted}, and {most} is the most here", param="max_tokens", code="too_many_tokens")
        if prompt + wanted > context:
            why = f"the prompt's {prompt} tokens and max_tokens {wanted} are more than the {context} that the model reads"
            raise Refusal(400, why, param="max_tokens", code="context_length_exceeded")
        return wanted


def _prompts(loaded: Loaded, request: AnyRequest) -> list[list[int]]:
    """The token rows of a request.

    Raises:
        Refusal: a text is empty or too long, a token is none of the model's, or there is no chat template.
    """
    engine = loaded.engine
    try:
        if isinstance(request, ChatRequest):
            if loaded.chat is None:
                raise Refusal(400, f"{loaded.champion.model} has no chat template: use /v1/completions", code="no_chat_template")
            ids = loaded.chat.ids([("system" if turn.role == "developer" else turn.role, turn.text) for turn in request.messages])
            return [engine.checked(ids)]
        for prompt in request.prompts:
            if not isinstance(prompt, str) and max(prompt) >= engine.facts.vocab_size:
                raise ValueError(f"token {max(prompt)} is none of this model's {engine.facts.vocab_size}")
        return [engine.prompt_ids(prompt) if isinstance(prompt, str) else engine.checked(prompt) for prompt in request.prompts]
    except ValueError as error:
        raise Refusal(400, str(error), param="messages" if isinstance(request, ChatRequest) else "prompt", code="invalid_prompt") from None


def _sampler(loaded: Loaded, request: AnyRequest) -> Controls:
    given = {name: getattr(request, name) for name in _CONTROLS}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Controls.model_validate(loaded.engine.facts.sampler.model_dump() | chosen)


def _seed(seed: int, number: int) -> tuple[int, ...]:
    """The first text of a request has the seed itself, so that it is the one that `timbre generate --seed` writes."""
    return (seed % 2**64,) if number == 0 else (seed % 2**64, number)
