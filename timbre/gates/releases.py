"""Evidence of base and candidate is compared only where it was had under the same releases of the libraries that run a model.

The policy is in `timbre.versions`. An evaluation says under which it was measured, and of what it read under which that was
written; the texts of base and candidate are two such artifacts.
"""

from collections.abc import Mapping

from timbre.artifacts import Artifact
from timbre.versions import other_releases, release, versions

_WRITTEN = ("generations", "memorisation")


def measured_under_others(candidate: Artifact, base: Artifact) -> str | None:
    """Why the evidence of two evaluations cannot be compared, and what to remove; None where it can."""
    ours, theirs = _had_under(candidate), _had_under(base)
    for work, libraries in theirs.items():
        own = ours.get(work, ours["generations"] if work in _WRITTEN and "generations" in ours else ours["evaluation"])
        for name, (mine, other) in other_releases(own, libraries).items():
            done = "measured" if work == "evaluation" else "written"
            old = _older(candidate, base, release(mine) == release(versions().get(name, "")), work)
            return (
                f"stale: base and candidate were {done} under different releases of {name} ({other} and {mine}): "
                f"remove {old} to have it built again"
            )
    return None


def _had_under(evaluation: Artifact) -> dict[str, Mapping[str, str]]:
    """The evaluation itself and the texts it measured -> the libraries that they were built with."""
    of_inputs = evaluation.manifest.built.get("libraries_of_inputs", {})
    return {"evaluation": evaluation.libraries} | {name: of_inputs[name] for name in _WRITTEN if name in of_inputs}


def _older(candidate: Artifact, base: Artifact, candidate_is_new: bool, work: str) -> str:
    """The folder of the one that was not built with what is installed, and of the texts that it measured where these are meant."""
    which = base if candidate_is_new else candidate
    texts = which.manifest.inputs.get(work) or which.manifest.inputs.get("generations")
    if work == "evaluation" or texts is None:
        return str(which.path)
    return f"{which.path} and {which.path.parent.parent / 'generations' / texts}"
