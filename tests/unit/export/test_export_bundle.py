"""What a user finds in a bundle: everything needed to run it, proof that it is the trained model, and nothing of the machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.building import export_bundle
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ExportConfig, Frozen, ModelConfig
from timbre.corpus.documents import Document, read_documents
from timbre.export.facts import BundleFacts
from timbre.export.parity import LONGEST, SHORTEST, parity_prompts

MakeArtifact = Callable[[ArtifactStore, str, Frozen, Callable[[Path], None]], Artifact]
REBUILD = """
import sys
from pathlib import Path
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ExportConfig, Frozen, ModelConfig
from timbre.export.stage import STAGE
home, config, *parts = sys.argv[1:]
parts = dict(zip(("model", "adapter", "corpus", "decoder"), (Artifact.open(Path(part)) for part in parts)))
ArtifactStore(Path(home)).build(STAGE, ExportConfig.model_validate_json(config), parts)
"""


def test_bundle_holds_decoder_tokenizer_facts_and_evidence(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact]) -> None:
    assert set(tiny_bundle.manifest.files) >= {
        "model.onnx", "model.onnx.data", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
        "bundle.json", "parity.json", "latency.json", "card.md",
    }  # fmt: skip
    facts = BundleFacts.read(tiny_bundle)
    assert (facts.architecture, facts.layers, facts.kv_heads, facts.head_dim) == ("LlamaForCausalLM", 2, 2, 8)
    assert (facts.vocab_size, facts.context, facts.bos_token_id, facts.eos_token_ids) == (384, 512, 1, (2,))
    assert facts.digests == {name: part.digest for name, part in tiny_parts.items()}
    assert facts.style == "literary" and facts.provider == "CPUExecutionProvider"
    latency = tiny_bundle.json("latency.json")
    assert latency["onnx_ms_per_token"] > 0 and latency["torch_ms_per_token"] > 0
    assert latency["base_ms_per_token"] > 0 and latency["candidate_ms_per_token"] > 0 and latency["base_ratio"] > 0


def test_bundle_proves_that_it_is_the_trained_model(tiny_bundle: Artifact) -> None:
    parity = tiny_bundle.json("parity.json")
    assert 0 < parity["max_abs_logit_difference"] < 1e-4 < parity["tolerance"]
    assert parity["max_abs_logit_difference"] == max(parity["against_merged"], parity["against_adapter"])
    assert parity["greedy_equal"] == parity["greedy_total"] == 5 and parity["greedy_tokens"] == 6


def test_card_names_texts_licences_and_digests(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact]) -> None:
    card = tiny_bundle.file("card.md").read_text(encoding="utf-8")
    assert "| generated | CC0-1.0 | public domain | 30 |" in card
    assert all(tiny_parts[name].digest in card for name in ("model", "adapter", "corpus"))
    assert "5 of 5" in card and "kept" in card and "NOT kept" not in card


def test_same_inputs_give_the_same_bytes_in_another_process_and_place(
    tiny_bundle: Artifact, tiny_parts: dict[str, Artifact], tmp_path: Path
) -> None:
    parts = [str(tiny_parts[name].path) for name in ("model", "adapter", "corpus", "decoder")]
    config = ExportConfig.model_validate(tiny_bundle.manifest.config).model_dump_json()
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONHASHSEED": "4242", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", REBUILD, str(tmp_path / "home"), config, *parts], check=True, cwd=tmp_path, env=environment)
    [manifest] = (tmp_path / "home").glob("artifacts/bundle/*/manifest.json")
    again = Artifact.open(manifest.parent)
    assert again.digest == tiny_bundle.digest, "measured times are no part of who a bundle is"
    files = again.manifest.files
    different = {name for name in files if files[name] != tiny_bundle.manifest.files[name]}
    assert set(files) == set(tiny_bundle.manifest.files) and different <= {"latency.json"}, different


def test_no_file_names_a_place_on_this_machine(tiny_bundle: Artifact, tmp_path: Path) -> None:
    places = [str(Path.home()), str(Path.cwd()), str(tmp_path.parent), str(tiny_bundle.path.parents[2]), sys.prefix]
    for name in tiny_bundle.manifest.files:
        data = tiny_bundle.file(name).read_bytes()
        assert not [place for place in places if place.encode() in data], name


def test_model_without_fast_tokenizer_is_refused_with_what_to_do(
    tiny_parts: dict[str, Artifact], tmp_path: Path, make_artifact: MakeArtifact
) -> None:
    def without(folder: Path) -> None:
        for name in tiny_parts["model"].manifest.files:
            if name != "tokenizer.json":
                shutil.copyfile(tiny_parts["model"].file(name), folder / name)

    store = ArtifactStore(tmp_path)
    model = make_artifact(store, "model", ModelConfig(name="bare"), without)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        export_bundle(ExportConfig(), model, tiny_parts["adapter"], tiny_parts["corpus"], tiny_parts["decoder"], store)
    assert not list(tmp_path.glob("artifacts/bundle/[0-9a-f]*")), "a refused export leaves no artifact"


def test_prompts_are_openings_of_unequal_length_first_and_later_stretches_only_when_needed(
    tiny_parts: dict[str, Artifact], tiny_bundle: Artifact
) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_bundle.file("tokenizer.json")))
    documents = read_documents(tiny_parts["corpus"], "test")
    prompts = parity_prompts(documents, tokenizer, 16)
    assert prompts == parity_prompts(list(reversed(documents)), tokenizer, 16), "stored order does not matter"
    assert len({len(prompt) for prompt in prompts}) > 3 and all(SHORTEST <= len(prompt) <= LONGEST for prompt in prompts)
    opens = [any(one.text.startswith(tokenizer.decode(prompt)) for one in documents) for prompt in prompts]
    assert opens == [True] * len(documents) + [False] * (16 - len(documents))
    assert max(map(len, parity_prompts(documents, tokenizer, 16, longest=4))) <= 4, "a small context shortens them"


def test_corpus_without_test_text_is_a_clear_error(tiny_bundle: Artifact) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_bundle.file("tokenizer.json")))
    no_documents: list[Document] = []
    with pytest.raises(ValueError, match="no test text"):
        parity_prompts(no_documents, tokenizer, 4)


def test_finding_a_cached_bundle_imports_neither_torch_nor_onnxruntime(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact]) -> None:
    check = REBUILD + "assert not {'torch', 'onnxruntime', 'transformers', 'peft'} & set(sys.modules), 'too much is imported'"
    home = tiny_bundle.path.parents[2]
    before = json.dumps(sorted(str(path) for path in home.glob("artifacts/bundle/*")))
    parts = [str(tiny_parts[name].path) for name in ("model", "adapter", "corpus", "decoder")]
    config = ExportConfig.model_validate(tiny_bundle.manifest.config).model_dump_json()
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", check, str(home), config, *parts], check=True, env=os.environ | {"PYTHONPATH": str(root)})
    assert before == json.dumps(sorted(str(path) for path in home.glob("artifacts/bundle/*")))
