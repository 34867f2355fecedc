"""A corrected head and fully trained weights are exported like LoRA is: one plain decoder, proven to be what was trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.building import export_bundle
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ExportConfig, Frozen, TrainingConfig
from timbre.export.merge import merged_model
from timbre.models import load_model
from timbre.training.adapters import adapter_parameters, prepare, save_adapter

MakeArtifact = Callable[[ArtifactStore, str, Frozen, Callable[[Path], None]], Artifact]


def adapter_of(kind: str, parts: dict[str, Artifact], store: ArtifactStore, make_artifact: MakeArtifact) -> Artifact:
    """An adapter of that kind with random weights, as training would save it."""
    config = TrainingConfig.model_validate({"adapter": kind, "rank": 4})

    def write(folder: Path) -> None:
        network = prepare(load_model(parts["model"]), config)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in adapter_parameters(network).values():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        save_adapter(network, folder)

    return make_artifact(store, "adapter", config, write)


@pytest.mark.parametrize("kind", ["correction", "full"])
def test_the_bundle_of_every_adapter_is_the_trained_model(
    kind: str, tiny_parts: dict[str, Artifact], make_artifact: MakeArtifact, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path)
    adapter = adapter_of(kind, tiny_parts, store, make_artifact)
    config = ExportConfig(parity_prompts=3, parity_tokens=4, latency_tokens=1)
    bundle = export_bundle(config, tiny_parts["model"], adapter, tiny_parts["corpus"], tiny_parts["decoder"], store)
    parity = bundle.json("parity.json")
    assert 0 < parity["max_abs_logit_difference"] < 1e-4 < parity["tolerance"]
    assert parity["greedy_agreed"] == parity["greedy_total"] == 3
    ids = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        plain, trained = (merged_model(tiny_parts["model"], choice)(ids).logits for choice in (None, adapter))
    assert float((plain - trained).abs().max()) > 0.1, "the adapter does something"
