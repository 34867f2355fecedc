"""Challengers on trial: loaded beside the champions, and asked for the share of requests that their trial says.

Which requests is a matter of a hash: of the trial's seed and of what the request is known by (`X-Timbre-Client`, else `user`, else its
place among the requests of this server), so that a client stays with one version as long as a trial goes on, on every server of
the home. A bundle on trial that cannot be had, or is not the one that the ledger names, is never asked: its trial is ended.
"""

import hashlib
import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from timbre.artifacts import IntegrityError
from timbre.registry.trials import Trial, TrialEvent
from timbre.serving.champions import Champion, Loaded, Styles

_log = logging.getLogger("timbre.serving")


@dataclass(frozen=True)
class Decision:
    """A row that is to be written: what, about which version and bundle, why, and the figures that it rests on."""

    event: TrialEvent
    version: int
    bundle: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Trials(Protocol):
    """Where trials are kept. `timbre.tasks.serving` asks the ledger."""

    def trials(self, style: str, champion: Champion) -> list[Trial]:
        """Every row of the trials of a style's model, oldest first."""
        ...

    def decide(self, style: str, seen: Trial | None, champion: Champion, decision: Decision) -> None:
        """Write the row that follows `seen`; nothing where another server was faster."""
        ...


@dataclass(frozen=True, eq=False)
class OnTrial:
    """A challenger that writes."""

    trial: Trial
    loaded: Loaded

    def chosen(self, known_by: str) -> bool:
        """Whether a request is the challenger's."""
        return in_share(self.trial, known_by)


def in_share(trial: Trial, known_by: str) -> bool:
    """Whether what is known by this falls into the share of a trial: the same wherever and whenever it is asked."""
    drawn = hashlib.sha256(f"{trial.seed}\0{trial.model}\0{trial.number}\0{known_by}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < trial.share * 2**64


class Challengers:
    """The challengers of one server."""

    def __init__(self, styles: Styles, trials: Trials) -> None:
        self._styles, self._trials = styles, trials
        self._on_trial: dict[str, OnTrial] = {}
        self._count = itertools.count()
        styles.spare = self._promoted

    def choose(self, style: str, known_by: str | None) -> OnTrial | None:
        """The challenger of a style, if it is asked for this request."""
        on_trial = self._on_trial.get(style)
        if on_trial is None:
            return None
        key = f"request {next(self._count)}" if known_by is None else f"client {known_by}"
        return on_trial if on_trial.chosen(key) else None

    def of(self, style: str) -> OnTrial | None:
        """The challenger of a style that is loaded."""
        return self._on_trial.get(style)

    @property
    def all(self) -> list[OnTrial]:
        return list(self._on_trial.values())

    def look(self, style: str, champion: Champion, trial: Trial | None, seen: Trial | None) -> None:
        """Follow the ledger: load what is on trial, and let go what is not any more.

        Args:
            trial: the one that goes on; None where there is none.
            seen: the newest row of the model's trials.
        """
        before = self._on_trial.get(style)
        if before is not None and (trial is None or trial.number != before.trial.number):
            self._let_go(style)
            before = None
        if trial is None or before is not None:
            return
        try:
            loaded = self._styles.load(style, Champion(champion.model, champion.sequence, trial.version))
            if loaded.engine.digest != trial.bundle:
                loaded.writer.close(wait=False)
                raise IntegrityError(f"v{trial.version} is bundle {loaded.engine.digest[:12]}, on trial is {trial.bundle[:12]}")
        except Exception as error:  # of whatever kind: it is never served
            why = f"v{trial.version} cannot be served: {type(error).__name__}: {error}"[:500]
            _log.error("trial ended", extra={"about": {"style": style, "version": trial.version, "why": why}})
            self._trials.decide(style, seen, champion, Decision("end", trial.version, trial.bundle, why))
            return
        self._on_trial[style] = OnTrial(trial, loaded)
        about = {"style": style, "version": trial.version, "share": trial.share, "shadow": trial.shadow}
        _log.info("on trial", extra={"about": about})

    def close(self) -> None:
        """Let all go."""
        for style in list(self._on_trial):
            self._let_go(style)

    def _let_go(self, style: str) -> None:
        self._styles.leave(self._on_trial.pop(style).loaded)

    def _promoted(self, style: str, champion: Champion) -> Loaded | None:
        """A challenger that has become champion needs not be loaded again."""
        on_trial = self._on_trial.get(style)
        if on_trial is None or on_trial.loaded.version != champion.version:
            return None
        del self._on_trial[style]
        return on_trial.loaded
