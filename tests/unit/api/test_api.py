"""Timbre as a library: plain values in, plain values out, and the model that was given stays as it is."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import timbre

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOT = Path(__file__).resolve().parents[3]
LEARNS = timbre.TargetConfig(train_tokens=4096, passage_tokens=128, top_k=16, reference_epochs=4, reference_learning_rate=0.01)
QUICK = timbre.TrainingConfig(epochs=2, learning_rate=0.01, batch_tokens=512, replay_weight=0.0, replay_items=0)


@pytest.fixture(scope="module")
def texts(tiny_corpus_texts: list[tuple[str, str]]) -> list[str]:
    return [text for _, text in tiny_corpus_texts]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> timbre.Model:
    return timbre.load(tiny_model_dir)


@pytest.fixture(scope="module")
def targets(model: timbre.Model, texts: list[str]) -> timbre.Targets:
    return timbre.make_targets(texts[:30], model, LEARNS)


def test_import_is_light_and_every_name_is_there() -> None:
    code = (
        "import sys, time; start = time.process_time(); import timbre; spent = time.process_time() - start; "
        "print(spent, *{'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules)); "
        "assert all(getattr(timbre, name) is not None for name in timbre.__all__) and set(timbre.__all__) <= set(dir(timbre))"
    )
    spent, *heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(spent) < 0.3 and heavy == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        timbre.nothing  # noqa: B018


def test_the_script_in_the_readme_runs_as_it_stands(tmp_path: Path, tiny_model_dir: Path, texts: list[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    (script,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.S) if "import timbre" in block]
    assert len([line for line in script.splitlines() if line.strip()]) <= 11
    shutil.copytree(tiny_model_dir, tmp_path / "models" / "base")
    (tmp_path / "letters.txt").write_text("\n\n\n".join(texts))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"\d+ passages of 60 words", done.stdout), done.stdout
    from transformers import AutoModelForCausalLM, AutoTokenizer

    saved: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "models" / "letters")
    assert saved.num_parameters() > 0 and AutoTokenizer.from_pretrained(tmp_path / "models" / "letters").encode("It was")


def test_every_position_of_a_target_sums_to_one_and_holds_the_observed_token(targets: timbre.Targets) -> None:
    assert targets.gain > 0 and len(targets) > 20
    for row in targets.rows:
        assert np.allclose(row.probs_TK.sum(1) + row.tail_T, 1, atol=1e-4)
        observed = row.token_ids_T[row.first_label :]
        mass = (row.probs_TK * (row.ids_TK == observed[:, None])).sum(1)
        assert (mass >= LEARNS.alpha - 1e-4).all()


def test_training_lowers_the_loss_and_leaves_the_given_model_alone(
    model: timbre.Model, targets: timbre.Targets, texts: list[str], tmp_path: Path
) -> None:
    before = copy.deepcopy(model.network.state_dict())
    tuned = timbre.train(model, targets, QUICK, held_out=texts[30:])
    assert timbre.loss(tuned, targets) < timbre.loss(model, targets) - 0.1
    assert set(model.network.state_dict()) == set(before)
    assert all(bool((value == before[name]).all()) for name, value in model.network.state_dict().items())
    assert [row["step"] for row in tuned.curve] == list(range(len(tuned.curve))) and tuned.curve[0]["held_out_nll"] > 0
    again = timbre.load(tuned.save(tmp_path / "saved"))
    assert timbre.loss(again, targets) == pytest.approx(timbre.loss(tuned, targets), abs=1e-5)
    assert json.loads((tuned.save_adapter(tmp_path / "adapter") / "adapter_config.json").read_text())["r"] == QUICK.rank


def test_a_model_and_tokenizer_in_memory_and_a_data_set_are_taken_too(tiny_model_dir: Path, texts: list[str]) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    here = timbre.load((network, AutoTokenizer.from_pretrained(tiny_model_dir)))
    rows: Any = Dataset.from_dict({"text": texts[:6]})
    config = LEARNS.model_copy(update={"reference_epochs": 0, "train_tokens": 512})
    with pytest.warns(UserWarning, match="worse than the base model"):
        found = timbre.make_targets(rows, here, config)
    assert found.gain == pytest.approx(0, abs=1e-6) and sum(len(row.token_ids_T) for row in found.rows) <= 512


def test_a_text_depends_on_its_prompt_and_seed_and_not_on_its_company(model: timbre.Model) -> None:
    alone = timbre.generate(model, ["It was"], new_tokens=12)
    together = timbre.generate(model, ["It was", "Beyond the grey water, the mast"], new_tokens=12, samples=2)
    assert len(alone) == 1 and len(together) == 4 and together[0] == alone[0] and together[0] != together[1]
    assert timbre.generate(model, ["It was"], new_tokens=12, seed=1) != alone
    greedy = timbre.SamplerConfig(temperature=0)
    assert len(set(timbre.generate(model, ["It was"], new_tokens=12, samples=2, sampler=greedy))) == 1


def test_mistakes_are_answered_with_what_to_do(model: timbre.Model, targets: timbre.Targets, texts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"target.ngram_weight is not for targets in memory.*timbre run"):
        timbre.make_targets(texts, model, timbre.TargetConfig(ngram_weight=0.2))
    with pytest.raises(ValueError, match="give 2 or more"):
        timbre.make_targets(texts[:1], model)
    with pytest.raises(ValueError, match="give a list of texts"):
        timbre.make_targets(texts[0], model)
    with pytest.raises(ValueError, match="timbre run"):
        timbre.train(model, targets, timbre.TrainingConfig(processes=2))
    with pytest.raises(ValueError, match="shorten either"):
        timbre.generate(model, ["It was"], new_tokens=4096)
    with pytest.raises(ValueError, match="existing model folder"):
        timbre.load("no-such-model")
    with pytest.raises(ValueError, match="prompts is one string"):
        timbre.generate(model, "It was")
    with pytest.raises(ValueError, match="samples is 0"):
        timbre.generate(model, ["It was"], samples=0)
    with pytest.raises(ValueError, match="number 1 of texts is a int"):
        timbre.make_targets([texts[0], 7], model)  # type: ignore[list-item]


def test_comparing_lists_gives_what_comparing_files_gives(tmp_path: Path, texts: list[str]) -> None:
    for name, side in (("a", texts[:10]), ("b", texts[10:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in side))
    lists = timbre.metrics.compare(texts[:10], texts[10:], words=60).summary()
    files = timbre.metrics.compare(tmp_path / "a.jsonl", tmp_path / "b.jsonl", words=60).summary()
    assert lists == files and lists["metrics"]
    with pytest.raises(ValueError, match="give a list of texts"):
        timbre.metrics.compare("one text", texts)


@pytest.mark.parametrize(
    ("given", "more", "sentence"),
    [
        (None, {}, "are a NoneType: give a list of texts"),
        (b"text", {}, "are one string"),
        (["text", None], {}, "number 1 of the texts is a NoneType"),
        (["text"], {"words": 0}, "words is 0"),
        (["text"], {"most": -1}, "most is -1"),
    ],
)
def test_comparing_what_are_no_texts_is_answered_in_a_sentence(given: Any, more: dict[str, int], sentence: str, texts: list[str]) -> None:
    with pytest.raises(ValueError, match=sentence):
        timbre.metrics.compare(given, texts, **more)
