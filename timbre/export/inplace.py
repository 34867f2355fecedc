"""A decoder that writes keys and values where they lie: the exported graph with each layer's attention as one operator.

The exported graph (timbre.export.decoder) joins the cache and the new token into a larger array at every step, and spreads the
heads of keys and values over those of the queries: copies that grow with the text. ONNX Runtime's `GroupQueryAttention` takes the
cache as buffers of a fixed length and writes the new token into its own place, when the same buffer is bound as input and output.

    input_ids                        int64 [batch, sequence]
    position_ids                     int64 [batch, sequence]              only where the graph itself still asks for positions
    seqlens_k                        int32 [batch]                        tokens of each row after this step, less one
    total_sequence_length            int32 []                             the largest of them, and one
    logits_from                      int64 [1]                            first place whose logits are wanted; where the head is a product
    past_key_values.{layer}.key      float [batch, kv_heads, slots, head_dim], and .value
    logits                           float [batch, sequence − logits_from, vocabulary]
    present.{layer}.key              the same buffers

Rows fill their slots from the left; what lies behind a row's tokens is never read. The weights stay in the data file of the exported
graph. Rotation (RoPE) and RMSNorm become one operator each where they are written in the usual way; else their nodes stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

SERVING_FILE = "serving.onnx"
_MICROSOFT = "com.microsoft"
_FLAT, _COS, _SIN = "heads_joined", "rotation.cos", "rotation.sin"
FIRST, _ALL, _PLACES = "logits_from", "logits_until", "logits_axis"
_AFTER_THE_HEAD = ("Add", "Mul", "Div", "Tanh", "Cast")
"""What may lie between the head's product and the logits: a bias, a scale, a soft cap. Each place for itself."""
_SPREADS = ("Slice", "Unsqueeze", "Expand", "Reshape", "Transpose")
"""What may lie between a layer's keys or values and the product that reads them."""
_OF_THE_MASK = {
    "Where", "And", "Cast", "Slice", "Unsqueeze", "LessOrEqual", "Range", "Shape", "Squeeze", "Add", "Gather", "Concat", "Reshape",
}  # fmt: skip
"""Nodes of the causal mask of whole attention; a window or a bias has others (a second `And`, `Greater`, …)."""


_SIZES = {_FLAT: [0, 0, -1], _ALL: [np.iinfo(np.int64).max], _PLACES: [1]}


class _Unlike(Exception):
    """The graph is not written in the way that is looked for."""


@dataclass
class _Graph:
    """A graph that can be walked in both directions."""

    graph: "GraphProto"
    made_by: dict[str, "NodeProto"] = field(default_factory=dict)
    used_by: dict[str, list["NodeProto"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            self.made_by |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.used_by.setdefault(name, []).append(node)

    def number(self, name: str) -> np.ndarray | None:
        """A constant's value; None for what is computed, and for weights."""
        from onnx import TensorProto, numpy_helper

        tensor = self.initializers.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def scalar(self, node: "NodeProto") -> float:
        """The constant number among a node's inputs."""
        for name in node.input:
            if (value := self.number(name)) is not None and value.size == 1:
                return float(value.reshape(()))
        raise _Unlike(f"{node.op_type} without a number")

    def parent(self, name: str, *kinds: str) -> "NodeProto":
        node = self.made_by.get(name)
        if node is None or node.op_type not in kinds:
            raise _Unlike(f"{name} is not made by {' or '.join(kinds)}")
        return node

    def child(self, name: str, *kinds: str) -> "NodeProto":
        """The one node that uses a value."""
        users = self.used_by.get(name, [])
        if len(users) != 1 or users[0].op_type not in kinds:
            raise _Unlike(f"{name} is not used by one {' or '.join(kinds)}")
        return users[0]

    def along(self, name: str, kinds: Sequence[str]) -> list["NodeProto"]:
        """The nodes of these kinds that follow one another from a value on."""
        found: list[NodeProto] = []
        while len(users := [node for node in self.used_by.get(name, []) if node.op_type in kinds]) == 1:
            found.append(users[0])
            name = users[0].output[0]
        return found


@dataclass(frozen=True)
class _Layer:
    """The nodes of one layer's attention."""

    number: int
    query: str
    key: str
    value: str
    """[batch, heads, sequence, head_dim], of the new tokens."""
    out: "NodeProto"
    """The last node: [batch, sequence, heads · head_dim]."""
    scale: float
    mask: str
    heads: int
    kv_heads: int
    head_dim: int


def write_serving(folder: Path, source: str, context: int) -> bool:
    """Write `serving.onnx` beside an exported graph, with the same weights; False, and nothing is written, where it is of another kind.

    Args:
        source: name of the exported graph.
        context: tokens that the model reads at most.
    """
    import onnx

    from timbre.export.graph import scrub

    model = onnx.load(str(folder / source), load_external_data=False)
    try:
        served = in_place(model, context)
    except _Unlike:
        return False
    onnx.save(served, str(folder / SERVING_FILE))
    scrub(folder / SERVING_FILE)
    return True


def in_place(model: "ModelProto", context: int) -> "ModelProto":
    """The same decoder with its cache in place; weights are left where they are."""
    from onnx import TensorProto, helper, numpy_helper

    graph = _Graph(model.graph)
    layers = [_layer(graph, number) for number in _numbers(model.graph)]
    if not layers or len({layer.mask for layer in layers}) != 1:
        raise _Unlike("layers with masks of their own")
    _check_mask(graph, layers[0].mask)
    frequencies = _frequencies(graph, layers)
    replaced: dict[str, list[Any]] = {name: [node] for name, node in _norms(graph).items()}
    gone: set[str] = set()
    for layer in layers:
        replaced[layer.out.output[0]] = _attention(graph, layer, rotated=frequencies is not None)
        gone |= {f"present.{layer.number}.key", f"present.{layer.number}.value"}
    if (head := _head(graph)) is not None:
        replaced[head.output[0]] = _from_a_place_on(head)
    nodes = [new for node in model.graph.node if node.output[0] not in gone for new in replaced.get(node.output[0], [node])]
    nodes, used = _needed(nodes, [value.name for value in model.graph.output])
    _check_sizes(nodes)
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in _SIZES.items()]
    if frequencies is not None:
        angles = np.arange(context, dtype=np.float32)[:, None] * frequencies[0].reshape(1, -1)
        constants += [
            numpy_helper.from_array((np.cos(angles) * frequencies[1]).astype(np.float32), _COS),
            numpy_helper.from_array((np.sin(angles) * frequencies[1]).astype(np.float32), _SIN),
        ]
    inputs = [_slotted(value) for value in model.graph.input if value.name in used | {"input_ids"} and value.name != "attention_mask"]
    inputs += [
        helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]),
        helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
        *([] if head is None else [helper.make_tensor_value_info(FIRST, TensorProto.INT64, [1])]),
    ]
    weights = [tensor for tensor in (*model.graph.initializer, *constants) if tensor.name in used]
    made = helper.make_graph(nodes, "decoder", inputs, [_slotted(value) for value in model.graph.output], weights)
    opsets = [*model.opset_import, helper.make_opsetid(_MICROSOFT, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=model.ir_version)


def _numbers(graph: "GraphProto") -> list[int]:
    return sorted(int(value.name.split(".")[1]) for value in graph.input if value.name.endswith(".key"))


def _layer(graph: _Graph, number: int) -> _Layer:
    """One layer's attention, as `softmax(q·kᵀ·scale + mask)·v` over the grown cache."""
    key, value = (graph.parent(f"present.{number}.{part}", "Concat") for part in ("key", "value"))
    spread_k, spread_v = graph.along(key.output[0], _SPREADS), graph.along(value.output[0], _SPREADS[:-1])
    end_k, end_v = (spread[-1].output[0] if spread else node.output[0] for spread, node in ((spread_k, key), (spread_v, value)))
    scores = graph.child(end_k, "MatMul")
    scaled = graph.child(scores.output[0], "Mul", "Div")
    scale = graph.scalar(scaled)
    masked = graph.child(scaled.output[0], "Add")
    soft = graph.child(masked.output[0], "Softmax")
    cast = graph.along(soft.output[0], ("Cast",))
    mixed = graph.child(cast[-1].output[0] if cast else soft.output[0], "MatMul")
    if mixed.input[1] != end_v or not spread_k or spread_k[-1].op_type != "Transpose":
        raise _Unlike("values or keys are read in another way")
    out = graph.child(graph.child(mixed.output[0], "Transpose").output[0], "Reshape")
    _, kv_heads, _, head_dim = (side.dim_value for side in _value(graph.graph, f"past_key_values.{number}.key").type.tensor_type.shape.dim)
    groups = _groups(graph, spread_k)
    if groups != _groups(graph, spread_v):
        raise _Unlike("keys and values are spread differently")
    return _Layer(
        number, scores.input[0], key.input[1], value.input[1], out, 1 / scale if scaled.op_type == "Div" else scale,
        next(name for name in masked.input if name != scaled.output[0]), kv_heads * groups, kv_heads, head_dim,
    )  # fmt: skip


def _groups(graph: _Graph, spread: Sequence["NodeProto"]) -> int:
    """How many heads of queries share one of keys: the third side of what a cache is expanded to, [batch, kv_heads, groups, …]."""
    for node in spread:
        if node.op_type == "Expand":
            sides = graph.parent(node.input[1], "Concat").input
            value = graph.number(sides[2]) if len(sides) == 5 else None
            if value is None or value.size != 1:
                raise _Unlike("heads are spread by a number that is computed")
            return int(value.reshape(()))
    return 1


def _check_mask(graph: _Graph, mask: str) -> None:
    """Only the causal mask over all slots is what the operator does by itself."""
    kinds: list[str] = []
    waiting, seen = [mask], set()
    while waiting:
        node = graph.made_by.get(waiting.pop())
        if node is not None and node.output[0] not in seen:
            seen.add(node.output[0])
            kinds.append(node.op_type)
            waiting += list(node.input)
    if not set(kinds) <= _OF_THE_MASK or kinds.count("LessOrEqual") != 1 or kinds.count("And") != 1:
        raise _Unlike("another mask than the causal one")


def _frequencies(graph: _Graph, layers: Sequence[_Layer]) -> tuple[np.ndarray, float] | None:
    """RoPE's inverse frequencies, and what its cosines are multiplied by; None where a layer is not rotated in the usual way."""
    try:
        found = {_rotation(graph, name) for layer in layers for name in (layer.query, layer.key)}
        if len(found) != 1:
            return None
        (cos, sin) = found.pop()
        sides = [graph.parent(name, "Unsqueeze").input[0] for name in (cos, sin)]
        factors = [graph.parent(side, "Mul") for side in sides]
        waves = [graph.parent(factor.input[0], kind) for factor, kind in zip(factors, ("Cos", "Sin"), strict=True)]
        doubled = graph.parent(waves[0].input[0], "Concat")
        if waves[1].input[0] != doubled.output[0] or doubled.input[0] != doubled.input[1]:
            return None
        product = graph.parent(doubled.input[0], "Mul")
        inverse = next((value for name in product.input if (value := graph.number(name)) is not None), None)
        scales = {graph.scalar(factor) for factor in factors}
    except _Unlike:
        return None
    if inverse is None or len(scales) != 1 or 2 * inverse.size != layers[0].head_dim or inverse.size % 8:
        return None
    return inverse.astype(np.float32), scales.pop()


def _rotation(graph: _Graph, name: str) -> tuple[str, str]:
    """Cosine and sine of `x·cos + (−x₂, x₁)·sin`."""
    added = graph.parent(name, "Add")
    plain, turned = (graph.parent(side, "Mul") for side in added.input)
    halves = graph.parent(turned.input[0], "Concat")
    second, first = graph.parent(graph.parent(halves.input[0], "Neg").input[0], "Slice"), graph.parent(halves.input[1], "Slice")
    if not first.input[0] == second.input[0] == plain.input[0]:
        raise _Unlike("parts of a head are rotated")
    return plain.input[1], turned.input[1]


def _attention(graph: _Graph, layer: _Layer, *, rotated: bool) -> list[Any]:
    """The nodes in place of one layer's attention."""
    from onnx import helper

    nodes: list[Any] = []

    def joined(name: str, part: str) -> str:
        """[batch, sequence, heads · head_dim] of a value whose heads stand apart."""
        apart = graph.made_by.get(name)
        split = graph.made_by.get(apart.input[0]) if apart is not None and apart.op_type == "Transpose" else None
        whole = graph.made_by.get(split.input[0]) if split is not None and split.op_type == "Reshape" else None
        if split is not None and whole is not None and whole.op_type in {"MatMul", "Add"}:
            return str(split.input[0])
        moved, flat = f"attention.{layer.number}.{part}.moved", f"attention.{layer.number}.{part}"
        nodes.append(helper.make_node("Transpose", [name], [moved], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [moved, _FLAT], [flat]))
        return flat

    def before_rotation(name: str) -> str:
        return graph.made_by[graph.made_by[name].input[0]].input[0] if rotated else name

    inputs = [
        joined(before_rotation(layer.query), "query"), joined(before_rotation(layer.key), "key"), joined(layer.value, "value"),
        f"past_key_values.{layer.number}.key", f"past_key_values.{layer.number}.value", "seqlens_k", "total_sequence_length",
        *([_COS, _SIN] if rotated else []),
    ]  # fmt: skip
    outputs = [layer.out.output[0], f"present.{layer.number}.key", f"present.{layer.number}.value"]
    operator = helper.make_node(
        "GroupQueryAttention", inputs, outputs, domain=_MICROSOFT, num_heads=layer.heads, kv_num_heads=layer.kv_heads,
        scale=layer.scale, do_rotary=int(rotated),
    )  # fmt: skip
    return [*nodes, operator]


def _norms(graph: _Graph) -> dict[str, Any]:
    """RMSNorm, `x / sqrt(mean(x²) + ε) · w`, as one node, by the name of what it makes."""
    from onnx import helper

    found = {}
    for node in graph.graph.node:
        if node.op_type != "Pow" or graph.number(node.input[1]) is None or graph.scalar(node) != 2:
            continue
        try:
            shifted = graph.child(graph.child(node.output[0], "ReduceMean").output[0], "Add")
            root = graph.child(graph.child(shifted.output[0], "Sqrt").output[0], "Reciprocal")
            product = graph.child(root.output[0], "Mul")
            weighed = graph.child(product.output[0], "Mul")
            weight = next(name for name in weighed.input if name != product.output[0])
            if set(product.input) != {node.input[0], root.output[0]} or weight not in graph.initializers:
                continue
            found[weighed.output[0]] = helper.make_node(
                "SimplifiedLayerNormalization", [node.input[0], weight], [weighed.output[0]], epsilon=graph.scalar(shifted), axis=-1,
                stash_type=1,
            )  # fmt: skip
        except _Unlike:
            continue
    return found


def _head(graph: _Graph) -> "NodeProto | None":
    """The product with the vocabulary's matrix; None where the logits are made in another way."""
    node = graph.made_by.get("logits")
    while node is not None and node.op_type in _AFTER_THE_HEAD:
        computed = [name for name in node.input if name not in graph.initializers]
        node = graph.made_by.get(computed[0]) if len(computed) == 1 else None
    return node if node is not None and node.op_type == "MatMul" and node.input[1] in graph.initializers else None


def _from_a_place_on(head: "NodeProto") -> list[Any]:
    """The head on the places that logits are wanted of: of a prompt that is the last, and the others would be a fifth of the work."""
    from onnx import helper

    hidden = head.input[0]
    head.input[0] = f"{hidden}.wanted"
    return [helper.make_node("Slice", [hidden, FIRST, _ALL, _PLACES], [head.input[0]]), head]


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> tuple[list[Any], set[str]]:
    """The nodes that the outputs need, each with a name of its own, and the names of all values among them."""
    used, kept = set(outputs), list[Any]()
    for node in reversed(nodes):
        if used.intersection(node.output):
            kept.append(node)
            used |= {name for name in node.input if name}
    kept.reverse()
    for number, node in enumerate(kept):
        node.name = f"{node.op_type}_{number}"
    return kept, used


def _check_sizes(nodes: Sequence[Any]) -> None:
    """What is left asks the mask and the cache for the number of rows at most, which the tokens tell as well."""
    for node in nodes:
        for place, name in enumerate(node.input):
            if node.op_type == "GroupQueryAttention" or not name.startswith(("attention_mask", "past_key_values.")):
                continue
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            if node.op_type != "Shape" or bounds.get("start", 0) != 0 or bounds.get("end") != 1:
                raise _Unlike(f"{node.op_type} of {name}")
            node.input[place] = "input_ids"


def _value(graph: "GraphProto", name: str) -> Any:
    return next(value for value in graph.input if value.name == name)


def _slotted(value: Any) -> Any:
    """The length of the cache is that of the buffer, before and after a step; logits are those that are wanted."""
    if value.name == "logits":
        side = value.type.tensor_type.shape.dim[1]
        side.Clear()
        side.dim_param = "wanted"
    if value.name.startswith(("past_key_values.", "present.")):
        side = value.type.tensor_type.shape.dim[2]
        side.Clear()
        side.dim_param = "slots"
    return value
