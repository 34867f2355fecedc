"""Watching what is served: figures of champion and challenger, and what follows from them through the ledger.

Requests leave a note of what was written (`saw`, from any thread, at no cost); the thread that follows champions measures the notes,
adds them to the observations of this home, and judges. What it decides it writes into the ledger, where every server of the home
reads it. Texts are kept until they are measured, a second or so, and never written anywhere.
"""

import hashlib
import logging
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from timbre.registry.trials import Trial, TrialEvent, due, open_trial
from timbre.serving.challengers import Challengers, Decision, Trials
from timbre.serving.champions import Champion, Loaded, Styles
from timbre.serving.observations import Observations, Seen
from timbre.serving.policy import Finding, ServingPolicy, judge, summary, verdict_of
from timbre.serving.style import HumanStyle
from timbre.statistics import Verdict

_log = logging.getLogger("timbre.serving")
_JUDGE_SECONDS = 5.0
_MOST_NOTES = 4000
_AGAIN_SECONDS = 30.0


class Records(Trials, Protocol):
    """What a watch needs of the home. `timbre.tasks.serving` provides it."""

    def observations(self) -> Observations:
        """The observations of this home's ledger."""
        ...

    def human(self, style: str, champion: Champion) -> tuple[HumanStyle, str]:
        """Rulers of the human texts of the champion's release, and their name.

        Raises:
            ValueError: they are not on this machine, or too few.
        """
        ...

    def settle(self, style: str) -> None:
        """Carry out what the ledger says is due, in a process of its own."""
        ...


@dataclass(frozen=True)
class Note:
    """One text that was written, or broke off."""

    loaded: Loaded
    known_by: str | None
    ok: bool
    tokens: int
    first_ms: float | None
    token_ms: float | None
    text: str


class Watch:
    """The figures of one server's styles."""

    def __init__(self, styles: Styles, challengers: Challengers, records: Records, policy: ServingPolicy) -> None:
        self._styles, self.challengers, self._records, self.policy = styles, challengers, records, policy
        self._notes: deque[Note] = deque(maxlen=_MOST_NOTES)
        self._observations = records.observations()
        self._human: dict[str, tuple[Champion, HumanStyle | None, str]] = {}
        self._salt = secrets.token_hex(16)
        self._judged = self._settled = float("-inf")
        self.figures: dict[tuple[str, int], dict[str, Any]] = {}
        """(model, version) → figures and role, for `/metrics` and `/ready`."""

    def saw(self, note: Note) -> None:
        """Note a text; the oldest notes go where they come faster than they are measured."""
        self._notes.append(note)

    def look(self) -> None:
        """Measure what was noted, follow the trials, judge, and decide."""
        self._measure()
        now = time.monotonic()
        judging = now - self._judged >= _JUDGE_SECONDS
        if judging:
            self._judged = now
        for loaded in self._styles.current:
            style, champion = loaded.style, loaded.champion
            trials = self._records.trials(style, champion)
            newest = trials[-1] if trials else None
            trial = open_trial(trials, champion.sequence)
            if trial is not None and trial.version == champion.version:
                trial = None
            self.challengers.look(style, champion, trial, newest)
            if due(trials, champion.sequence) is not None:
                if now - self._settled >= _AGAIN_SECONDS:
                    self._settled = now
                    self._records.settle(style)
            elif judging:
                self._judge(loaded, trial, trials)

    def close(self) -> None:
        """Measure what is left."""
        self._measure()
        self._observations.close()

    def _measure(self) -> None:
        seen: dict[tuple[str, int], list[Seen]] = defaultdict(list)
        while self._notes:
            note = self._notes.popleft()
            human, ruler = self._ruler(note.loaded)
            style = human.features(note.text) if human is not None and note.ok else None
            known_by = secrets.token_hex(8) if note.known_by is None else note.known_by
            client = hashlib.sha256(f"{self._salt}\0{known_by}".encode()).hexdigest()[:16]
            seen[note.loaded.champion.model, note.loaded.version].append(
                Seen(client, note.ok, note.tokens, note.first_ms, note.token_ms, ruler if style is not None else "", style)
            )
        for (model, version), rows in seen.items():
            self._observations.add(model, version, rows)

    def _ruler(self, loaded: Loaded) -> tuple[HumanStyle | None, str]:
        """Of the champion's release, for a challenger as well: the two are held to the same human texts."""
        champion = next((each.champion for each in self._styles.current if each.style == loaded.style), loaded.champion)
        known = self._human.get(loaded.style)
        if known is None or known[0] != champion:
            try:
                human, name = self._records.human(loaded.style, champion)
                known = champion, human, name
            except Exception as error:  # without a ruler everything else goes on
                _log.warning("style is not measured", extra={"about": {"style": loaded.style, "why": str(error)}})
                known = champion, None, ""
            self._human[loaded.style] = known
        return known[1], known[2]

    def _judge(self, loaded: Loaded, trial: Trial | None, trials: Sequence[Trial]) -> None:
        champion, model, most = loaded.champion, loaded.champion.model, self.policy.window
        mine = self._observations.newest(model, loaded.version, champion.at, most)
        figures = {(model, loaded.version): summary(mine) | {"role": "champion"}}
        on_trial = self.challengers.of(loaded.style)
        if trial is not None and on_trial is not None:
            theirs = self._observations.newest(model, trial.version, trial.at, most)
            figures[model, trial.version] = summary(theirs) | {"role": "shadow" if trial.shadow else "challenger"}
            since = self._observations.newest(model, loaded.version, trial.at, most)
            self._judge_challenger(loaded, trial, judge(theirs, since, self.policy, f"v{loaded.version}", speed=True))
        self.figures = {key: value for key, value in self.figures.items() if key[0] != model} | figures
        returned = any(one.event == "return" and one.move == champion.sequence for one in trials)
        if self.policy.automatic_return and champion.promoted and champion.replaced is not None and not returned:
            before = self._observations.newest(model, champion.replaced, None, most)
            self._judge_champion(loaded, trials, judge(mine, before, self.policy, f"v{champion.replaced}", speed=False))

    def _judge_challenger(self, loaded: Loaded, trial: Trial, findings: list[Finding]) -> None:
        verdict = verdict_of(findings)
        if verdict == "FAIL":
            self._decide(loaded, trial, self._decision("end", trial.version, trial.bundle, findings, "FAIL"))
        elif verdict == "PASS" and self.policy.automatic_promotion:
            self._decide(loaded, trial, self._decision("promote", trial.version, trial.bundle, findings, "PASS"))

    def _judge_champion(self, loaded: Loaded, trials: Sequence[Trial], findings: list[Finding]) -> None:
        if verdict_of(findings) == "FAIL":
            newest = trials[-1] if trials else None
            self._decide(loaded, newest, self._decision("return", loaded.version, loaded.engine.digest, findings, "FAIL"))

    def _decision(self, event: TrialEvent, version: int, bundle: str, findings: list[Finding], told: Verdict) -> Decision:
        reason = " ".join(finding.sentence for finding in findings if finding.verdict == told)
        evidence = {"findings": [finding.as_json() for finding in findings], "policy": self.policy.model_dump(mode="json")}
        return Decision(event, version, bundle, f"by policy: {reason}"[:500], evidence)

    def _decide(self, loaded: Loaded, seen: Trial | None, decision: Decision) -> None:
        about = {"style": loaded.style, "what": decision.event, "version": decision.version, "why": decision.reason}
        _log.warning("decided", extra={"about": about})
        self._records.decide(loaded.style, seen, loaded.champion, decision)
