"""Trials of challengers in serving, by hand or by a release, and carrying out what the ledger says is due."""

import secrets
from dataclasses import dataclass
from typing import Any

from timbre.config import ModelConfig
from timbre.registry import promotion
from timbre.registry.ledger import Ledger, Transition
from timbre.registry.ports import CHALLENGER, Version
from timbre.registry.promotion import PromotionRefused
from timbre.registry.trials import Trial, due, open_trial
from timbre.serving.observations import Observations
from timbre.serving.policy import POLICY, judge, project_policy, summary
from timbre.settings import settings
from timbre.tasks.automations import PROMOTED, ROLLED_BACK
from timbre.tasks.bundles import find_version
from timbre.tasks.context import open_store, publishing, registered_name
from timbre.tasks.environment import prepare
from timbre.tasks.events import tell


@dataclass(frozen=True)
class Way:
    """How a challenger is tried."""

    share: float
    shadow: bool = False
    seed: int | None = None


def begin(style: str, model: ModelConfig, number: int | None, way: Way, reason: str) -> Trial:
    """Put a version on trial: that which is `challenger` in the registry unless one is named.

    Raises:
        ValueError: no such version or none is challenger, it is champion, another one is on trial, a decision is not carried out yet,
            or the style has no champion.
        PromotionRefused: its texts would be returned, and it has no PASS verdict that counts.
    """
    prepare(settings())
    with publishing() as ledger:
        return _begin(ledger, _version(registered_name(style, model), number), way, reason)


def stop(style: str, model: ModelConfig, reason: str) -> Trial:
    """End the trial of a style.

    Raises:
        ValueError: nothing is on trial.
    """
    return _decide(style, model, "end", reason)


def promote(style: str, model: ModelConfig, reason: str) -> Transition:
    """Make the version on trial champion, with what was seen of it as evidence in the ledger.

    Where that was decided already, and whoever decided was killed before the champion moved, it is carried out.

    Raises:
        ValueError: nothing is on trial.
        PromotionRefused: as `timbre.registry.promotion.promote`; the trial is ended.
    """
    prepare(settings())
    with publishing() as ledger:
        left = _due(ledger, registered_name(style, model))
        if left is not None and left.event == "promote" and (done := _carry_out(ledger, left)) is not None:
            return _told(style, left, done)
    decided = _decide(style, model, "promote", reason)
    with publishing() as ledger:
        done = _carry_out(ledger, decided)
    assert done is not None
    return _told(style, decided, done)


def settle(style: str, model: ModelConfig) -> Transition | None:
    """Carry out what the ledger says is due: a promotion, or a return to the champion before. None where nothing is.

    Raises:
        PromotionRefused, ValueError: it cannot be done; the ledger says so from then on, and why.
    """
    prepare(settings())
    with publishing() as ledger:
        decided = _due(ledger, registered_name(style, model))
        done = None if decided is None else _carry_out(ledger, decided)
    return done if decided is None or done is None else _told(style, decided, done)


def _told(style: str, decided: Trial, done: Transition) -> Transition:
    """The move, after the automations of a Prefect server heard of it."""
    event = PROMOTED if decided.event == "promote" else ROLLED_BACK
    tell(event, done.model, style=style, version=done.version, replaced=done.replaced_version, reason=done.reason)
    return done


def figures(style: str, model: ModelConfig) -> dict[str, Any]:
    """What was seen of champion and challenger, what is on trial, and how it stands; see `timbre status`."""
    from timbre.tasks.context import open_ledger

    ledger = open_ledger()
    try:
        return figures_of(registered_name(style, model), ledger)
    finally:
        ledger.close()


def figures_of(name: str, ledger: Ledger) -> dict[str, Any]:
    """The same of a registered model."""
    champion, trials = ledger.latest(name), ledger.trials(name)
    if champion is None:
        return {"champion": None, "challenger": None, "trial": None, "findings": [], "decisions": []}
    trial, policy = open_trial(trials, champion.sequence), project_policy()
    observations = Observations(settings().ledger)
    try:
        mine = observations.newest(name, champion.version, champion.at, policy.window)
        told: dict[str, Any] = {
            "champion": {"version": champion.version} | summary(mine), "challenger": None, "trial": None, "findings": [],
            "decisions": [one.as_json() for one in trials if one.event != "begin"],
        }  # fmt: skip
        if trial is not None:
            theirs = observations.newest(name, trial.version, trial.at, policy.window)
            since = observations.newest(name, champion.version, trial.at, policy.window)
            findings = judge(theirs, since, policy, f"v{champion.version}", speed=True)
            told |= {
                "challenger": {"version": trial.version} | summary(theirs), "trial": trial.as_json(),
                "findings": [finding.as_json() for finding in findings],
            }  # fmt: skip
        return told
    finally:
        observations.close()


def begin_after_release(name: str, version: Version, ledger: Ledger) -> Trial | None:
    """What `data/serving.toml` says of a version that a release registered and did not promote; None where it says nothing or cannot be."""
    policy, champion = project_policy(), ledger.latest(name)
    if policy.challenger == "off" or champion is None or champion.version == version.number:
        return None
    try:
        return _begin(ledger, version, Way(policy.share, policy.challenger == "shadow"), f"{POLICY}: challenger = {policy.challenger}")
    except (ValueError, PromotionRefused):
        return None


def _due(ledger: Ledger, name: str) -> Trial | None:
    """What was decided of a model and is not done yet."""
    champion = ledger.latest(name)
    return None if champion is None else due(ledger.trials(name), champion.sequence)


def _version(name: str, number: int | None) -> Version:
    if number is not None:
        return find_version(name, number)
    from timbre.tasks.stores.mlflow import MlflowStore

    found = next((version for version in MlflowStore.open(settings()).versions(name) if CHALLENGER in version.aliases), None)
    if found is None:
        raise ValueError(f"{name} has no challenger: name a version; `timbre status --all` lists them")
    return found


def _begin(ledger: Ledger, version: Version, way: Way, reason: str) -> Trial:
    if not 0 < way.share <= 1:
        raise ValueError(f"the share is {way.share:g}: give a number over 0 and up to 1")
    name, champion, trials = version.model, ledger.latest(version.model), ledger.trials(version.model)
    if champion is None:
        raise ValueError(f"{name} has no champion to be tried beside: promote a version first")
    if champion.version == version.number:
        raise ValueError(f"{name} v{version.number} is champion already")
    if (left := due(trials, champion.sequence)) is not None:
        what = "is to be promoted" if left.event == "promote" else "is to give way to the one before it"
        raise ValueError(f"{name} v{left.version} {what}, as was decided and not done yet: `timbre canary settle` does it")
    going = open_trial(trials, champion.sequence)
    if going is not None and (going.version, going.share, going.shadow) == (version.number, way.share, way.shadow):
        return going
    if going is not None:
        raise ValueError(f"{name} v{going.version} is on trial: `timbre canary stop` ends that first")
    if not way.shadow:
        promotion.certify(version, open_store(), ledger)
    return ledger.add_trial(
        trials[-1] if trials else None, model=name, event="begin", version=version.number, bundle=version.bundle, move=champion.sequence,
        reason=reason, share=way.share, shadow=way.shadow, seed=secrets.randbits(62) if way.seed is None else way.seed,
    )  # fmt: skip


def _decide(style: str, model: ModelConfig, event: Any, reason: str) -> Trial:
    name = registered_name(style, model)
    with publishing() as ledger:
        champion, trials = ledger.latest(name), ledger.trials(name)
        trial = None if champion is None else open_trial(trials, champion.sequence)
        if champion is None or trial is None:
            raise ValueError(f"nothing of {name} is on trial; `timbre canary start` begins one")
        seen = figures_of(name, ledger)
        return ledger.add_trial(
            trial, model=name, event=event, version=trial.version, bundle=trial.bundle, move=champion.sequence, reason=reason,
            share=trial.share, shadow=trial.shadow, seed=trial.seed,
            evidence={key: seen[key] for key in ("champion", "challenger", "findings")},
        )  # fmt: skip


def _carry_out(ledger: Ledger, decided: Trial) -> Transition | None:
    """The move that a decision asks for; what forbids it becomes the trial's end."""
    from timbre.tasks.stores.mlflow import MlflowStore

    registry, store, name = MlflowStore.open(settings()), open_store(), decided.model
    reason = f"trial {decided.number}: {decided.reason}"[:500]
    try:
        if decided.event == "promote":
            return promotion.promote(find_version(name, decided.version), registry, ledger, store, reason=reason)
        return promotion.rollback(name, registry, ledger, store, reason=reason)
    except (PromotionRefused, ValueError) as error:
        ledger.add_trial(
            decided, model=name, event="end", version=decided.version, bundle=decided.bundle, move=decided.move,
            reason=f"not done: {error}"[:500],
        )  # fmt: skip
        raise
