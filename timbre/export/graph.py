"""What an ONNX file says beside its computation, and taking that out.

torch.export writes into every node the stack trace of the Python line it came from: paths of the building machine.
They are no use to a reader and would make equal models differ by where they were built.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRODUCER = "timbre"


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
