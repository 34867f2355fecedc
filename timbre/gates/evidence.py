"""What the gates look at: items and figures read from artifacts, each checked to be about this very candidate.

Nothing is raised here for bad evidence. What is missing, damaged or about something else is written down as a reason in
`Evidence.refused`, and every gate that would have read it FAILs with that reason.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from timbre.artifacts import Artifact, IntegrityError
from timbre.gates.releases import measured_under_others

Items = Mapping[str, Mapping[str, tuple[str, float]]]
"""metric -> item -> (cluster, value)"""

ITEMS_FILE = "items.parquet"
BASE = "base"
_MISUSE = {"candidate": "misuse", "base": "base_misuse"}
"""Where further items of a side stand, if it was asked."""
_DOCUMENTS_FILE = "documents.parquet"
_COLUMNS = ("metric", "item", "cluster", "value")
_DOCUMENTS = {
    "candidate": ("summary",), "base": ("summary",), "bundle": ("parity", "latency"), "target": ("admission", "summary"),
    "adapter": ("summary",), "corpus": ("counts", "contract"), "misuse": ("summary",), "base_misuse": ("summary",),
}  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Everything that may be judged.

    Attributes:
        items: "candidate" and "base" -> their `items.parquet`.
        documents: artifact -> file without ".json" -> its content.
        refused: artifact -> why its evidence does not count.
        rival: what the candidate is compared with, as people call it: "base", or a version.
    """

    items: Mapping[str, Items] = field(default_factory=dict)
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    rival: str = BASE

    def values(self, side: str, metric: str) -> Mapping[str, tuple[str, float]]:
        """item -> (cluster, value) of one metric of one side.

        Raises:
            ValueError: refused, missing or empty.
        """
        self._check(side)
        if side not in self.items:
            raise ValueError(f"the {side} evaluation was not read")
        values = self.items[side].get(metric)
        if not values:
            raise ValueError(f"the {side} evaluation measured no {metric!r}")
        return values

    def figure(self, path: str) -> Any:
        """One figure, `<artifact>.<file>.<field>...`, or the quotient or difference of two, `a / b` and `a - b`.

        Raises:
            ValueError: refused, missing, null, not finite, or a quotient by zero.
        """
        for sign in (" / ", " - "):
            if sign in path:
                one, other = (self.figure(part) for part in path.split(sign))
                if not _is_number(one) or not _is_number(other) or (sign == " / " and other == 0):
                    raise ValueError(f"{path} is {one!r}{sign}{other!r}, not a number")
                return one / other if sign == " / " else one - other
        artifact, *rest = path.split(".")
        self._check(artifact)
        value: Any = self.documents.get(artifact, {})
        for name in rest:
            if not isinstance(value, Mapping) or name not in value:
                raise ValueError(f"there is no {path} in the evidence")
            value = value[name]
        if value is None or isinstance(value, Mapping | list):
            raise ValueError(f"{path} is {'empty' if value is None else 'no single figure'}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path} is {value}")
        return value

    def _check(self, artifact: str) -> None:
        if artifact in self.refused:
            raise ValueError(self.refused[artifact])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_evidence(artifacts: Mapping[str, Artifact], rival: str = BASE) -> Evidence:
    """Read the evidence out of "candidate", "base", "bundle", "adapter", "target" and "corpus", and "misuse" and "base_misuse" if given.

    With a `rival`, "base" is the evaluation of another version instead of the untuned model's.
    """
    refused = stale(artifacts, rival)
    items: dict[str, Items] = {}
    documents: dict[str, dict[str, Any]] = {}

    def attempt(name: str, read: Callable[[], None]) -> None:
        try:
            read()
        except (OSError, ValueError, KeyError, TypeError, IntegrityError) as error:
            refused.setdefault(name, f"the evidence in {name} cannot be read: {error}")

    def read_items(side: str) -> None:
        items[side] = items_of(artifacts[side])
        if (beside := _MISUSE[side]) in artifacts and beside not in refused:
            items[side] = {**items_of(artifacts[beside]), **items[side]}

    def read_document(name: str, file: str) -> None:
        documents.setdefault(name, {})[file] = json.loads(artifacts[name].file(f"{file}.json").read_bytes())

    for side in ("candidate", "base"):
        if (failure := _failure(artifacts[side])) is not None:
            refused[side] = f"the {side} evaluation failed: {failure}"
            continue
        attempt(side, lambda side=side: read_items(side))  # type: ignore[misc]
    for name, files in _DOCUMENTS.items():
        for file in files:
            if name in artifacts and f"{file}.json" in artifacts[name].manifest.files:
                attempt(name, lambda name=name, file=file: read_document(name, file))  # type: ignore[misc]
    if "corpus" in artifacts and _DOCUMENTS_FILE in artifacts["corpus"].manifest.files:
        attempt("corpus", lambda: documents.setdefault("corpus", {}).update(_of_corpus(artifacts["corpus"], documents.get("corpus", {}))))
    return Evidence(items, documents, refused, rival)


def _of_corpus(corpus: Artifact, read: Mapping[str, Any]) -> dict[str, Any]:
    """Figures that are computed from the corpus' files, not read from one of them."""
    from timbre.gates.corpus_evidence import contract_check, provenance

    found: dict[str, Any] = {"provenance": provenance(corpus)}
    if "contract" in read:
        found["contract_check"] = contract_check(read["contract"], corpus)
    return found


def _failure(evaluation: Artifact) -> str | None:
    """Why an evaluation gave no figures, where it says so itself."""
    if "summary.json" not in evaluation.manifest.files or ITEMS_FILE in evaluation.manifest.files:
        return None
    try:
        summary = evaluation.json("summary.json")
    except ValueError:
        return None
    return str(summary["failed"]) if isinstance(summary, dict) and "failed" in summary else None


def items_of(evaluation: Artifact) -> dict[str, dict[str, tuple[str, float]]]:
    """`items.parquet` of an evaluation.

    Raises:
        ValueError: a column is missing, or an item is there twice.
        IntegrityError: the artifact has no such file.
    """
    from pyarrow import parquet

    table = parquet.read_table(evaluation.file(ITEMS_FILE))
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise ValueError(f"{ITEMS_FILE} has no column {', '.join(missing)}")
    items: dict[str, dict[str, tuple[str, float]]] = {}
    for metric, item, cluster, value in zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True):
        of_metric = items.setdefault(metric, {})
        if item in of_metric:
            raise ValueError(f"{ITEMS_FILE} has {metric} of {item!r} twice")
        of_metric[item] = (cluster, math.nan if value is None else float(value))
    return items


def stale(artifacts: Mapping[str, Artifact], rival: str = BASE) -> dict[str, str]:
    """Artifacts whose evidence is about something else than this candidate, and why.

    The candidate's digests are those of the artifacts given; each of their manifests must name the same ones. Base and
    candidate must have been measured by the same code, settings, probes, corpus, model and
    precision.
    """
    refused: dict[str, str] = {}
    expected = {name: artifacts[name].digest for name in ("adapter", "target", "corpus")}
    expected["model"] = artifacts["adapter"].manifest.inputs.get("model", "")
    reads = {
        "candidate": ("model", "corpus", "adapter"), "base": ("model", "corpus"), "bundle": ("model", "corpus", "adapter"),
        "adapter": ("model", "corpus", "target"), "target": ("model", "corpus"),
    }  # fmt: skip
    for name, inputs in reads.items():
        named = artifacts[name].manifest.inputs
        if wrong := [needed for needed in inputs if not expected[needed] or named.get(needed) != expected[needed]]:
            refused[name] = f"stale: the {name} is about another {' and another '.join(wrong)}; build it again"
    if rival == BASE and "adapter" in artifacts["base"].manifest.inputs:
        refused["base"] = "stale: the base scores are those of an adapter, not of the base model"
    if reason := measured_differently(artifacts["candidate"], artifacts["base"], rival):
        refused.setdefault("base", reason)
    return refused | _stale_answers(artifacts, expected, rival)


def _stale_answers(artifacts: Mapping[str, Artifact], expected: Mapping[str, str], rival: str) -> dict[str, str]:
    """The same of the answers to requests: those of this model and adapter, and asked alike."""
    answered = {name: artifacts[name] for name in _MISUSE.values() if name in artifacts}
    wrong: dict[str, str] = {}
    for name, answers in answered.items():
        named = answers.manifest.inputs
        own = named.get("adapter") if name == "base_misuse" and rival == BASE else None
        if named.get("model") != expected["model"] or (name == "misuse" and named.get("adapter") != expected["adapter"]) or own is not None:
            wrong[name] = f"stale: the answers in {name} are those of another model; build them again"
    if len(answered) == 2 and not wrong and (reason := measured_differently(answered["misuse"], answered["base_misuse"], rival)):
        wrong["base_misuse"] = reason
    return wrong


def measured_differently(candidate: Artifact, base: Artifact, rival: str) -> str | None:
    """Why two evaluations are not to be compared: another version, other settings or inputs; None where they may be."""
    ours, theirs = candidate.manifest, base.manifest
    if (ours.stage, ours.stage_version) != (theirs.stage, theirs.stage_version):
        return "stale: base and candidate were measured by different versions of the evaluation"
    if changed := sorted(name for name in ours.config.keys() | theirs.config.keys() if ours.config.get(name) != theirs.config.get(name)):
        return f"stale: base and candidate were measured with another {', '.join(changed)}"
    if ours.precision != theirs.precision:
        both = " and ".join("an unknown precision" if one.precision is None else one.precision.sentence() for one in (theirs, ours))
        return f"stale: base and candidate were measured in different precision ({both}): set TIMBRE_DTYPE, and evaluate both again"
    if reason := measured_under_others(candidate, base):
        return reason
    own = {"adapter", "generations", "memorisation"} | ({"target"} if rival != BASE else set())  # what another version may have of its own
    names = (ours.inputs.keys() | theirs.inputs.keys()) - own
    if changed := sorted(name for name in names if ours.inputs.get(name) != theirs.inputs.get(name)):
        return f"stale: base and candidate were measured on another {', '.join(changed)}"
    return None
