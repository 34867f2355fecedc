"""Engines behind one protocol write the same text: our decoder, torch, and onnxruntime-genai where it is installed."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.building import export_bundle
from tests.unit.conftest import EXPORT, adapter_artifact, model_artifact
from tests.unit.serving.conftest import Promotions, serving
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig
from timbre.export.genai import GenaiConfig, resolve_genai
from timbre.export.merge import merged_model
from timbre.export.session import Decoder
from timbre.export.trace import resolve_decoder
from timbre.serving.engine import Engine
from timbre.serving.runtimes import GenaiRuntime, Runtime, TorchRuntime

Parts = dict[str, Artifact]
PROMPT = "Beyond the grey water, the old"
needs_genai = pytest.mark.skipif(find_spec("onnxruntime_genai") is None, reason="onnxruntime-genai-cuda is not installed (extra genai)")


@pytest.fixture(scope="module")
def parts(
    tiny_model_dir: Path, tiny_parts: dict[str, Artifact], tiny_store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory
) -> Parts:
    """The tiny model with heads of 16 numbers: onnxruntime-genai rotates no smaller ones, and ours rotates these in one operator."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("wide") / "model"
    shutil.copytree(tiny_model_dir, folder)
    torch.manual_seed(3)
    config = LlamaConfig.from_pretrained(tiny_model_dir, head_dim=16)
    LlamaForCausalLM(config).save_pretrained(folder)
    model = model_artifact(tiny_store, folder, "wide")
    decoder = resolve_decoder(ModelConfig(name="wide"), model, tiny_store)
    return {"model": model, "adapter": adapter_artifact(tiny_store, model, seed=16), "corpus": tiny_parts["corpus"], "decoder": decoder}


@pytest.fixture(scope="module")
def bundle(parts: Parts, tiny_store: ArtifactStore) -> Artifact:
    return export_bundle(EXPORT, store=tiny_store, **parts)


@pytest.fixture(scope="module", params=["torch", pytest.param("genai", marks=needs_genai)])
def other(request: pytest.FixtureRequest, parts: Parts, tiny_store: ArtifactStore) -> Runtime:
    if request.param == "torch":
        return TorchRuntime(merged_model(parts["model"], parts["adapter"]))
    folder = resolve_genai(GenaiConfig(), parts["model"], parts["adapter"], tiny_store).path
    return GenaiRuntime(folder, 256, 8)


def test_rows_of_every_engine_have_the_logits_of_our_decoder(other: Runtime, bundle: Artifact) -> None:
    ours = Decoder.open(bundle.file("serving.onnx"))

    def steps(runtime: Runtime) -> np.ndarray:
        rows, first = runtime.rows(), []
        for row, length in enumerate((3, 9, 5)):
            logits, cache = runtime.read(np.array([[7 + row] * length], np.int64), runtime.empty_cache(1))
            rows.join(cache)
            first.append(logits[0, :384])
        found = [np.stack(first), rows.step(np.array([11, 12, 13]))[:, :384].copy()]
        rows.leave(0)  # the last one takes its number
        found.append(rows.step(np.array([15, 14]))[:, :384].copy())
        assert rows.rows == 2 and rows.nbytes > 0
        return np.concatenate(found)

    np.testing.assert_allclose(steps(other), steps(ours), atol=1e-3)


def test_the_same_seed_gives_the_same_text_on_every_engine(other: Runtime, bundle: Artifact) -> None:
    ours, theirs = Engine.of(bundle), Engine.of(bundle, other)
    texts = ["".join(engine.stream(PROMPT, max_new_tokens=24, seed=2)) for engine in (ours, theirs)]
    assert texts[0] == texts[1] and theirs.provider.startswith(("torch", "onnxruntime-genai"))


def test_rotation_and_norms_are_one_operator_each_where_heads_allow_it(bundle: Artifact) -> None:
    import onnx

    nodes = onnx.load(str(bundle.file("serving.onnx")), load_external_data=False).graph.node
    kinds = [node.op_type for node in nodes]
    rotated = [each.i for node in nodes if node.op_type == "GroupQueryAttention" for each in node.attribute if each.name == "do_rotary"]
    assert rotated == [1, 1] and "Cos" not in kinds and "Softmax" not in kinds and kinds.count("SimplifiedLayerNormalization") == 5
    assert bundle.json("parity.json")["against_serving"] < 1e-4


@needs_genai
def test_a_server_runs_on_genai(
    promotions: Callable[..., Promotions], parts: Parts, bundle: Artifact, make_artifact: Callable[..., Artifact]
) -> None:
    place = Promotions(promotions(base=False).home, {2: bundle}, make_artifact)
    for part in ("model", "adapter"):
        ArtifactStore(place.home).adopt(parts[part].path)
    place.promote(2)
    texts = []
    for engine in ("onnx", "genai"):
        with serving(place.home, "--engine", engine) as server:
            answer = server.text(PROMPT, seed=4, max_tokens=20, n=2)
            texts.append([choice["text"] for choice in answer["choices"]])
            assert answer["timbre"]["version"] == 2 and answer["usage"]["completion_tokens"] == 40
            streamed = server.post("/v1/completions", prompt=PROMPT, seed=4, max_tokens=20, stream=True).text
            assert texts[-1][0] == "".join(
                json.loads(line[6:])["choices"][0]["text"] for line in streamed.splitlines() if line.startswith("data: {")
            )
            assert server.get("/metrics").status_code == 200
            assert server.stop() == 0
    assert texts[0] == texts[1]


def test_a_server_runs_on_torch(promotions: Callable[[], Promotions], tiny_parts: dict[str, Artifact]) -> None:
    place = promotions()
    ArtifactStore(place.home).adopt(tiny_parts["adapter"].path)
    texts = []
    for engine in ("onnx", "torch"):
        with serving(place.home, "--engine", engine) as server:
            texts.append([choice["text"] for choice in server.text(PROMPT, seed=4, max_tokens=20, n=2)["choices"]])
            assert server.get("/metrics").status_code == 200
    assert texts[0] == texts[1]
