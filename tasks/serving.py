"""Champions for the server: the ledger says who, this home or MLflow has the bundle; and what was seen of them."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import Artifact
from timbre.config import ModelConfig
from timbre.export.base import served_file
from timbre.registry.ledger import CompareAndSetLost, Ledger, Transition
from timbre.registry.signing import check_signature
from timbre.registry.trials import Trial
from timbre.serving.challengers import Decision
from timbre.serving.champions import Champion
from timbre.serving.observations import Observations
from timbre.serving.policy import ServingPolicy
from timbre.serving.style import HumanStyle
from timbre.settings import settings
from timbre.tasks.bases import base_of, baseline_of
from timbre.tasks.bundles import bundle_of
from timbre.tasks.context import open_ledger, open_store, registered_name
from timbre.tasks.quantised import base_file, weights_of
from timbre.tasks.references import reference_of
from timbre.tasks.runtimes import runtime_of

if TYPE_CHECKING:
    from timbre.serving.runtimes import Runtime

_STARTS = 3
"""How often a process that is to begin a trial is started, where it is killed."""


def champion_of(transition: Transition) -> Champion:
    """What a move of the ledger says of the champion."""
    return Champion(
        transition.model, transition.sequence, transition.version, transition.kind == "promote", transition.replaced_version, transition.at
    )  # fmt: skip


class LedgerChampions:
    """Implements `timbre.serving.champions.Champions` and `timbre.serving.watch.Records` for one base model."""

    def __init__(self, model: ModelConfig, trusted: Path | None = None, *, precision: str = "fp32", engine: str = "onnx") -> None:
        """Where champions come from.

        Args:
            trusted: the public key that every bundle has to be signed with; None asks for no signature.
            precision: fp32, int8, int4, or auto: what a bundle's manifest names (`timbre quantise`), fp32 where none does.
            engine: what runs it: onnx, torch or genai (`timbre.serving.runtimes`).
        """
        self._model, self._trusted, self._precision, self._engine = model, trusted, precision, engine
        self._names: dict[str, str] = {}
        self._ledger: Ledger | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def champion(self, style: str) -> Champion:
        if style not in self._names:
            self._names[style] = registered_name(style, self._model)
        name = self._names[style]
        transition = self._open_ledger().latest(name)
        if transition is None:
            raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one, `timbre status` shows what there is")
        return champion_of(transition)

    def bundle(self, style: str, champion: Champion) -> Path:
        trials = self._open_ledger().trials(champion.model)
        digest = trials[-1].bundle if trials and trials[-1].version == champion.version else None
        served = bundle_of(style, self._model, champion.version, digest)
        if served.version != champion.version:
            raise ValueError(f"{champion.model} v{champion.version} is not to be had under {settings().home}")
        if self._trusted is not None:
            check_signature(settings().home, served.artifact.digest, self._trusted)
        return served.artifact.path

    def weights(self, bundle: Artifact) -> "Path | Runtime | None":
        return weights_of(bundle, self._precision) if self._engine == "onnx" else runtime_of(bundle, self._engine, self._precision)

    def reference(self, bundle: Artifact) -> Artifact:
        return reference_of(bundle)

    def base(self, bundle: Artifact) -> Path:
        return base_file(bundle, self._precision if self._engine == "onnx" else "fp32")

    def baseline(self, style: str, champion: Champion) -> tuple[str, str] | None:
        moves = [move for move in self._open_ledger().transitions(champion.model) if move.version == champion.version]
        return baseline_of(moves[-1].verdict) if moves else None

    def baseline_file(self, bundle: Artifact, adapter: str) -> Path:
        return served_file(base_of(bundle, adapter))

    def observations(self) -> Observations:
        return Observations(settings().ledger)

    def human(self, style: str, champion: Champion) -> tuple[HumanStyle, str]:
        moves = [move for move in self._open_ledger().transitions(champion.model) if move.version == champion.version]
        return human_of(moves[-1].verdict)

    def trials(self, style: str, champion: Champion) -> list[Trial]:
        return self._open_ledger().trials(champion.model)

    def decide(self, style: str, seen: Trial | None, champion: Champion, decision: Decision) -> None:
        kept = seen if seen is not None and decision.event != "return" else None
        try:
            self._open_ledger().add_trial(
                seen, model=champion.model, event=decision.event, version=decision.version, bundle=decision.bundle, move=champion.sequence,
                reason=decision.reason, evidence=decision.evidence, share=kept.share if kept else 0.0,
                shadow=kept.shadow if kept else False, seed=kept.seed if kept else 0,
            )  # fmt: skip
        except CompareAndSetLost:
            return

    def settle(self, style: str) -> None:
        self._run(style, "settle")

    def begin_trials(self, styles: Sequence[str], policy: ServingPolicy) -> None:
        """Put the challenger of each style on trial as the policy says, in a process of its own: the registry is no part of a server.

        A process that was killed is started again.
        """
        how = ["--share", str(policy.share), *(["--shadow"] if policy.challenger == "shadow" else []), "--reason", "timbre serve"]

        def begin(style: str) -> None:
            for _ in range(_STARTS):
                self._run(style, "start", *how)
                if self._running[style].wait() >= 0:
                    return

        for style in styles:
            threading.Thread(target=begin, args=(style,), name=f"begin the trial of {style}", daemon=True).start()

    def _run(self, style: str, verb: str, *more: str) -> None:
        """`timbre canary VERB`, unless one runs for this style; what it refuses it says on stderr, where the log is."""
        running = self._running.get(style)
        if running is None or running.poll() is not None:
            command = [sys.executable, "-m", "timbre.cli", "canary", verb, "--style", style, "--model", self._model.name, *more]
            self._running[style] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = open_ledger()
        return self._ledger


def human_of(verdict: str) -> tuple[HumanStyle, str]:
    """Rulers of the human continuations that a release was held to, and their name.

    Raises:
        ValueError: they are not on this machine, or too few.
    """
    store = open_store()
    try:
        evaluation = store.open("evaluation", store.open("verdict", verdict).json("verdict.json")["subject"]["candidate"])
        generations = store.open("generations", evaluation.manifest.inputs["generations"])
    except KeyError as error:
        raise ValueError(f"the verdict names no human texts ({error})") from error
    human = {row["prompt_id"]: row["human"] for row in generations.json_lines("generations.jsonl") if row["kind"] == "style"}
    return HumanStyle(human.values()), generations.digest[:16]
