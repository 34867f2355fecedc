"""A local model as judge: the same answer every time, and the one that the model finds likeliest."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timbre.artifacts import Artifact, ArtifactStore
from timbre.cli import app
from timbre.config import ModelConfig
from timbre.judging.local import LocalJudge
from timbre.judging.pairs import Pair
from timbre.judging.question import question_text

_PAIR = Pair("p", "d", "", "The gull drifted.", "The iron rang and the smith struck.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Artifact:
    from timbre.models import resolve_model

    return resolve_model(ModelConfig(name=str(tiny_model_dir)), ArtifactStore(tmp_path_factory.mktemp("judge")))


def test_the_answer_is_the_likeliest_by_the_models_own_numbers(model: Artifact) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    judge, question = LocalJudge("tiny", model), question_text(_PAIR, "AB", "Which?")
    reply = judge.reply_to(question)
    assert reply == judge.reply_to(question) == LocalJudge("tiny", model).reply_to(question)
    tokenizer: Any = AutoTokenizer.from_pretrained(str(model.path))
    plain: Any = AutoModelForCausalLM.from_pretrained(str(model.path), dtype=torch.float32).eval()
    before = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False)
    expected = {}
    for answer in ("A", "B", "tie"):
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = plain(torch.tensor([[*before, *ids]])).logits[0, :, : len(tokenizer)].double().log_softmax(-1)
        expected[answer] = sum(float(logits[len(before) - 1 + place, token]) for place, token in enumerate(ids))
    assert len(tokenizer("tie", add_special_tokens=False)["input_ids"]) > 1  # answers of several tokens are summed
    found = reply.detail["log_probabilities"]
    assert found == pytest.approx(expected, abs=1e-3)  # fp32 logits of magnitude ~10 against float64 softmax
    assert reply.choice == {"A": "first", "B": "second", "tie": "tie"}[max(expected, key=expected.__getitem__)]


def test_a_model_without_a_chat_form_is_asked_in_plain_text(model: Artifact, tiny_model_dir: Path, tmp_path: Path) -> None:
    import shutil

    from timbre.models import resolve_model

    plain = tmp_path / "plain"
    shutil.copytree(tiny_model_dir, plain)
    (plain / "chat_template.jinja").unlink()
    judge = LocalJudge("plain", resolve_model(ModelConfig(name=str(plain)), ArtifactStore(tmp_path / "home")))
    question = question_text(_PAIR, "AB", "Which?")
    assert judge.reply_to(question).detail != LocalJudge("chat", model).reply_to(question).detail


def test_a_question_that_does_not_fit_says_what_to_do(model: Artifact) -> None:
    with pytest.raises(ValueError, match="holds 512: ask about shorter texts with --words"):
        LocalJudge("tiny", model).reply_to("a gull " * 600)


def test_command_with_a_local_judge_says_the_same_twice(home: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    for name, word in (("a", "gull"), ("b", "lamp")):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.txt").write_text(f"The {word} waited near the table {number} times.")
    outputs = []
    for kept in ("one.jsonl", "two.jsonl"):
        arguments = [
            "judge",
            "run",
            tmp_path / "a",
            tmp_path / "b",
            "--judge",
            f"local={tiny_model_dir}",
            "--keep",
            tmp_path / kept,
            "--json",
        ]
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        outputs.append(json.loads(done.stdout.splitlines()[-1]))
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert outputs[0]["judges"] == outputs[1]["judges"] and outputs[0]["judges"][0]["answered"] == 4
    assert outputs[0]["judges"][0]["judge"] == f"local {tiny_model_dir.name}" and "Never a sole gate" in outputs[0]["note"]
