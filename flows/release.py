"""The main job: from raw text to a promoted, exported model.

    timbre run --style literary --profile quick       the whole road, in minutes on a laptop
    timbre run --style literary --dry-run             what it would do, and how long that takes

Scheduled through `prefect.yaml`; there as here, a stage that stands in the artifact store shows as `Cached`.
"""

from prefect import flow

from timbre.config import Frozen, ReleaseConfig
from timbre.pipeline import steps_of
from timbre.settings import settings
from timbre.tasks.data import data_tags
from timbre.tasks.latest import link_pages
from timbre.tasks.release import Released, release
from timbre.tasks.runs import only_run
from timbre.tasks.stage import Built
from timbre.tasks.steps import run_step


class Outcome(Frozen):
    """A finished road: every step's artifact, and what became of the candidate."""

    steps: dict[str, Built]
    released: Released


@flow(name="release", flow_run_name="release-{config.style}-{config.profile}", persist_result=False)
def release_flow(config: ReleaseConfig) -> Outcome:
    """Every step of this release in order, each on what it reads of those before it; then the release.

    Model, corpus and target; prompts, and what the base makes of them; the candidate's adapter, texts and evaluation (and a
    baseline's); the ONNX bundle; the verdict. `timbre.pipeline.steps` is the list.

    Raises:
        ValueError: another run of this home goes on; the sentence names its process.
    """
    with only_run(settings().home):
        built: dict[str, Built] = {}
        for step in steps_of(config):
            built[step.name] = run_step(step, config, built)
        released = release(config, built, data_tags(config, built["corpus"], built["target"]))
        link_pages(config.style, built, released)
        return Outcome(steps=built, released=released)
