"""The weights of a traced decoder, kept beside the graph: which goes where, and filling them in.

The graph names each weight as the model does (`lm_head.weight`), or with `.T` where the computation wants it transposed, and
points to a place in `model.onnx.data`. Any model of the same architecture can be written there.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import digest_json
from timbre.config import Frozen

if TYPE_CHECKING:
    from torch import Tensor

DATA_FILE = "model.onnx.data"
_PREFIX = "model."
"""The traced module holds the model under this name."""
_ALIGNMENT = 4096
"""Bytes; a reader can map a weight's pages without copying them."""


class Slot(Frozen):
    """One weight of the graph and its place in the data file."""

    name: str
    parameter: str
    transposed: bool
    shape: tuple[int, ...]
    """As stored: already transposed."""
    offset: int

    @property
    def size(self) -> int:
        """Bytes, in fp32."""
        return 4 * math.prod(self.shape)


def weights_of(model: Any) -> dict[str, "Tensor"]:
    """What a checkpoint of the model would hold, by name; tied weights stand under all their names."""
    weights: dict[str, Tensor] = model.state_dict(keep_vars=False)
    return weights


def structure_of(weights: Mapping[str, "Tensor"]) -> str:
    """Digest of names, shapes and ties: models that share it share a graph."""
    first: dict[int, str] = {}
    return digest_json({name: [list(weight.shape), first.setdefault(weight.data_ptr(), name)] for name, weight in weights.items()})


def detach_weights(graph_model: Any, weights: Mapping[str, "Tensor"]) -> list[Slot]:
    """Take the weights out of a freshly traced `onnx_ir.Model`, in place, before anything is folded into them.

    A weight that the graph transposes is stored transposed, so that nobody does it again at each start.
    """
    graph = graph_model.graph
    slots: list[Slot] = []
    for name, value in list(graph.initializers.items()):
        parameter = name.removeprefix(_PREFIX)
        if parameter not in weights:
            continue
        transposes = [node for node in value.consumers() if node.op_type == "Transpose" and _swaps(node)]
        for transposed in (False, True):
            users = transposes if transposed else [node for node in value.consumers() if node not in transposes]
            if users:
                slot = _slot(parameter, weights[parameter], transposed, slots)
                _replace(graph, value, users, slot)
                slots.append(slot)
        del graph.initializers[name]
    return slots


def write_weights(slots: Sequence[Slot], weights: Mapping[str, "Tensor"], path: Path) -> None:
    """Write the data file of a graph for weights of its structure."""
    import torch

    with path.open("wb") as stream:
        for slot in slots:
            weight = weights[slot.parameter].detach()
            stored = weight.T if slot.transposed else weight
            assert tuple(stored.shape) == slot.shape, f"{slot.parameter} is of another model than the graph"
            stream.write(b"\0" * (slot.offset - stream.tell()))
            stream.write(stored.to("cpu", torch.float32).contiguous().numpy().tobytes())


def _slot(parameter: str, weight: "Tensor", transposed: bool, before: Sequence[Slot]) -> Slot:
    end = before[-1].offset + before[-1].size if before else 0
    shape = tuple(weight.shape)[::-1] if transposed else tuple(weight.shape)
    return Slot(
        name=f"{parameter}.T" if transposed else parameter, parameter=parameter, transposed=transposed, shape=shape,
        offset=-(-end // _ALIGNMENT) * _ALIGNMENT,
    )  # fmt: skip


def _replace(graph: Any, value: Any, users: Sequence[Any], slot: Slot) -> None:
    """Let `users` read the slot instead of `value`; users of a transposed slot are the transposes, which go."""
    import onnx_ir

    tensor = onnx_ir.ExternalTensor(DATA_FILE, slot.offset, slot.size, value.dtype, shape=onnx_ir.Shape(slot.shape), name=slot.name)
    stored = onnx_ir.Value(name=slot.name, shape=onnx_ir.Shape(slot.shape), type=value.type, const_value=tensor)
    graph.register_initializer(stored)
    for node in users:
        if slot.transposed:
            node.outputs[0].replace_all_uses_with(stored)
            graph.remove(node, safe=True)
        else:
            for index, given in enumerate(node.inputs):
                if given is value:
                    node.replace_input_with(index, stored)


def _swaps(node: Any) -> bool:
    permutation = node.attributes.get("perm")
    return permutation is not None and list(permutation.as_ints()) == [1, 0]
