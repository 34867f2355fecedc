"""Who reads the texts: a lexicon, a classifier, another model; each is an input of the key, by content and never by path."""

import shutil
from pathlib import Path

import pytest
from evaluation_inputs import EvaluationInputs

from tests.conftest import write_llama
from timbre import pipeline
from timbre.config import EvaluationConfig, ModelConfig, release_config
from timbre.evaluation.readers import canonical_readers, evaluation_inputs
from timbre.settings import PROJECT_ROOT

LEXICONS = PROJECT_ROOT / "data" / "lexicons"


@pytest.fixture
def another_model(tmp_path: Path, tiny_model_dir: Path) -> Path:
    """A model of the same shape that thinks otherwise."""
    folder = tmp_path / "reader"
    shutil.copytree(tiny_model_dir, folder)
    write_llama(folder, seed=5)
    return folder


def test_a_named_reader_scores_and_the_summary_says_which_it_was(
    prepared: EvaluationInputs, another_model: Path, home: Path
) -> None:  # fmt: skip
    ours = prepared.evaluated(prepared.store).json("summary.json")["coherence"]
    theirs = prepared.evaluated(prepared.store, coherence_model=ModelConfig(name=str(another_model))).json("summary.json")["coherence"]
    assert (ours["scorer"], theirs["scorer"]) == ("the base model itself", "reader")
    assert theirs["human_nll"] != ours["human_nll"]
    same = prepared.evaluated(prepared.store, coherence_model=_copy_of_the_base(prepared, another_model.parent)).json("summary.json")
    assert same["coherence"] == ours, "the base by another path is still the base, and said to be"


def _copy_of_the_base(prepared: EvaluationInputs, folder: Path) -> ModelConfig:
    """The base model under a path of its own."""
    copy = folder / "base-again"
    copy.mkdir()
    for file in prepared.model.manifest.files:
        if file != "model.json":
            shutil.copyfile(prepared.model.file(file), copy / file)
    return ModelConfig(name=str(copy))


def test_readers_are_in_the_key_by_what_they_are_not_where(another_model: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "reader"
    shutil.copytree(another_model, moved)
    keys = set()
    for folder in (another_model, moved):
        config = EvaluationConfig(coherence_model=ModelConfig(name=str(folder)), toxicity_classifier=str(folder))
        plain = canonical_readers(config)
        assert plain.coherence_model is not None and (plain.coherence_model.name, plain.toxicity_classifier) == ("reader", "reader")
        digests = {name: value.digest for name, value in evaluation_inputs(config, LEXICONS).items()}
        assert digests.keys() == {"toxicity_classifier", "coherence_model:folder"}
        keys.add(str(digests))
    assert len(keys) == 1
    write_llama(moved, seed=6)
    changed = evaluation_inputs(EvaluationConfig(toxicity_classifier=str(moved)), LEXICONS)["toxicity_classifier"]
    assert changed.digest not in str(keys)


def test_the_road_gives_the_lexicon_to_every_evaluation() -> None:
    config = release_config("literary")
    for name in ("evaluation", "base_evaluation"):
        assert "lexicon" in pipeline.STEP[name].files(config)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (EvaluationConfig(lexicon="rude"), "unknown lexicon 'rude': choose one of toxicity"),
        (EvaluationConfig(toxicity_classifier="/nowhere/at/all"), r"no config\.json"),
        (EvaluationConfig(coherence_model=ModelConfig(name="./nowhere")), "unknown model"),
    ],
)
def test_a_reader_that_is_not_there_is_refused_before_anything_runs(config: EvaluationConfig, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        evaluation_inputs(config, LEXICONS)


def test_nothing_is_read_where_nothing_is_asked(prepared: EvaluationInputs) -> None:
    summary = prepared.evaluated(prepared.store, coherence_texts=0).json("summary.json")
    assert "coherence" not in summary and "toxicity" in summary
    assert evaluation_inputs(EvaluationConfig(lexicon="", coherence_texts=0), LEXICONS) == {}
