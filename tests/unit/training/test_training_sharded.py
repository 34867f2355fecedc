"""Checkpoints that every process writes its part of, in the background."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from timbre.training.checkpoints import Checkpoint
from timbre.training.parallel import World
from timbre.training.sharded import ShardedCheckpoints, shards_of


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """A process group of one."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def _checkpoint(step: int) -> tuple[Checkpoint, dict[str, nn.Parameter]]:
    torch.manual_seed(step)
    weights = {"layer.weight": nn.Parameter(torch.randn(5, 3))}
    optimizer = torch.optim.AdamW(weights.values())
    weights["layer.weight"].grad = torch.randn(5, 3)
    optimizer.step()
    best: dict[str, Tensor] = {"layer.weight": torch.randn(5, 3)}
    return Checkpoint(step, {"tokens": step * 10}, shards_of(weights, best, optimizer)), weights


def test_what_was_saved_comes_back_and_what_happens_meanwhile_changes_nothing(tmp_path: Path) -> None:
    saved, weights = _checkpoint(3)
    wanted = {name: value.clone() for name, value in saved.tensors.items()}
    store = ShardedCheckpoints(tmp_path, "this run", World())
    store.save(saved)
    with torch.no_grad():
        weights["layer.weight"].zero_()  # the next step, while the file is written
    store.finish()
    found = ShardedCheckpoints(tmp_path, "this run", World()).newest(weights)
    assert found is not None and (found.step, found.state) == (3, {"tokens": 30})
    assert found.tensors.keys() == wanted.keys() and {name.split("/")[0] for name in wanted} == {"adapter", "best", "optimizer"}
    for name, value in wanted.items():
        assert torch.equal(found.tensors[name], value), name
    assert torch.count_nonzero(weights["layer.weight"]) == 0, "nothing is loaded into what is trained"


def test_two_are_kept_as_safetensors_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    store = ShardedCheckpoints(tmp_path, "this run", World())
    for step in (1, 2, 3):
        saved, weights = _checkpoint(step)
        store.save(saved)
    store.finish()
    older, newest = sorted(tmp_path.glob("step-*"))
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json"}
    (file,) = newest.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (tmp_path / ".step-000009").mkdir()
    with pytest.warns(UserWarning, match=r"step-000003-.* is damaged; going on from an older checkpoint"):
        found = store.newest(weights)
    assert found is not None and found.step == 2 and older.name.startswith("step-000002-")
    assert not (tmp_path / ".step-000009").exists(), "what a kill left is removed"


def test_a_checkpoint_of_other_data_is_not_gone_on_from(tmp_path: Path) -> None:
    saved, weights = _checkpoint(1)
    store = ShardedCheckpoints(tmp_path, "this run", World())
    store.save(saved)
    store.finish()
    with pytest.warns(UserWarning, match="belongs to a run with other data or settings"):
        assert ShardedCheckpoints(tmp_path, "another run", World()).newest(weights) is None


def test_what_stops_the_writing_is_said_at_the_next_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store = ShardedCheckpoints(tmp_path, "this run", World())
    monkeypatch.setattr("timbre.training.sharded.write_atomically", full)
    saved, weights = _checkpoint(1)
    store.save(saved)
    with pytest.raises(OSError, match="No space left"):
        store.finish()
    monkeypatch.undo()
    assert store.newest(weights) is None
