"""Promotion and rollback: a ledger row first, then the aliases, which can always be repaired from the ledger.

There is no force. A version becomes champion only on a PASS verdict about that very bundle, and a verdict under a
weaker policy cannot replace a champion that was certified under a stricter one (timbre.registry.strictness). The policy
must be the one in force, word for word, and what did not pass under an earlier wording does not pass by rewording:
margins are written before the figures are seen. Every verdict is a row of the ledger, PASS or not, so this holds for whoever
shares the ledger, on whatever machine the earlier verdict was reached.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from timbre.artifacts import MANIFEST, Artifact, ArtifactStore, IntegrityError
from timbre.registry.ledger import Judged, Ledger, Transition
from timbre.registry.ports import CHALLENGER, CHAMPION, PREVIOUS, ModelRegistry, Version
from timbre.registry.signing import sign_promoted
from timbre.registry.strictness import policy_in_force, why_weaker
from timbre.registry.voice import why_further
from timbre.statistics import Verdict

_ROUNDS = 10
"""So often `repair` looks again; each round is a move that somebody else made meanwhile, and repairs after."""


class PromotionRefused(Exception):
    """The evidence does not allow this promotion. The message says which part of it.

    `outcome` is the verdict that stands in the way: FAIL (also for evidence about something else) or INCONCLUSIVE; PASS
    if every gate passed and it is the policy that does not allow it.
    """

    def __init__(self, message: str, outcome: Verdict) -> None:
        super().__init__(message)
        self.outcome = outcome


def judged_of(model: str, verdict: Artifact) -> Judged:
    """What the ledger writes down of a verdict.

    Raises:
        IntegrityError: it is no verdict.
    """
    document: dict[str, Any] = verdict.json("verdict.json")
    policy, subject = document["policy"], document["subject"]
    return Judged(
        model=model, verdict=verdict.digest, outcome=document["verdict"], policy=policy["name"], wording=policy.get("digest", ""),
        strictness=policy["strictness"], bundle=subject["bundle"], candidate=subject["candidate"], base=subject["base"],
    )  # fmt: skip


def certify(version: Version, store: ArtifactStore, ledger: Ledger) -> dict[str, Any]:
    """The PASS verdict of `version`, read and verified now.

    Raises:
        PromotionRefused: the verdict is not PASS, is about another bundle, or its policy was edited since or before.
        ValueError: the verdict artifact is not in this home.
        IntegrityError: it is damaged.
    """
    verdict = _evidence(version, store)
    _check_policy(version, verdict, store)
    _check_wordings(version, judged_of(version.model, store.open("verdict", version.verdict)), ledger)
    return verdict


def _evidence(version: Version, store: ArtifactStore) -> dict[str, Any]:
    """The PASS verdict about the bundle of `version`, whatever its policy; it raises what `certify` does."""
    verdict: dict[str, Any] = store.open("verdict", version.verdict).json("verdict.json")
    who = f"{version.model} v{version.number}"
    if verdict["subject"]["bundle"] != version.bundle:
        raise PromotionRefused(f"{who}: its verdict is about another bundle; run `timbre run` for fresh evidence", "FAIL")
    if (outcome := verdict["verdict"]) != "PASS":
        failing = ", ".join(gate["name"] for gate in verdict["gates"] if gate["verdict"] != "PASS")
        raise PromotionRefused(f"{who}: the verdict is {outcome} ({failing}); only PASS is promoted", outcome)
    return verdict


def _check_policy(version: Version, verdict: dict[str, Any], store: ArtifactStore) -> None:
    """The policy of a PASS verdict is the one in force, and was not reworded after figures of this candidate were seen."""
    policy, who = verdict["policy"], f"{version.model} v{version.number}"
    if policy_in_force(policy) is None:
        raise PromotionRefused(
            f"{who}: the policy {policy['name']!r} was edited after this verdict; `timbre run` judges by the wording in force", "PASS"
        )
    folder = store.home / "artifacts" / "verdict"
    ours = _built_at(folder / version.verdict)
    for other in sorted(folder.glob("[!.]*/verdict.json")):
        try:
            earlier, when = json.loads(other.read_bytes()), _built_at(other.parent)
            reworded = earlier["policy"]["name"] == policy["name"] and earlier["policy"].get("digest") != policy["digest"]
            same = all(earlier["subject"].get(name) == verdict["subject"].get(name) for name in ("bundle", "candidate", "base"))
            outcome = str(earlier["verdict"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a damaged verdict is no verdict; `timbre doctor` names it
        if reworded and same and outcome != "PASS" and when <= ours:
            raise _reworded(who, outcome, policy["name"])


def _check_wordings(version: Version, ours: Judged, ledger: Ledger) -> None:
    """The same by the ledger, which also knows of verdicts that other machines reached before ours."""
    for earlier, _ in ledger.verdicts(version.model):
        if earlier.verdict == ours.verdict:
            return
        same = (earlier.evidence, earlier.policy) == (ours.evidence, ours.policy)
        if same and earlier.wording != ours.wording and earlier.outcome != "PASS":
            raise _reworded(f"{version.model} v{version.number}", earlier.outcome, ours.policy)


def _reworded(who: str, outcome: str, policy: str) -> PromotionRefused:
    return PromotionRefused(
        f"{who}: the same evidence was {outcome} under an earlier wording of the policy {policy!r}; a margin is written "
        "before the figures are seen. Measure anew (`timbre run --set evaluation.seed=…`)",
        "PASS",
    )


def _built_at(folder: Path) -> str:
    """When a verdict was reached, ISO 8601 in UTC; nothing but the order of verdicts hangs on it."""
    return str(json.loads((folder / MANIFEST).read_bytes())["built"]["at"])


def promote(version: Version, registry: ModelRegistry, ledger: Ledger, store: ArtifactStore, *, reason: str) -> Transition:
    """Make `version` champion; a version that is champion already stays so, without a new row.

    Raises:
        PromotionRefused: see `certify`; a champion of this model was certified under a stricter policy; or the best champion writes nearer
            to human text (timbre.registry.voice).
        CompareAndSetLost: somebody else promoted meanwhile.
    """
    verdict = certify(version, store, ledger)
    transitions = ledger.transitions(version.model)
    seen = transitions[-1] if transitions else None
    if seen is not None and seen.version == version.number:
        repair(version.model, registry, ledger)
        return seen
    policy = verdict["policy"]
    if weaker := why_weaker(verdict, transitions, store):
        raise PromotionRefused(f"{version.model} v{version.number} passed policy {policy['name']!r}, but {weaker}", "PASS")
    if further := why_further(verdict, transitions, store):
        raise PromotionRefused(f"{version.model} v{version.number} passed policy {policy['name']!r}, but {further}", "PASS")
    sign_promoted(store.home, version.bundle)  # before anybody sees a champion
    transition = ledger.append(
        seen,
        model=version.model,
        kind="promote",
        version=version.number,
        verdict=version.verdict,
        policy=policy["name"],
        strictness=policy["strictness"],
        reason=reason,
    )
    repair(version.model, registry, ledger)
    return transition


def rollback(model: str, registry: ModelRegistry, ledger: Ledger, store: ArtifactStore, *, reason: str) -> Transition:
    """Swap champion and previous, if what made the previous one champion still holds: its evidence and its bundle.

    The policy it passed may have been edited since: it is not judged again.

    Raises:
        ValueError: there is no previous champion to return to, its version was deleted from the registry, its evidence
            is not on this machine, or its bundle cannot be had.
        IntegrityError: evidence or bundle is damaged.
    """
    seen = ledger.latest(model)
    if seen is None or seen.replaced_version is None:
        raise ValueError(f"{model} has no previous champion to roll back to; see `timbre history`")
    returning = next((version for version in registry.versions(model) if version.number == seen.replaced_version), None)
    if returning is None:
        raise ValueError(
            f"{model} v{seen.replaced_version}, the champion before, is gone from the registry, so nothing was rolled back: "
            "restore it there, or promote another version"
        )
    _check_return(returning, registry, store)
    certified = next(transition for transition in reversed(ledger.transitions(model)) if transition.version == seen.replaced_version)
    transition = ledger.append(
        seen,
        model=model,
        kind="rollback",
        version=certified.version,
        verdict=certified.verdict,
        policy=certified.policy,
        strictness=certified.strictness,
        reason=reason,
    )
    repair(model, registry, ledger)
    return transition


def _check_return(version: Version, registry: ModelRegistry, store: ArtifactStore) -> None:
    """The evidence of a champion before opens here, and its bundle here or from the registry. Raises what `rollback` does."""
    who = f"{version.model} v{version.number}, the champion before"
    nothing = "so nothing was rolled back"
    try:
        _evidence(version, store)
    except ValueError as error:
        raise ValueError(f"the evidence of {who}, is not on this machine, {nothing}: do this where it was made ({error})") from error
    except IntegrityError as error:
        raise IntegrityError(f"the evidence of {who}, is damaged, {nothing}: {error}") from error
    try:
        _open_bundle(version, registry, store)
    except ValueError as error:
        raise ValueError(f"the bundle of {who}, is not to be had, {nothing}: {error}") from error
    except IntegrityError as error:
        raise IntegrityError(f"the bundle of {who}, is damaged, {nothing}: {error}") from error


def _open_bundle(version: Version, registry: ModelRegistry, store: ArtifactStore) -> None:
    """Open the bundle of `version`, verified; one that is not on this machine is fetched for it and not kept."""
    if (store.home / "artifacts" / "bundle" / version.bundle).exists():
        store.open("bundle", version.bundle)
        return
    with tempfile.TemporaryDirectory(prefix="timbre-bundle-") as folder:
        fetched = Artifact.open(registry.download(version, Path(folder)))
    if fetched.digest != version.bundle:
        raise IntegrityError(f"the registry holds bundle {fetched.digest[:12]}, its tag says {version.bundle[:12]}")


def gone(model: str, registry: ModelRegistry, ledger: Ledger) -> list[str]:
    """A sentence for champion and previous each whose version was deleted from the registry; empty if all is well."""
    state = ledger.latest(model)
    if state is None:
        return []
    present = {version.number for version in registry.versions(model)}
    holders = ((CHAMPION, state.version, "restore it, roll back, or promote another"), (PREVIOUS, state.replaced_version, "no rollback"))
    return [
        f"{model} v{number} is {alias} in the ledger but gone from the registry: {then}"
        for alias, number, then in holders
        if number is not None and number not in present
    ]


def repair(model: str, registry: ModelRegistry, ledger: Ledger) -> None:
    """Make the aliases say what the ledger says. Harmless when they do already; run at every start.

    Two machines may do so at once, and the one that knows the older move may set its alias last. So each looks again
    afterwards, until the move that it followed is the latest.

    Raises:
        ValueError: the champion's version was deleted from the registry.
    """
    state = ledger.latest(model)
    for _ in range(_ROUNDS):
        if state is None:
            return
        _set_aliases(state, registry)
        ledger.mark_applied(state)
        followed, state = state, ledger.latest(model)
        if state is None or state.sequence == followed.sequence:
            return


def heal(model: str, registry: ModelRegistry, ledger: Ledger) -> None:
    """`repair`, except that a champion that is gone from the registry (see `gone`) is no hindrance to what comes next."""
    state = ledger.latest(model)
    if state is not None and state.version in {version.number for version in registry.versions(model)}:
        repair(model, registry, ledger)


def _set_aliases(state: Transition, registry: ModelRegistry) -> None:
    versions = {version.number: version for version in registry.versions(state.model)}
    if state.version not in versions:
        raise ValueError(f"{state.model} v{state.version} is champion in the ledger but gone from the registry: restore it, or roll back")
    holders = {alias: version.number for version in versions.values() for alias in version.aliases}
    if holders.get(CHAMPION) != state.version:
        registry.set_alias(state.model, CHAMPION, state.version)
    if state.replaced_version is None or state.replaced_version not in versions:
        if PREVIOUS in holders:
            registry.delete_alias(state.model, PREVIOUS)
    elif holders.get(PREVIOUS) != state.replaced_version:
        registry.set_alias(state.model, PREVIOUS, state.replaced_version)
    if holders.get(CHALLENGER) == state.version:
        registry.delete_alias(state.model, CHALLENGER)


def publish(
    model: str,
    bundle: Artifact,
    verdict: Artifact,
    lineage: dict[str, str],
    registry: ModelRegistry,
    ledger: Ledger,
    store: ArtifactStore,
    *,
    promotion: str,
    reason: str,
) -> tuple[Version | None, Transition | None]:
    """Register a judged bundle and, when it passed and promotion is automatic, promote it.

    A FAIL is not registered, but every verdict is written into the ledger. The run digest (the verdict's) makes it idempotent:
    a verdict that was published before gets no second version, and one that the ledger has seen promoted is not promoted
    again, also after a rollback. Aliases that did not follow an earlier move are repaired first, whatever this verdict says.

    Returns:
        The version (None after FAIL), and the move that this call made (None if it made none).
    """
    ledger.record(judged_of(model, verdict))
    heal(model, registry, ledger)
    outcome = verdict.json("verdict.json")["verdict"]
    if outcome == "FAIL":
        return None, None
    known = [version for version in registry.versions(model) if version.tags.get("timbre.verdict") == verdict.digest]
    tags = {**lineage, "timbre.verdict": verdict.digest, "timbre.bundle": bundle.digest, "timbre.outcome": outcome}
    version = known[0] if known else registry.register(model, bundle.path, tags)
    if any(transition.verdict == verdict.digest for transition in ledger.transitions(model)):
        repair(model, registry, ledger)
        return version, None
    if CHALLENGER not in version.aliases:
        registry.set_alias(model, CHALLENGER, version.number)
    if outcome != "PASS" or promotion != "auto":
        return version, None
    return version, promote(version, registry, ledger, store, reason=reason)
