"""Whether a verdict asks for less than what made the champions before it: by the rank of its policy, then gate by gate.

The rank (`strictness`) is what a policy says of itself, so it is compared first and never alone. A rollback lowers
nothing: what counts is the strictest policy under which the model ever had a champion.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from timbre.artifacts import ArtifactStore, sha256_file
from timbre.config import Profile
from timbre.gates.policy import Policy, read_policy
from timbre.registry.ledger import Transition
from timbre.settings import settings

_NAMED = 5
"""So many gates a sentence names."""


def policy_in_force(policy: Mapping[str, Any]) -> Policy | None:
    """The policy that a verdict names, or None if its file is gone or was edited since."""
    path = _path(policy["name"])
    return read_policy(path) if path.is_file() and sha256_file(path) == policy.get("digest") else None


def why_weaker(verdict: Mapping[str, Any], transitions: Sequence[Transition], store: ArtifactStore) -> str:
    """In what a PASS verdict asks for less than the champions among `moves` had to show, and what to do; empty if in nothing.

    Where the verdict of such a champion is not on this machine, the rank of its policy alone decides.

    Raises:
        IntegrityError: the verdict of such a champion is damaged.
    """
    if not transitions:
        return ""
    policy, champion = verdict["policy"], transitions[-1]
    strictest = max(reversed(transitions), key=lambda transition: transition.strictness)  # of equals the latest
    if policy["strictness"] < strictest.strictness:
        whose = f"the champion v{strictest.version} is" if strictest.version == champion.version else f"v{strictest.version} was"
        kept = "" if strictest.version == champion.version else ", and a rollback does not lower what is asked"
        return f"{whose} certified under the stricter {strictest.policy!r}{kept}: run `{_run_under(strictest.policy)}`"
    for transition in dict.fromkeys((strictest, champion)):
        if weaker := _weaker_gates(verdict, transition, store):
            return _sentence(policy["name"], transition, weaker)
    return ""


def _sentence(name: str, transition: Transition, weaker: Sequence[str]) -> str:
    gates = ", ".join(weaker[:_NAMED]) + (f" and {len(weaker) - _NAMED} more" if len(weaker) > _NAMED else "")
    file = f"mlflow/policies/{name}.toml"
    if transition.policy == name:
        return (
            f"its wording now asks for less than the one that certified v{transition.version} ({gates}): put these gates back into {file}"
        )
    return (
        f"it asks for less than {transition.policy!r}, which certified v{transition.version} ({gates}): "
        f"run `{_run_under(transition.policy)}`, or add these gates to {file}, no looser than there"
    )


def _run_under(policy: str) -> str:
    return f"timbre run --profile {policy}" if policy in get_args(Profile) else f"timbre run --set gate.policy={policy}"


def _path(policy: str) -> Path:
    return settings().file(f"mlflow/policies/{policy}.toml")


def _weaker_gates(verdict: Mapping[str, Any], transition: Transition, store: ArtifactStore) -> list[str]:
    """Gates of a champion's policy that the verdict's lacks or holds to a weaker bound.

    By the policies where both are in force, else by what the two verdicts say of their gates.
    """
    try:
        certified = store.open("verdict", transition.verdict).json("verdict.json")
    except ValueError:
        return []  # it was promoted from another machine
    if certified["policy"].get("digest") == verdict["policy"]["digest"]:
        return []
    ours, theirs = policy_in_force(verdict["policy"]), policy_in_force(certified["policy"])
    if ours is not None and theirs is not None:
        return ours.weaker_gates(theirs)
    return [gate["name"] for gate in certified["gates"] if not any(_as_strict(own, gate) for own in verdict["gates"])]


def _as_strict(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a judged gate, as `verdict.json` tells of it, asks for no less than another."""
    if any(own.get(name) != other.get(name) for name in ("kind", "metric")):
        return False
    match other.get("kind"):
        case "non_inferiority":
            return bool(own["margin"] <= other["margin"])
        case "ceiling":
            return bool(own["limit"] <= other["limit"])
        case "floor":
            return bool(own["limit"] >= other["limit"])
        case _:
            return True
