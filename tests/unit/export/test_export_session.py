"""Opening a decoder says what runs it, and refuses what it cannot do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timbre.artifacts import Artifact
from timbre.export.session import CPU, CUDA, Decoder, left_padded, open_session, provider_of
from timbre.settings import settings


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("TIMBRE_DEVICE", request.param)
    settings.cache_clear()
    request.addfinalizer(settings.cache_clear)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_cpu_is_used_when_asked_for(tiny_bundle: Artifact, device: None) -> None:
    session = open_session(tiny_bundle.file("model.onnx"))
    assert provider_of(session) == CPU and session.get_session_options().intra_op_num_threads == settings().threads


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_cuda_is_used_or_refused_but_never_silently_replaced(tiny_bundle: Artifact, device: None) -> None:
    try:
        assert provider_of(open_session(tiny_bundle.file("model.onnx"))) == CUDA
    except ValueError as error:
        assert "TIMBRE_DEVICE=cuda" in str(error) and "cuDNN" in str(error)


@pytest.mark.parametrize("device", ["tpu"], indirect=True)
def test_unknown_device_is_refused(tiny_bundle: Artifact, device: None) -> None:
    with pytest.raises(ValueError, match="use auto, cpu or cuda"):
        open_session(tiny_bundle.file("model.onnx"))


def test_opening_writes_nothing_to_the_terminal(tiny_bundle: Artifact) -> None:
    path = str(tiny_bundle.file("model.onnx"))
    code = f"from pathlib import Path\nfrom timbre.export.session import open_session\nopen_session(Path({path!r}))"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert (done.stdout, done.stderr) == ("", "")


def test_onnx_file_without_cache_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("input_ids", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["input_ids"], ["logits"])], "plain", values[:1], values[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(tmp_path / "plain.onnx"))
    with pytest.raises(ValueError, match="not a decoder with a key-value cache"):
        Decoder.open(tmp_path / "plain.onnx")


@given(st.lists(st.lists(st.integers(0, 99), max_size=9), min_size=1, max_size=5))
def test_left_padding_keeps_every_token_and_its_order(rows: list[list[int]]) -> None:
    ids, mask = left_padded(rows)
    assert [row[seen == 1].tolist() for row, seen in zip(ids, mask, strict=True)] == rows
    assert (np.diff(mask, axis=1) >= 0).all(), "padding stands before the tokens"
