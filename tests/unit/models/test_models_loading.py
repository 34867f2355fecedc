"""Where models go, and the product with the head that keeps what bf16 operands hold."""

import os
from pathlib import Path

import pytest
import torch

from timbre.artifacts import ArtifactStore
from timbre.config import ModelConfig
from timbre.models import device, load_model, loading, logits, resolve_model
from timbre.models.adapters import correct_head
from timbre.progress import SILENT
from timbre.settings import settings


@pytest.mark.parametrize("rows", [7, 9_001])
def test_logits_of_bf16_operands_are_not_rounded_to_bf16(rows: int) -> None:
    """Against float64: 64 float32 sums err by some 1e-6 of values near 10; bf16 would by 1e-2."""
    generator = torch.Generator().manual_seed(1)
    hidden, head = (torch.randn(count, 64, generator=generator).bfloat16() for count in (5, rows))
    found = logits(hidden, head)
    assert found.dtype == torch.float32 and found.shape == (5, rows)
    assert float((found - hidden.double() @ head.double().T).abs().max()) < 2e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_of_wide_operands_are_their_plain_product(dtype: torch.dtype) -> None:
    hidden, head = (torch.randn(count, 16, generator=torch.Generator().manual_seed(count), dtype=dtype) for count in (5, 5_000))
    assert torch.equal(logits(hidden, head), hidden @ head.T)


def test_a_cuda_device_comes_with_repeatable_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_DEVICE", "cuda")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings.cache_clear()
    try:
        assert device().type == "cuda" and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
        assert device().type == "cuda" and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8", "what a person has set stays"
    finally:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # so that what was set here is put back
        settings.cache_clear()


def test_a_model_can_be_loaded_beside_the_device_that_it_will_run_on(
    home: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = resolve_model(ModelConfig(name=str(tiny_model_dir)), ArtifactStore(home, SILENT))
    monkeypatch.setattr(loading, "device", lambda: torch.device("meta"))
    assert load_model(model).device.type == "meta"
    assert load_model(model, place=torch.device("cpu")).device.type == "cpu"


def test_a_correction_beside_a_bf16_model_is_held_in_float32(home: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = resolve_model(ModelConfig(name=str(tiny_model_dir)), ArtifactStore(home, SILENT))
    monkeypatch.setenv("TIMBRE_DTYPE", "bfloat16")
    settings.cache_clear()
    model = load_model(artifact)
    ids = torch.arange(6)[None]
    with torch.no_grad():
        before = model(ids).logits
        head = correct_head(model, 4, 8)
        assert {part.dtype for part in (head.down, head.up, head.bias)} == {torch.float32} and head.weight.dtype == torch.bfloat16
        assert torch.equal(model(ids).logits, before.float()), "without effect"
        head.bias[3] = 1e-6
        assert head.merged().weight.dtype == torch.bfloat16 and float(head.bias[3]) == pytest.approx(1e-6)
