"""Finding and building the steps of a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from timbre.pipeline.steps import STEP, STEPS, Step

if TYPE_CHECKING:
    from pydantic import BaseModel

    from timbre.artifacts import Artifact, ArtifactStore, Input
    from timbre.config import ReleaseConfig


def steps_of(config: ReleaseConfig) -> tuple[Step, ...]:
    """The steps of this release, in order."""
    return tuple(step for step in STEPS if step.when(config))


def needs_of(step: Step, config: ReleaseConfig) -> dict[str, str]:
    """What `step` reads of the steps that this release has: input name -> step."""
    return {name: needed for name, needed in step.needs.items() if STEP[needed].when(config)}


def config_of(step: Step, config: ReleaseConfig) -> BaseModel:
    """The part of the configuration that `step` is built with."""
    if step.settings is not None:
        return step.settings(config)
    section: BaseModel = getattr(config, step.section)
    return section


def inputs_of(step: Step, config: ReleaseConfig, built: Mapping[str, Artifact]) -> dict[str, Input]:
    """Everything `step` reads: artifacts of earlier steps, and files under version control.

    Raises:
        ValueError: an earlier step is not built; the sentence says how to build it.
    """
    needs = needs_of(step, config)
    for needed in needs.values():
        if needed not in built:
            raise ValueError(f"{step.verb} needs the {needed} first: `{command_of(needed)} --style {config.style}` builds it")
    inputs: dict[str, Input] = {name: built[needed] for name, needed in needs.items()}
    return inputs | dict(step.files(config))


def command_of(name: str) -> str:
    """What builds a step; those that DVC owns are built by a whole run."""
    return "timbre run" if STEP[name].versioned else f"timbre stage {STEP[name].verb}"


def find(config: ReleaseConfig, store: ArtifactStore, *, crashed: bool = False) -> dict[str, Artifact]:
    """The steps of this release that stand in the store already, by name.

    Args:
        crashed: with what steps left that crashed at their last try, and what follows from it.
    """
    built: dict[str, Artifact] = {}
    for step in steps_of(config):
        if all(needed in built for needed in needs_of(step, config).values()):
            key = step.stage.key(config_of(step, config), inputs_of(step, config, built))
            if (artifact := store.find(step.stage.name, key, crashed=crashed)) is not None:
                built[step.name] = artifact
    return built


def build(name: str, config: ReleaseConfig, store: ArtifactStore, built: Mapping[str, Artifact]) -> Artifact:
    """Build (or find) one step from what is built before it.

    Raises:
        ValueError: an earlier step is missing, this release has no such step, or the stage refuses its input.
        IntegrityError: something it reads is damaged.
    """
    step = STEP[name]
    if not step.when(config):
        raise ValueError(f"this release has no {name}: set baseline.objective, evaluation.score or target.level to have one")
    return store.build(step.stage, config_of(step, config), inputs_of(step, config, built))
