"""A traced graph made plain: constants folded, doubled work removed, and nothing said beside the computation.

torch.export writes into every node the stack trace of the Python line it came from: paths of the building machine.
They are no use to a reader and would make equal models differ by where they were built.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

PRODUCER = "timbre"


_LARGEST_CONSTANT = 1024
"""Numbers; folded constants are shapes and masks, never weights."""


def simplify(model: Any, weights: Collection[str]) -> None:
    """Fold constants and remove doubled and unused nodes of an `onnx_ir.Model`, in place; `weights` keep their names.

    The pattern rewriter that torch runs here takes as long as tracing does and finds nothing in a decoder that ONNX Runtime
    does not fuse when it loads the file.
    """
    from onnx_ir import Node
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants, inline

    def fold(node: Node) -> bool | None:
        return False if any(value is not None and value.name in weights for value in node.inputs) else None

    inline(model)
    fold_constants(model, input_size_limit=_LARGEST_CONSTANT, output_size_limit=_LARGEST_CONSTANT, should_fold=fold)
    for step in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        step(model)


def scrub(path: Path) -> None:
    """Remove doc strings, metadata and tool versions from an ONNX file in place; its weights are not touched."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    model.producer_name, model.producer_version, model.domain = PRODUCER, "", ""
    for message in _messages(model):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    path.write_bytes(model.SerializeToString(deterministic=True))


def _messages(model: Any) -> Iterator[Any]:
    yield model
    yield from _graph(model.graph)
    for function in model.functions:
        yield function
        yield from function.value_info
        yield from _nodes(function.node)


def _graph(graph: Any) -> Iterator[Any]:
    yield graph
    yield from graph.initializer
    for values in (graph.input, graph.output, graph.value_info):
        yield from values
    yield from _nodes(graph.node)


def _nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graph(attribute.g)
            for graph in attribute.graphs:
                yield from _graph(graph)
