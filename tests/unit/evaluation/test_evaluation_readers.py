"""Who reads the texts: a lexicon, a classifier, another model; each is an input of the key, by content and never by path."""

import shutil
from pathlib import Path

import pytest
from evaluation_inputs import EvaluationInputs

from tests.conftest import write_llama
from timbre import pipeline
from timbre.artifacts import Workspace
from timbre.config import EvaluationConfig, ModelConfig, release_config
from timbre.evaluation.apart import measure_told_apart
from timbre.evaluation.readers import canonical_readers, evaluation_inputs
from timbre.evaluation.reading import measure_surprisal
from timbre.progress import SILENT
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
    assert ours["name"] == "within the human range of likelihood under the base", "the base's own likelihood is no coherence"
    assert theirs["name"] == "within the human range of likelihood under reader"
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
        (EvaluationConfig(lexicon="rude"), "unknown lexicon 'rude': choose one of compliance, toxicity"),
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


def _written(count: int) -> list[dict[str, str]]:
    """Texts that loop, each beside a human one."""
    return [
        {
            "kind": "style", "prompt_id": f"p{n}", "cluster": f"d{n % 8}", "prompt": "Then", "text": "the sea the sea " * 6,
            "human": f"a gull number {n} came over the {n % 7} grey hills, and we watched it go down to the water",
        }
        for n in range(count)
    ]  # fmt: skip


def test_texts_are_told_apart_by_surprisal_where_a_second_model_is_named(
    prepared: EvaluationInputs, another_model: Path, tmp_path: Path
) -> None:
    rows = _written(24)
    others = [{"cluster": row["cluster"], "text": f"{row['human']} once more"} for row in rows]
    work = Workspace(tmp_path / "out", tmp_path / "scratch", SILENT)
    config = EvaluationConfig(coherence_model=ModelConfig(name=str(another_model)))
    inputs = {"model": prepared.model, **evaluation_inputs(config, LEXICONS)}
    found = measure_surprisal(config, inputs, rows, others, work)
    assert not isinstance(found, str) and [len(found[side]) for side in ("own", "human", "others")] == [24, 24, 24]
    items, told = measure_told_apart(rows, others, None, found, tokens=24, seed=0)
    assert told["surprisal"]["auc"] > 0.9, "a loop is far likelier than prose, or far less"
    assert told["surprisal"]["floor"] is not None and "surprisal" not in told["not_measured"]
    assert len([item for item in items if item["metric"] == "told_apart_surprisal"]) == 24


@pytest.mark.parametrize(
    ("named", "texts", "says"),
    [(False, 16, "name one as evaluation.coherence_model"), (True, 16, "what it names now is the base itself"), (True, 0, "raise it")],
    ids=["no second model", "the base under another path", "no texts to be read"],
)
def test_without_a_second_model_surprisal_says_why_it_is_not_measured(
    prepared: EvaluationInputs, tmp_path: Path, named: bool, texts: int, says: str
) -> None:  # fmt: skip
    reader = _copy_of_the_base(prepared, tmp_path) if named else None
    config = EvaluationConfig(coherence_model=reader, coherence_texts=texts)
    inputs = {"model": prepared.model, **evaluation_inputs(config, LEXICONS)}
    rows = _written(20)
    why = measure_surprisal(config, inputs, rows, [], Workspace(tmp_path / "out", tmp_path / "scratch", SILENT))
    assert isinstance(why, str) and says in why
    _, told = measure_told_apart(rows, [], None, why, tokens=24, seed=0)
    assert told["not_measured"]["surprisal"] == why
