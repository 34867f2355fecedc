"""Weights in 8 and 4 bits: how far they are from fp32 is measured on held-out text, and what is too far is served with a warning only."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.artifacts import Artifact, ArtifactStore
from timbre.export.quantised import (
    FIGURES_FILE,
    ONNX_FILE,
    STAGE,
    Quantised,
    QuantisedConfig,
    compared,
    find_quantised,
    resolve_quantised,
    served_file,
)
from timbre.export.session import Decoder
from timbre.serving.engine import Engine

CONFIG = QuantisedConfig(tokens=300, window=40)


@pytest.fixture(scope="module")
def quantised(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore) -> Artifact:
    return resolve_quantised(CONFIG, tiny_bundle, tiny_parts["corpus"], tiny_store)


def test_the_distance_is_that_of_both_distributions_on_held_out_text(
    quantised: Artifact, tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore, tmp_path: Path
) -> None:
    figures = Quantised.read(quantised)
    assert 0 < figures.kl <= figures.kl_99 < 0.02 and figures.passes and figures.tokens == 320  # whole passages
    itself = compared(CONFIG, tiny_bundle, tiny_parts["corpus"], tiny_bundle.file("model.onnx"), tmp_path)
    assert itself.kl == pytest.approx(0, abs=1e-9)
    assert find_quantised(CONFIG, tiny_bundle, tiny_parts["corpus"], tiny_store) == quantised
    sizes = [
        sum((artifact.path / name).stat().st_size for name in (ONNX_FILE, f"{ONNX_FILE}.data")) for artifact in (quantised, tiny_bundle)
    ]
    assert sizes[0] < sizes[1]


def test_it_writes_beside_and_as_the_bundle_does(quantised: Artifact, tiny_bundle: Artifact) -> None:
    exact, rounded = Engine.open(tiny_bundle.path), Engine.of(tiny_bundle, served_file(quantised))
    ids = np.array([exact.prompt_ids("Beyond the grey water, the old")], np.int64)
    logits = [engine.decoder.step(ids, engine.decoder.empty_cache(1))[0] for engine in (exact, rounded)]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.2
    assert rounded.digest == exact.digest and len("".join(rounded.stream("Beyond", max_new_tokens=20, seed=1))) > 5


def test_weights_that_are_too_far_are_served_with_a_warning_only(
    quantised: Artifact, tmp_path: Path, make_artifact: Callable[..., Artifact]
) -> None:
    far = Quantised.read(quantised).model_copy(update={"kl": 0.021})

    def write(folder: Path) -> None:
        shutil.copytree(quantised.path, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        (folder / FIGURES_FILE).write_text(far.model_dump_json())

    with pytest.warns(UserWarning, match=r"0\.021 nats a token from fp32, and 0\.02 is the most"):
        served_file(make_artifact(ArtifactStore(tmp_path), STAGE.name, CONFIG, write))


def test_a_corpus_without_a_long_enough_document_is_refused(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no test document has 100000 tokens"):
        compared(QuantisedConfig(window=100_000), tiny_bundle, tiny_parts["corpus"], tiny_bundle.file("model.onnx"), tmp_path)


def test_both_forms_share_one_shape_of_cache(quantised: Artifact, tiny_bundle: Artifact) -> None:
    exact, rounded = Decoder.open(tiny_bundle.file("model.onnx")), Decoder.open(quantised.file(ONNX_FILE))
    assert (exact.kv_shape, exact.cache_parts) == (rounded.kv_shape, rounded.cache_parts)


def test_four_bits_are_smaller_and_farther_than_eight_and_leave_the_head_at_eight(
    quantised: Artifact, tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore
) -> None:
    import onnx

    four = resolve_quantised(CONFIG.model_copy(update={"bits": 4}), tiny_bundle, tiny_parts["corpus"], tiny_store)
    size = {artifact.digest: (artifact.path / f"{ONNX_FILE}.data").stat().st_size for artifact in (quantised, four)}
    assert size[four.digest] < size[quantised.digest] and Quantised.read(four).kl > Quantised.read(quantised).kl
    nodes = [node for node in onnx.load(str(four.file(ONNX_FILE)), load_external_data=False).graph.node if node.op_type == "MatMulNBits"]
    bits = {name: next(each.i for each in node.attribute if each.name == "bits") for node in nodes for name in node.output}
    assert bits.pop("logits") == 8 and set(bits.values()) == {4}
    assert Decoder.open(four.file(ONNX_FILE)).in_place


@pytest.mark.parametrize("bits", [8, 4])
def test_a_row_of_rounded_weights_has_the_logits_it_has_alone_bit_for_bit(
    bits: int, tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore
) -> None:
    form = resolve_quantised(CONFIG.model_copy(update={"bits": bits}), tiny_bundle, tiny_parts["corpus"], tiny_store)
    decoder = Decoder.open(form.file(ONNX_FILE))

    def written(rows: list[int]) -> np.ndarray:
        slots = decoder.rows()
        for row in rows:
            slots.join(decoder.step(np.array([[row + 5] * (3 + row)], np.int64), decoder.empty_cache(1))[1])
        return np.stack([slots.step(np.array([7 + row for row in rows])).copy() for _ in range(3)], 1)

    together = written([0, 1, 2, 3, 4])
    assert all(np.array_equal(together[row], written([row])[0]) for row in range(5))


def test_a_comparison_that_was_killed_goes_on_with_the_passage_it_was_at(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, steps, before = tiny_bundle.file("model.onnx"), list[int](), Decoder.step

    def counted(decoder: Decoder, *given: Any) -> Any:
        if len(steps) == 10:  # two steps a passage and decoder
            raise KeyboardInterrupt
        steps.append(1)
        return before(decoder, *given)

    monkeypatch.setattr(Decoder, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        compared(CONFIG, tiny_bundle, tiny_parts["corpus"], file, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
    steps[:] = [1] * 11
    once = compared(CONFIG, tiny_bundle, tiny_parts["corpus"], file, tmp_path)
    assert len(steps) == 11 + 4 * 6  # eight passages, two of them kept
    assert once == compared(CONFIG, tiny_bundle, tiny_parts["corpus"], file, tmp_path / "anew")


@pytest.mark.parametrize("bits", [8, 4])
def test_products_of_the_same_values_are_one_and_give_the_same_bits(
    bits: int, tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    def made(name: str) -> Path:
        form = resolve_quantised(config, tiny_bundle, tiny_parts["corpus"], ArtifactStore(tmp_path / name))
        return form.file(ONNX_FILE)

    config = CONFIG.model_copy(update={"bits": bits})
    whole = made("joined")
    monkeypatch.setattr("timbre.export.joined.join_products", lambda _: 0)
    apart = made("apart")
    products = [sum(node.op_type == "MatMulNBits" for node in onnx.load(str(path)).graph.node) for path in (whole, apart)]
    layers = products[1] // 7
    assert products[1] == 7 * layers + 1 and products[0] == 4 * layers + 1  # queries, keys and values; out; gate and up; down; the head
    found = []
    for path in (whole, apart):
        decoder = Decoder.open(path)
        logits, cache = decoder.step(np.arange(40)[None], decoder.empty_cache(1))
        rows = decoder.rows()
        for _ in range(3):
            rows.join(cache)
        found.append((logits, *(rows.step(np.array([5, 6, 7 + place])).copy() for place in range(4))))
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
