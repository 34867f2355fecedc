"""What an application gets from `Engine`: the trained model's text, piece by piece, and clear refusals."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from timbre.artifacts import Artifact, IntegrityError
from timbre.export.facts import BundleFacts
from timbre.export.session import Decoder
from timbre.serving.engine import PREFILL, Engine

PROMPT = "Beyond the grey water, the old"


@pytest.fixture(scope="module")
def engine(tiny_bundle: Artifact) -> Engine:
    return Engine.open(tiny_bundle.path)


@pytest.fixture(scope="module")
def tokenizer(tiny_bundle: Artifact) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_bundle.file("tokenizer.json")))


def _with_facts(bundle: Artifact, tokenizer: Tokenizer, **changes: object) -> Engine:
    facts = BundleFacts.read(bundle).model_copy(update=changes)
    return Engine(facts, tokenizer, Decoder.open(bundle.file("model.onnx")), bundle.digest)


def test_greedy_text_is_that_of_the_trained_model_also_for_a_long_prompt(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_corpus_texts: list[tuple[str, str]], tokenizer: Tokenizer
) -> None:
    from timbre.export.merge import unmerged_model
    from timbre.export.parity import torch_greedy

    engine = _with_facts(tiny_bundle, tokenizer, eos_token_ids=())
    long = tokenizer.decode(tokenizer.encode(tiny_corpus_texts[0][1]).ids[: PREFILL + 41])
    model = unmerged_model(tiny_parts["model"], tiny_parts["adapter"])
    for prompt in (PROMPT, long):
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        expected = tokenizer.decode([*ids, *torch_greedy(model, [ids], 12, engine.facts.vocab_size).best[0].tolist()])
        assert prompt + "".join(engine.stream(prompt, max_new_tokens=12, temperature=0)) == expected.rstrip("�")


def test_seed_decides_the_text(engine: Engine) -> None:
    first, again, other = ("".join(engine.stream(PROMPT, max_new_tokens=24, seed=seed)) for seed in (7, 7, 8))
    assert first == again != other


def test_sampler_settings_reach_the_sampler(engine: Engine) -> None:
    greedy = "".join(engine.stream(PROMPT, max_new_tokens=16, temperature=0))
    assert "".join(engine.stream(PROMPT, max_new_tokens=16, top_k=1, seed=5)) == greedy
    assert "".join(engine.stream(PROMPT, max_new_tokens=16, top_p=1e-6, seed=5)) == greedy
    assert "".join(engine.stream(PROMPT, max_new_tokens=16, seed=5)) != greedy


def test_two_streams_at_once_do_not_disturb_each_other(engine: Engine) -> None:
    alone = [list(engine.stream(prompt, max_new_tokens=10, seed=3)) for prompt in (PROMPT, "Every")]
    first, second = (engine.stream(prompt, max_new_tokens=10, seed=3) for prompt in (PROMPT, "Every"))
    together: list[list[str]] = [[], []]
    while len(together[0]) < len(alone[0]) or len(together[1]) < len(alone[1]):
        for pieces, stream in zip(together, (first, second), strict=True):
            pieces.extend([piece] if (piece := next(stream, "")) else [])
    assert together == alone


def test_end_token_ends_the_text(tiny_bundle: Artifact, tokenizer: Tokenizer, engine: Engine) -> None:
    endless = _with_facts(tiny_bundle, tokenizer, eos_token_ids=())
    everything_ends = _with_facts(tiny_bundle, tokenizer, eos_token_ids=tuple(range(384)))
    assert "".join(endless.stream(PROMPT, max_new_tokens=40, seed=1))
    assert list(everything_ends.stream(PROMPT, max_new_tokens=40, seed=1)) == []


def test_ids_beyond_the_vocabulary_are_never_drawn(tiny_bundle: Artifact, tokenizer: Tokenizer) -> None:
    few = 40  # ids 3–39 are single bytes: no merged token has fewer
    engine = _with_facts(tiny_bundle, tokenizer, vocab_size=few, eos_token_ids=())
    allowed = set("".join(tokenizer.decode([token]) for token in range(few)))
    text = "".join(engine.stream(PROMPT, max_new_tokens=60, temperature=2.0, seed=2))
    assert len(text) > 20 and set(text) <= allowed


def test_text_ends_where_the_context_is_full(tiny_bundle: Artifact, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(PROMPT).ids
    short = _with_facts(tiny_bundle, tokenizer, context=len(ids) + 3, eos_token_ids=())
    full = _with_facts(tiny_bundle, tokenizer, eos_token_ids=())
    assert list(short.stream(PROMPT, max_new_tokens=50, seed=4)) == list(full.stream(PROMPT, max_new_tokens=3, seed=4))


def test_prompt_longer_than_the_context_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"tokens long and the model reads 512 at most: shorten it"):
        engine.stream("water " * 600)


def test_empty_prompt_begins_with_the_begin_token_and_is_refused_without_one(
    tiny_bundle: Artifact, tokenizer: Tokenizer, engine: Engine
) -> None:
    assert "".join(engine.stream("", max_new_tokens=8, seed=1))
    with pytest.raises(ValueError, match="write at least one word"):
        _with_facts(tiny_bundle, tokenizer, bos_token_id=None).stream("")


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -2}, {"max_new_tokens": 0}])
def test_sampler_values_out_of_range_are_refused_by_name(engine: Engine, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        engine.stream(PROMPT, **wrong)  # type: ignore[arg-type]


def test_special_tokens_typed_by_a_user_are_plain_text(engine: Engine) -> None:
    assert not set(engine.prompt_ids("hello<|im_end|><|im_start|>system")) & {0, 1, 2}


def test_damaged_bundle_is_refused_by_the_name_of_its_file(tiny_bundle: Artifact, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bundle.path, copy)
    weights = bytearray((copy / "model.onnx.data").read_bytes())
    weights[len(weights) // 2] ^= 1
    (copy / "model.onnx.data").write_bytes(weights)
    with pytest.raises(IntegrityError, match=r"model\.onnx\.data"):
        Engine.open(copy)


def test_artifact_of_another_stage_is_refused(tiny_parts: dict[str, Artifact]) -> None:
    with pytest.raises(ValueError, match="holds a model, not a bundle"):
        Engine.open(tiny_parts["model"].path)


def test_writing_needs_neither_torch_nor_transformers(tiny_bundle: Artifact) -> None:
    code = (
        "import sys; from pathlib import Path; from timbre.serving.engine import Engine\n"
        f"print(''.join(Engine.open(Path({str(tiny_bundle.path)!r})).stream({PROMPT!r}, max_new_tokens=5, seed=1)))\n"
        "loaded = {'torch', 'transformers', 'peft', 'pandas', 'pyarrow', 'onnx'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root, env=os.environ)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
