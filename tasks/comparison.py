"""Two registered versions side by side, from the artifacts that their tags name."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from timbre import pipeline
from timbre.artifacts import FileInput, IntegrityError
from timbre.config import ModelConfig
from timbre.gates.verdict import Judgement
from timbre.settings import settings
from timbre.tasks.bundles import artifact_of, find_version
from timbre.tasks.context import registered_name
from timbre.tasks.environment import prepare

_STEPS = ("evaluation", "bundle", "adapter", "target", "corpus")


@dataclass(frozen=True)
class Comparison:
    """What the gates say of one version against the other, and where the page lies."""

    model: str
    candidate: int
    rival: int
    judgement: Judgement
    page: Path


def compare_versions(style: str, model: ModelConfig, candidate: int, rival: int, folder: Path | None = None) -> Comparison:
    """Judge version `candidate` against version `rival` under the policy that the candidate was released under.

    Raises:
        ValueError: no such version, or its evidence is not on this machine.
        IntegrityError: the evidence is damaged.
    """
    prepare(settings())
    from timbre.gates.comparison import compare

    name = registered_name(style, model)
    ours, theirs = find_version(name, candidate), find_version(name, rival)
    artifacts = {step: artifact_of(ours, step) for step in _STEPS}
    with suppress(ValueError):  # neither, where one was never asked
        artifacts |= {"misuse": artifact_of(ours, "misuse"), "base_misuse": artifact_of(theirs, "misuse")}
    artifacts["candidate"], artifacts["base"] = artifacts.pop("evaluation"), artifact_of(theirs, "evaluation")
    place = folder or _folder(name, candidate, rival)
    place.mkdir(parents=True, exist_ok=True)
    policy = FileInput(pipeline.policy_path(ours.tags["timbre.policy"]))
    judgement = compare(artifacts, policy, (f"v{candidate}", f"v{rival}"), place)
    return Comparison(name, candidate, rival, judgement, place / "report.html")


def compare_with_champion(style: str, model: ModelConfig, candidate: int, champion: int) -> Path | None:
    """The page of a released candidate against the champion that it met, made once.

    None, with a warning, where the champion's evidence is not on this machine, is damaged, or of an older form.
    """
    name = registered_name(style, model)
    if candidate == champion:
        return None
    if (page := comparison_page(name, candidate, champion)) is not None:
        return page
    try:
        return compare_versions(style, model, candidate, champion).page
    except Exception as error:  # the candidate is released by now: nothing that hinders a page may fail that
        why = str(error) if isinstance(error, ValueError | IntegrityError) else f"{type(error).__name__}: {error}"
        warnings.warn(f"v{candidate} is not compared with v{champion}: {why}", stacklevel=2)
        return None


def comparison_page(name: str, candidate: int, rival: int | None) -> Path | None:
    """The page of two versions if it was made before."""
    folder = None if rival is None else _folder(name, candidate, rival)
    return folder / "report.html" if folder is not None and (folder / "report.md").is_file() else None  # report.md is written last


def _folder(name: str, candidate: int, rival: int) -> Path:
    return settings().home / "comparisons" / f"{name}-v{candidate}-v{rival}"
