"""The versions that are served: each style's champion, followed when it changes, without a request that is lost or mixed.

An order goes to the writer that is current when it is taken on, and all of it is written there. When another champion is
promoted, its bundle is verified and loaded beside the old one, then takes its place for new orders; the old one ends when its
last text is written. A bundle that cannot be served is never served: the one before goes on, and `/ready` and the log say so.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from timbre.artifacts import Artifact, HashCache
from timbre.export.reference import read_critic, read_spans
from timbre.export.session import Decoder
from timbre.inference.spans import Spans
from timbre.metrics.critic import StyleCritic
from timbre.serving.chat import ChatTemplate
from timbre.serving.engine import Engine
from timbre.serving.writer import Bounds, Writer

if TYPE_CHECKING:
    from timbre.serving.runtimes import Runtime

_log = logging.getLogger("timbre.serving")
_AGAIN_SECONDS = 10.0
"""Until a champion that could not be served is tried again."""


@dataclass(frozen=True)
class Champion:
    """Which version is champion; `sequence` counts the moves of the model."""

    model: str
    sequence: int
    version: int
    promoted: bool = True
    """By a promotion, not by a rollback."""
    replaced: int | None = None
    """The champion before it."""
    at: datetime | None = None
    """Since when, in UTC."""


class Champions(Protocol):
    """Where champions come from. `timbre.tasks.serving` asks the ledger and the registry."""

    def champion(self, style: str) -> Champion:
        """The champion of a style; cheap enough to ask every second.

        Raises:
            ValueError: there is none.
        """
        ...

    def bundle(self, style: str, champion: Champion) -> Path:
        """The folder of its bundle, verified.

        Raises:
            ValueError: it cannot be had.
            IntegrityError: it is damaged.
        """
        ...

    def weights(self, bundle: Artifact) -> "Path | Runtime | None":
        """The ONNX file that runs instead of the bundle's own, or what else runs it, or None.

        Raises:
            ValueError: it cannot be had.
            IntegrityError: it is damaged.
        """
        ...

    def reference(self, bundle: Artifact) -> Artifact:
        """The corpus that a bundle was tuned on, verified.

        Raises:
            ValueError: it cannot be had.
            IntegrityError: it is damaged.
        """
        ...

    def base(self, bundle: Artifact) -> Path:
        """The ONNX file of the base model that a bundle was made of, verified.

        Raises:
            ValueError: it cannot be had.
            IntegrityError: it is damaged.
        """
        ...

    def baseline(self, style: str, champion: Champion) -> tuple[str, str] | None:
        """Objective and adapter of the baseline that was trained beside a champion; None where there is none."""
        ...

    def baseline_file(self, bundle: Artifact, adapter: str) -> Path:
        """The ONNX file of that baseline, verified. Raises: as `base`."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version that writes."""

    champion: Champion
    style: str
    engine: Engine
    writer: Writer
    chat: ChatTemplate | None
    since: float
    bundle: Artifact
    baseline: tuple[str, str] | None = None
    """Objective and adapter of what was trained beside it for comparison."""

    @property
    def version(self) -> int:
        return self.champion.version


class Styles:
    """The styles of one server and the version of each that takes orders."""

    def __init__(self, champions: Champions, bounds: Bounds, hashes: HashCache | None = None) -> None:
        self._champions, self._bounds, self._hashes = champions, bounds, hashes
        self._current: dict[str, Loaded] = {}
        self._troubles: dict[str, str] = {}
        self._failed: dict[str, tuple[Champion, float]] = {}
        self._leaving: list[Loaded] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._base: dict[tuple[str, ...], Decoder] = {}
        """By the hashes of graph and weights."""
        self._base_of: dict[str, tuple[str, ...]] = {}
        """Bundle -> which of them it is mixed with; each version is asked anew, since a later one may have a rounded base."""
        self._baseline: tuple[str, Decoder] | None = None
        self._spans: tuple[str, Spans] | None = None
        self._critic: tuple[str, StyleCritic] | None = None
        self._opening = threading.Lock()
        self.on_change: Callable[[Loaded], None] = lambda _: None
        self.spare: Callable[[str, Champion], Loaded | None] = lambda *_: None
        """A version that is loaded already."""

    def open(self, style: str) -> Loaded:
        """Load a style's champion; the one before it where the champion's own bundle fails, and then `troubles` says why.

        Raises:
            ValueError: there is none, or its bundle cannot be had, and none before it can.
            IntegrityError: its bundle is damaged, and none before it can be served.
        """
        champion = self._champions.champion(style)
        try:
            loaded = self.load(style, champion)
        except Exception as error:
            if champion.replaced is None:
                raise
            loaded = self._last_good(style, champion, error)
        self._current[style] = loaded
        self.on_change(loaded)
        return loaded

    def _last_good(self, style: str, champion: Champion, why: Exception) -> Loaded:
        """Raises: what stood in the way of the champion, if the one before it cannot be served either."""
        assert champion.replaced is not None
        try:
            before = self.load(style, Champion(champion.model, champion.sequence - 1, champion.replaced, promoted=False))
        except Exception:
            raise why from None
        self._trouble(style, before, why)
        return before

    def base(self, loaded: Loaded) -> Decoder:
        """The base model of a version, for texts that mix it in: opened when it is first asked for, then shared by all styles.

        Raises:
            ValueError: it cannot be had here.
            IntegrityError: it is damaged.
        """
        with self._opening:
            if (which := self._base_of.get(loaded.engine.digest)) is None or which not in self._base:
                file = self._champions.base(loaded.bundle)
                which = _weights_in(file, self._hashes)
                if which not in self._base:
                    # Those of forms that champions had before go; a second one is that of another style or a challenger.
                    for name in list(self._base)[:-1]:
                        del self._base[name]
                    self._base[which] = Decoder.open(file)
                served = {each.engine.digest for each in (*self._current.values(), *self._leaving)}
                self._base_of = {bundle: base for bundle, base in self._base_of.items() if bundle in served and base in self._base}
                self._base_of[loaded.engine.digest] = which
            return _wide_enough(self._base[which], loaded)

    def baseline(self, loaded: Loaded) -> Decoder:
        """The baseline that was trained beside a version: opened when it is first asked for, one at a time. Raises: as `base`."""
        if loaded.baseline is None:
            raise ValueError("no baseline was trained beside this version")
        with self._opening:
            adapter = loaded.baseline[1]
            if self._baseline is None or self._baseline[0] != adapter:
                self._baseline = None  # before the next is read: two of them need not fit
                self._baseline = adapter, _wide_enough(Decoder.open(self._champions.baseline_file(loaded.bundle, adapter)), loaded)
            return self._baseline[1]

    def spans(self, loaded: Loaded) -> Spans:
        """The training text of a version, read when it is first asked for. Raises: as `base`."""
        with self._opening:
            which = loaded.engine.facts.digests["corpus"]
            if self._spans is None or self._spans[0] != which:
                self._spans = which, read_spans(self._champions.reference(loaded.bundle), loaded.engine.tokenizer)
            return self._spans[1]

    def critic(self, loaded: Loaded) -> StyleCritic:
        """What tells how far a text is from a version's style. Raises: as `base`."""
        with self._opening:
            which = loaded.engine.facts.digests["corpus"]
            if self._critic is None or self._critic[0] != which:
                self._critic = which, read_critic(self._champions.reference(loaded.bundle))
            return self._critic[1]

    @property
    def current(self) -> list[Loaded]:
        """What takes orders, in the order in which the styles were named."""
        return list(self._current.values())

    @property
    def all(self) -> list[Loaded]:
        """What takes orders, and what ends its last texts."""
        self._leaving = [loaded for loaded in self._leaving if loaded.writer.active or loaded.writer.waiting]
        return [*self._current.values(), *self._leaving]

    @property
    def troubles(self) -> dict[str, str]:
        """Style -> why its new champion is not served."""
        return dict(self._troubles)

    def follow(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Look for other champions every so many seconds, in a thread of its own, until `close`.

        Args:
            then: called after each look, in that thread; what it raises is logged.
        """
        self._thread = threading.Thread(target=self._follow, args=(seconds, then), name="follow champions", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look once."""
        for style, loaded in list(self._current.items()):
            try:
                champion = self._champions.champion(style)
                if champion == loaded.champion:
                    self._troubles.pop(style, None)
                elif champion.version == loaded.version:  # promoted again, or back again before we looked
                    self._current[style] = replace(loaded, champion=champion)
                elif not self._just_failed(style, champion):
                    self._failed[style] = champion, time.monotonic()
                    self._replace(style, loaded, champion)
                    del self._failed[style]
            except Exception as error:  # of whatever kind: the version before is served on
                self._trouble(style, loaded, error)

    def leave(self, loaded: Loaded) -> None:
        """Let a version end what it has begun, and go."""
        self._leaving.append(loaded)
        loaded.writer.close(wait=False)

    def close(self) -> None:
        """Take no more orders; end when every text is written."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for loaded in self.all:
            loaded.writer.close(wait=False)
        for loaded in self.all:
            loaded.writer.close()

    def _follow(self, seconds: float, then: Callable[[], None]) -> None:
        said = ""
        while not self._stop.wait(seconds):
            self.look()
            try:
                then()
                said = ""
            except Exception as error:  # a database that is away for a while stops no text
                if said != (said := f"{type(error).__name__}: {error}"):
                    _log.error("not watched", exc_info=error)

    def _just_failed(self, style: str, champion: Champion) -> bool:
        failed = self._failed.get(style)
        return failed is not None and failed[0] == champion and time.monotonic() - failed[1] < _AGAIN_SECONDS

    def _replace(self, style: str, before: Loaded, champion: Champion) -> None:
        spare = self.spare(style, champion)
        after = self.load(style, champion) if spare is None else replace(spare, champion=champion)
        self._current[style] = after
        self._troubles.pop(style, None)
        self.leave(before)
        _log.info(
            "serving", extra={"about": {"style": style, "version": after.version, "bundle": after.engine.digest, "was": before.version}}
        )
        self.on_change(after)
        del before
        gc.collect()

    def _trouble(self, style: str, loaded: Loaded, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        if self._troubles.get(style) != why:
            _log.error("not served", extra={"about": {"style": style, "why": why, "serving": loaded.version}})
        self._troubles[style] = why

    def load(self, style: str, champion: Champion) -> Loaded:
        """Verify and load a version, and let it write a token before anybody asks it to.

        Raises:
            ValueError: its bundle cannot be had, or it does not write.
            IntegrityError: its bundle is damaged.
        """
        artifact = Artifact.open(self._champions.bundle(style, champion), self._hashes)
        engine = Engine.of(artifact, self._champions.weights(artifact))
        engine.try_out()
        facts, name = engine.facts, f"{champion.model} v{champion.version}"
        writer = Writer(
            engine.decoder, engine.tokenizer, vocab_size=facts.vocab_size, unused=engine.unused, eos=facts.eos_token_ids,
            bounds=self._bounds, name=name,
        )  # fmt: skip
        chat, baseline = ChatTemplate.of(artifact, engine.tokenizer), self._champions.baseline(style, champion)
        return Loaded(champion, style, engine, writer, chat, time.time(), artifact, baseline)


def _wide_enough(decoder: Decoder, loaded: Loaded) -> Decoder:
    """Raises: ValueError: it has fewer tokens than the version that it is to stand beside."""
    if decoder.logits_width < loaded.engine.facts.vocab_size:
        raise ValueError("the base model has fewer tokens than the version that was made of it")
    return decoder


def _weights_in(file: Path, hashes: HashCache | None) -> tuple[str, ...]:
    """What tells a decoder's file from another: the hashes of its graph and of the weights beside it. Raises: as `Artifact.open`."""
    records = Artifact.open(file.parent, hashes).manifest.files
    return tuple(records[name].sha256 for name in sorted(records) if name == file.name or name.endswith(".data"))
