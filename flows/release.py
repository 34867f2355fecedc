"""The main job: from raw text to a promoted, exported model.

    timbre run --style literary --profile quick       the whole road, in minutes on a laptop
    timbre run --style literary --dry-run             what it would do, and how long that takes

Scheduled through `prefect.yaml`; there as here, a stage that stands in the artifact store shows as `Cached`.
"""

from typing import Any

from prefect import flow
from prefect.runtime import deployment

from timbre.budget import budget
from timbre.config import Frozen, Profile, check_profile, release_config
from timbre.flows.approval import wait_for_person
from timbre.flows.forms import Style
from timbre.pipeline import steps_of
from timbre.settings import settings
from timbre.tasks.approval import approvals
from timbre.tasks.data import DATA, data_tags
from timbre.tasks.forks import forking
from timbre.tasks.latest import link_pages
from timbre.tasks.release import Released, release
from timbre.tasks.runs import only_run
from timbre.tasks.stage import Built
from timbre.tasks.steps import run_step


class Outcome(Frozen):
    """A finished road: every step's artifact, and what became of the candidate."""

    steps: dict[str, Built]
    released: Released


@flow(name="release", flow_run_name="release-{style}-{profile}", persist_result=False)
def release_flow(style: Style = "literary", profile: Profile = "quick", seed: int = 1, overrides: dict[str, Any] = {}) -> Outcome:  # noqa: B006
    """Every step of this release in order, each on what it reads of those before it; then the release.

    Model, corpus and target; prompts, and what the base makes of them; the candidate's adapter, texts and evaluation (and a
    baseline's); the ONNX bundle; the verdict. `timbre.pipeline.steps` is the list. With `publish.promotion=manual` a run of a deployment
    then waits, suspended, for the form on its page (or `timbre approve`).

    Args:
        style: Whose manner is learnt.
        profile: quick takes minutes on a laptop, standard hours, gpu needs a GPU.
        seed: Moves target and training; splits and evaluation keep seeds of their own.
        overrides: Any other field by its dotted name, as JSON; for example {"target.alpha": 0.5, "training.epochs": 3}.

    Raises:
        ValueError: an unknown style, profile or field, or a value out of range; or another run of this home goes on, and the
            sentence names its process.
    """
    config = check_profile(release_config(style, profile, seed, overrides))
    with only_run(settings().home), budget(settings().budget_minutes), forking():
        built: dict[str, Built] = {}
        for step in steps_of(config):
            built[step.name] = run_step(step, config, built)
        released = release(config, built, data_tags(config, *(built[name] for name in DATA if name in built)))
        link_pages(config.style, built, released)
    if released.waits and deployment.id:  # a run that somebody started in a terminal ends, and says how to go on
        with approvals() as found:
            asked = found.find(released.waits)
        if wait_for_person(asked) is not None:
            released = released.model_copy(update={"promoted": True, "champion": released.version, "waits": ""})
    return Outcome(steps=built, released=released)
