"""Rounded products that read the same values as one: queries, keys and values of a layer, and gate and up.

Each column of a product is its own sum, so side by side they give the same bits. What is saved is the beginning and end of a product,
some 10 µs of each thread, which a step of one token has 210 of in a model of 30 layers.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_PRODUCT, _COLUMNS = "MatMulNBits", "N"


def join_products(model: "ModelProto") -> int:
    """Join them in place, and say how many nodes went. Weights are in memory, not in a file beside the graph."""
    from onnx import helper

    graph, initializers = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    alike: dict[Any, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        own = all(name in initializers and len(users[name]) == 1 for name in node.input[1:])
        if node.op_type == _PRODUCT and own and not {value.name for value in graph.output} & set(node.output):
            about = sorted((each.name, helper.get_attribute_value(each)) for each in node.attribute if each.name != _COLUMNS)
            alike[node.input[0], len(node.input), str(about)].append(node)
    new: dict[str, list[NodeProto]] = {}
    gone: set[str] = set()
    for nodes in alike.values():
        if len(nodes) > 1:
            made, tensors = _joined(nodes, initializers, users)
            new |= {node.output[0]: [] for node in nodes} | {nodes[0].output[0]: made}
            gone |= {name for node in nodes for name in node.input[1:]}
            graph.initializer.extend(tensors)
    nodes_left = [each for node in graph.node for each in new.get(node.output[0], [node])]
    weights_left = [tensor for tensor in graph.initializer if tensor.name not in gone]
    went = len(graph.node) - len(nodes_left)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes_left)
    graph.initializer.extend(weights_left)
    return went


def _joined(
    nodes: "list[NodeProto]", initializers: "dict[str, TensorProto]", users: "dict[str, list[NodeProto]]"
) -> "tuple[list[NodeProto], list[TensorProto]]":
    """One product in place of several, and what hands its columns on; and its weights."""
    from onnx import helper, numpy_helper

    first, outputs = nodes[0], [node.output[0] for node in nodes]
    attributes = {each.name: helper.get_attribute_value(each) for each in first.attribute}
    columns = [next(each.i for each in node.attribute if each.name == _COLUMNS) for node in nodes]
    tensors = []
    for place, name in enumerate(first.input[1:], start=1):  # rows of a matrix, or a list of all rows' numbers: both lie one after another
        parts = [numpy_helper.to_array(initializers[node.input[place]]) for node in nodes]
        tensors.append(numpy_helper.from_array(np.concatenate(parts), f"{name}.joined"))
    whole = f"{outputs[0]}.joined"
    inputs = [first.input[0], *(tensor.name for tensor in tensors)]
    made = [
        helper.make_node(
            _PRODUCT, inputs, [whole], name=f"{first.name}.joined", domain=first.domain, **attributes | {_COLUMNS: sum(columns)}
        )
    ]
    reader = users[outputs[0]][0]
    if reader.op_type == "GroupQueryAttention" and list(reader.input[:3]) == outputs and all(len(users[name]) == 1 for name in outputs):
        reader.input[0], reader.input[1], reader.input[2] = whole, "", ""  # it takes the three side by side
        return made, tensors
    tensors.append(numpy_helper.from_array(np.array(columns, np.int64), f"{whole}.columns"))
    made.append(helper.make_node("Split", [whole, f"{whole}.columns"], outputs, name=f"{whole}.split", axis=-1))
    return made, tensors
