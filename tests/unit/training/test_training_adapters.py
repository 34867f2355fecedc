"""What can be trained: LoRA, a correction of the head, all weights. Each learns, resumes to the same bytes, and loads again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_inputs import TrainingInputs, training_config, training_passages

from timbre.inference.scorer import Scorer
from timbre.models import load_model
from timbre.progress import SILENT, Progress
from timbre.training.adapters import adapter_parameters, prepare, save_adapter
from timbre.training.data import Example
from timbre.training.trainer import TrainingResult, train

VOCABULARY = 384
OTHERS = ["correction", "full"]


@pytest.fixture(scope="module")
def results(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[TrainingResult, Path]]:
    """An undisturbed run of each kind, and where it was saved."""
    done = {}
    for kind in OTHERS:
        folder = tmp_path_factory.mktemp(kind)
        result = run(training_inputs, folder, kind, examples, held_out)
        save_adapter(result.model, folder / "saved")
        done[kind] = result, folder / "saved"
    return done


def run(
    inputs: TrainingInputs, scratch: Path, kind: str, examples: list[Example], held_out: list[Example], progress: Progress = SILENT
) -> TrainingResult:
    scratch.mkdir(exist_ok=True)
    config = training_config(adapter=kind, learning_rate=3e-3 if kind == "full" else 3e-2)
    return train(load_model(inputs.model), examples, config, vocab_size=VOCABULARY, held_out=held_out, scratch=scratch, progress=progress)


@pytest.mark.parametrize("kind", OTHERS)
def test_it_learns_and_trains_only_what_it_says(
    kind: str, results: dict[str, tuple[TrainingResult, Path]], training_inputs: TrainingInputs
) -> None:
    result, _ = results[kind]
    assert result.summary["held_out_nll"] < result.summary["held_out_nll_before"] - 0.2  # measured .5 and more
    base, trained = dict(load_model(training_inputs.model).named_parameters()), adapter_parameters(result.model)
    if kind == "full":
        assert trained.keys() == base.keys()
    else:
        assert {name.rsplit(".", 1)[1] for name in trained} == {"down", "up", "bias"}
        frozen = {name: value for name, value in result.model.named_parameters() if name in base}
        assert len(frozen) >= len(base) - 1 and all(torch.equal(value, base[name]) for name, value in frozen.items())


@pytest.mark.parametrize("kind", OTHERS)
def test_what_was_saved_loads_as_one_plain_model_with_the_same_predictions(
    kind: str, results: dict[str, tuple[TrainingResult, Path]], training_inputs: TrainingInputs
) -> None:
    result, saved = results[kind]
    ids = torch.from_numpy(training_passages(training_inputs.model, training_inputs.corpus)[0].token_ids[None, :].astype(np.int64))
    with torch.no_grad():
        wanted, base = result.model(ids).logits, load_model(training_inputs.model)(ids).logits
        merged = load_model(training_inputs.model, adapter=saved)
        apart = load_model(training_inputs.model, adapter=saved, trainable=True)
        scorer = Scorer(merged, VOCABULARY)
        scored = scorer.logits(scorer.hidden(ids, torch.ones_like(ids)))
        assert float((wanted - base).abs().max()) > 0.1
        for found in (merged(ids).logits, apart(ids).logits, scored):
            assert torch.allclose(found, wanted, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in merged.parameters())
    assert adapter_parameters(apart).keys() == adapter_parameters(result.model).keys()


def test_a_correction_beside_a_bf16_model_learns_by_small_steps_and_is_saved_in_float32(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 1e-5 on weights near .1 are below bf16's spacing there (5e-4): held in it, they would not move at all."""
    from safetensors.torch import load_file

    from timbre.settings import settings

    monkeypatch.setenv("TIMBRE_DTYPE", "bfloat16")
    settings.cache_clear()
    try:
        config = training_config(adapter="correction", learning_rate=1e-5, epochs=2)
        fresh = prepare(load_model(training_inputs.model), config).get_output_embeddings().down.detach().clone()
        result = train(load_model(training_inputs.model), examples, config, vocab_size=VOCABULARY, scratch=tmp_path, progress=SILENT)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    save_adapter(result.model, tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    moved = (saved["down"] - fresh).abs()
    assert 0 < float(moved.max()) < 2e-4 and float((moved > 0).double().mean()) > 0.9


class Interrupted(Progress):
    """Ends the run as Ctrl-C does, once a number of steps is done."""

    def __init__(self, after: int) -> None:
        super().__init__(self._listen, visible=False)
        self._after = after

    def _listen(self, _what: str, done: int, _total: int) -> None:
        if done == self._after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", OTHERS)
def test_an_interrupted_run_ends_with_the_same_bytes(
    kind: str, results: dict[str, tuple[TrainingResult, Path]], training_inputs: TrainingInputs, examples: list[Example],
    held_out: list[Example], tmp_path: Path,
) -> None:  # fmt: skip
    whole, saved = results[kind]
    for after in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            run(training_inputs, tmp_path / "parts", kind, examples, held_out, Interrupted(after))
    parts = run(training_inputs, tmp_path / "parts", kind, examples, held_out)
    save_adapter(parts.model, tmp_path / "saved")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (saved / name).read_bytes()
    assert parts.curve.read_bytes() == whole.curve.read_bytes() and parts.summary == whole.summary


@pytest.mark.parametrize("kind", OTHERS)
def test_an_adapter_of_another_model_is_refused(
    kind: str, results: dict[str, tuple[TrainingResult, Path]], training_inputs: TrainingInputs, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    _, saved = results[kind]
    weights = load_file(saved / "adapter_model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name][:-1].clone()}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_bytes((saved / "adapter_config.json").read_bytes())
    with pytest.raises(ValueError, match=r"does not fit .*: use the model that it was trained on"):
        load_model(training_inputs.model, adapter=tmp_path)
