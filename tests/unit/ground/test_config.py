"""One configuration: profiles, overrides and what is refused."""

import pytest
from pydantic import ValidationError

from timbre import pipeline
from timbre.config import ExportConfig, ReleaseConfig, release_config


def test_seed_moves_target_and_training_but_neither_splits_nor_evaluation() -> None:
    one, two = release_config("literary", seed=1), release_config("literary", seed=2)
    assert (one.target.seed, one.training.seed) == (1, 1)
    assert (two.target.seed, two.training.seed) == (2, 2)
    assert one.corpus == two.corpus
    assert one.evaluation == two.evaluation


def test_override_reaches_its_section_and_keeps_the_profile() -> None:
    config = release_config("literary", "standard", overrides={"target.alpha": 0.9})
    assert config.target.alpha == 0.9
    assert config.target.train_tokens == release_config("literary", "standard").target.train_tokens
    assert config.gate.policy == "standard"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"target.alhpa": 0.5}, "alhpa"),
        ({"target.alpha": 1.5}, "alpha"),
        ({"training.epochs": -1}, "epochs"),
        ({"corpus.folds": 1}, "folds"),
    ],
)
def test_unknown_or_impossible_fields_are_refused_by_name(overrides: dict[str, float], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        release_config("literary", overrides=overrides)


def test_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="quick, standard, gpu"):
        release_config("literary", "fast")


def test_profiles_do_not_leak_into_each_other() -> None:
    release_config("literary", "standard", overrides={"target.alpha": 0.9})
    assert release_config("literary", "standard").target.alpha == release_config("literary").target.alpha != 0.9


def test_texts_are_served_as_they_are_judged() -> None:
    config = release_config("literary", overrides={"evaluation.sampler.top_p": 0.8})
    bundle = pipeline.config_of(pipeline.STEP["bundle"], config)
    assert isinstance(bundle, ExportConfig) and bundle.sampler == config.evaluation.sampler
    with pytest.raises(ValidationError, match=r"set the latter only"):
        release_config("literary", overrides={"export.sampler.top_p": 0.8})


def test_a_configuration_survives_json() -> None:
    config = release_config("oratory", "gpu", seed=3)
    assert ReleaseConfig.model_validate_json(config.model_dump_json()) == config


def test_a_schedule_that_names_style_and_profile_gets_the_same_release_as_the_command() -> None:
    for style, profile, seed in (("literary", "quick", 1), ("oratory", "standard", 3), ("technical", "gpu", 1)):
        assert ReleaseConfig.model_validate({"style": style, "profile": profile, "seed": seed}) == release_config(style, profile, seed)


def test_what_a_schedule_sets_stands_above_the_profile() -> None:
    config = ReleaseConfig.model_validate({"style": "oratory", "profile": "standard", "training": {"epochs": 1}})
    assert config == release_config("oratory", "standard", overrides={"training.epochs": 1})
