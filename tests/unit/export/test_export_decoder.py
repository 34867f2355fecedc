"""The exported decoder computes what the model computes, whatever its shape, and its file says nothing of where it was made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.artifacts import Artifact
from timbre.export.parity import TOLERANCE, largest_difference, onnx_logits, torch_greedy
from timbre.export.session import Decoder, greedy

VOCABULARY = 64
ROWS = [[5, 9, 33, 60, 2, 17, 41, 8, 12, 3, 3, 50], [7, 1, 22, 22, 63], [0, 13, 44, 9, 31, 6, 18, 25]]
LLAMA_LIKE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip


def _config(shape: str) -> Any:
    from transformers import GPT2Config, MistralConfig, Qwen3Config

    match shape:
        case "learned positions (GPT-2)":
            return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, n_positions=64, initializer_range=0.3)
        case "sliding window (Mistral)":
            return MistralConfig(**{**LLAMA_LIKE, "num_hidden_layers": 1}, sliding_window=4)
        case _:
            return Qwen3Config(**LLAMA_LIKE, head_dim=16, use_sliding_window=True, sliding_window=4, max_window_layers=1)


@pytest.mark.parametrize("shape", ["learned positions (GPT-2)", "sliding window (Mistral)", "full and sliding layers (Qwen3)"])
def test_decoder_equals_the_model_with_padding_and_cache(shape: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from timbre.export.decoder import MODEL_FILE, trace_decoder
    from timbre.export.weights import DATA_FILE, weights_of, write_weights

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(_config(shape), attn_implementation="eager").eval()
    slots = trace_decoder(model, tmp_path)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(_config(shape), attn_implementation="eager").eval()
    write_weights(slots, weights_of(model), tmp_path / DATA_FILE)
    decoder = Decoder.open(tmp_path / MODEL_FILE)

    difference = largest_difference(model, ROWS, onnx_logits(decoder, ROWS, 5), VOCABULARY)
    assert difference < 2e-5, "fp32 rounding of logits of size ~10"
    np.testing.assert_array_equal(greedy(decoder, ROWS, 6, VOCABULARY), torch_greedy(model, ROWS, 6, VOCABULARY).best)


def test_one_row_at_a_time_gives_the_numbers_of_the_batch(tiny_bundle: Artifact) -> None:
    decoder = Decoder.open(tiny_bundle.file("model.onnx"))
    batch = onnx_logits(decoder, ROWS, 3)
    for number, row in enumerate(ROWS):
        np.testing.assert_allclose(onnx_logits(decoder, [row], 3)[0], batch[number, -len(row) :], atol=2e-5)


def test_parity_sees_another_adapter_and_one_wrong_weight(tiny_bundle: Artifact, tiny_parts: dict[str, Artifact]) -> None:
    import torch

    from timbre.export.merge import merged_model, unmerged_model

    logits = onnx_logits(Decoder.open(tiny_bundle.file("model.onnx")), ROWS, 3)
    model, adapter = tiny_parts["model"], tiny_parts["adapter"]
    assert largest_difference(unmerged_model(model, adapter), ROWS, logits, VOCABULARY) < 1e-4
    assert largest_difference(merged_model(model), ROWS, logits, VOCABULARY) > 100 * TOLERANCE, "the base is not the adapted model"

    merged: Any = merged_model(model, adapter)
    with torch.no_grad():
        merged.model.layers[1].self_attn.v_proj.weight[0, 0] += 0.1
    assert largest_difference(merged, ROWS, logits, VOCABULARY) > TOLERANCE
    with torch.no_grad():
        merged.model.layers[1].self_attn.v_proj.weight[0, 0] = float("nan")
    assert largest_difference(merged, ROWS, logits, VOCABULARY) == float("inf")


def test_file_holds_no_trace_of_the_building_machine(tiny_bundle: Artifact) -> None:
    import onnx

    raw = tiny_bundle.file("model.onnx").read_bytes()
    for trace in (b"site-packages", b".py", b"forward(", b"/home", b"/tmp", str(Path.cwd()).encode()):
        assert trace not in raw, trace
    model = onnx.load(str(tiny_bundle.file("model.onnx")), load_external_data=False)
    onnx.checker.check_model(str(tiny_bundle.file("model.onnx")))
    assert {entry.value for weight in model.graph.initializer for entry in weight.external_data if entry.key == "location"} == {
        "model.onnx.data"
    }


def test_inputs_and_outputs_have_the_names_other_runtimes_know(tiny_bundle: Artifact) -> None:
    from timbre.export.session import open_session

    session = open_session(tiny_bundle.file("model.onnx"))
    shapes = {item.name: item.shape for item in [*session.get_inputs(), *session.get_outputs()]}
    assert list(shapes)[:5] == ["input_ids", "attention_mask", "position_ids", "past_key_values.0.key", "past_key_values.0.value"]
    assert shapes["past_key_values.1.key"] == ["batch", 2, "past_sequence_length", 8]
    assert shapes["present.1.value"][:2] == ["batch", 2] and isinstance(shapes["present.1.value"][2], str)
    assert shapes["logits"] == ["batch", "sequence_length", 384]


def test_a_model_of_another_structure_gets_a_graph_of_its_own(tiny_parts: dict[str, Artifact], tmp_path: Path) -> None:
    import torch

    from timbre.export.merge import merged_model
    from timbre.export.trace import write_decoder

    model: Any = merged_model(tiny_parts["model"])
    head = torch.nn.Linear(model.lm_head.in_features, model.lm_head.out_features, bias=True)
    model.set_output_embeddings(head)
    model.config.tie_word_embeddings = False
    write_decoder(tiny_parts["decoder"], model, tmp_path)
    logits = onnx_logits(Decoder.open(tmp_path / "model.onnx"), ROWS, 3)
    assert largest_difference(model, ROWS, logits, VOCABULARY) < 2e-5
