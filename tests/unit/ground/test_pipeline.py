"""The table of steps: what the data stages of `dvc.yaml`, the commands and the tasks say is what the table says."""

import pytest
import yaml

from timbre.config import ReleaseConfig, release_config
from timbre.pipeline import STEP, STEPS, config_of, needs_of, steps_of
from timbre.settings import PROJECT_ROOT


def test_every_step_reads_only_what_stands_before_it() -> None:
    seen: set[str] = set()
    for step in STEPS:
        assert set(step.needs.values()) <= seen, step.name
        seen.add(step.name)


def test_names_and_verbs_are_given_once() -> None:
    assert len({step.name for step in STEPS}) == len({step.verb for step in STEPS}) == len(STEPS)


@pytest.mark.parametrize("profile", ["quick", "standard", "gpu"])
def test_every_step_of_a_release_has_a_builder_a_configuration_and_a_cost(profile: str) -> None:
    config = release_config("literary", profile)
    for step in steps_of(config):
        assert step.stage.name and step.stage.version >= 1
        assert config_of(step, config).model_dump(mode="json") is not None
        assert step.cost(config).seconds > 0


def test_a_quick_release_has_no_baseline_and_nothing_that_reads_one() -> None:
    config = ReleaseConfig()
    names = {step.name for step in steps_of(config)}
    assert not any(name.startswith("baseline_") for name in names)
    assert set(needs_of(STEP["verdict"], config).values()) <= names


def test_the_stages_of_dvc_are_the_steps_that_it_owns() -> None:
    stages = yaml.safe_load((PROJECT_ROOT / "dvc.yaml").read_text())["stages"]
    owned = [step for step in STEPS if step.versioned]
    assert list(stages) == [step.name for step in owned]
    for step in owned:
        stage = stages[step.name]["do"]
        assert stage["cmd"].startswith(f"timbre stage {step.verb} ") and stage["outs"] == [f"{step.name}/${{key}}"]
        laid = [f"{needed}/${{key}}" for needed in step.needs.values() if STEP[needed].versioned]
        assert stage.get("deps", []) == laid
        assert {f"styles.${{key}}.{step.section}", f"styles.${{key}}.inputs.{step.name}_stage"} <= set(stage["params"])


def test_every_step_is_a_task_and_a_command() -> None:
    from typer.main import get_command

    from timbre.cli.stage import app
    from timbre.tasks.steps import _TASKS

    assert list(_TASKS) == [step.name for step in STEPS]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert {step.verb: step.help for step in STEPS} == {verb: command.help for verb, command in commands.items() if verb != "release"}


SEQUENCE_STEPS = ("token_adapter", "completions", "sequence")


def test_the_default_level_has_the_steps_and_keys_that_it_always_had() -> None:
    from timbre.config import TargetConfig

    config = ReleaseConfig()
    assert config.target.level == "token" and not {step.name for step in steps_of(config)} & {*SEQUENCE_STEPS, "control"}
    dumped = config_of(STEP["target"], config).model_dump(mode="json")
    assert dumped.keys() == TargetConfig.model_fields.keys() and not {"level", "sequence"} & dumped.keys()
    assert set(needs_of(STEP["adapter"], config)) == {"target", "corpus", "model"}


def test_at_the_sequence_level_the_token_level_student_is_the_one_that_a_plain_release_trains() -> None:
    """Its target, its training and its key are those of the default level, so that what was built there is found."""
    plain, level = (release_config("literary", "quick", 1, {"target.level": name}) for name in ("token", "sequence"))
    names = [step.name for step in steps_of(level)]
    assert [name for name in names if name not in {step.name for step in steps_of(plain)}] == list(SEQUENCE_STEPS)
    assert names.index("sequence") < names.index("adapter")
    assert config_of(STEP["target"], level) == config_of(STEP["target"], plain)
    assert config_of(STEP["token_adapter"], level) == config_of(STEP["adapter"], plain)
    assert STEP["token_adapter"].stage is STEP["adapter"].stage
    assert needs_of(STEP["token_adapter"], level) == needs_of(STEP["adapter"], plain)
    assert {"start": "token_adapter", "sequence": "sequence"}.items() <= needs_of(STEP["adapter"], level).items()


def test_a_baseline_at_the_sequence_level_is_the_control_arm() -> None:
    level = release_config("literary", "quick", 1, {"target.level": "sequence", "baseline.objective": "forward_kl"})
    assert needs_of(STEP["baseline_adapter"], level)["sequence"] == "control"
    assert needs_of(STEP["control"], level) == {"completions": "completions", "judged": "sequence"}
    weights, control = (config_of(STEP[name], level).model_dump() for name in ("sequence", "control"))
    assert {name for name in weights if weights[name] != control[name]} == {"uniform"}


def test_fields_of_the_sequence_level_are_set_by_their_dotted_names_and_change_no_earlier_step() -> None:
    level = release_config(
        "literary", "quick", 1, {"target.level": "sequence", "target.sequence.prompts": 64, "target.sequence.ridge": 0.1}
    )
    other = release_config(
        "literary", "quick", 1, {"target.level": "sequence", "target.sequence.prompts": 64, "target.sequence.weights": "ratio"}
    )
    assert level.target.sequence.prompts == 64 and level.target.sequence.completions == 4
    assert config_of(STEP["completions"], level) == config_of(STEP["completions"], other)
    assert config_of(STEP["sequence"], level) != config_of(STEP["sequence"], other)
