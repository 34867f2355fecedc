"""The stages "engines" and "served": what a bundle's rounded weights were found to be, and which of its forms is served by default.

engines   engines.json   of int8 and int4: KL to fp32, and where that passes told apart from fp32's texts and the gates' quick set against
                         fp32; whether it passes, and why not
          texts.jsonl    the texts that were told apart
          speed.json     milliseconds a token of each form, in turn; measured times, outside the digest
served    served.json    the same as its manifest's configuration: `default`, the fastest form that passes

A form passes if its mean KL is at most `LIMIT` nats a token on as many held-out tokens as were asked for, no family tells its texts
from fp32's with an area whose upper 95% bound is above `APART`, and it is no worse than fp32 by the quick policy's margins.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace, canonical_json, json_lines, kept
from timbre.config import Frozen
from timbre.export.facts import BundleFacts
from timbre.export.quantised import LIMIT, ONNX_FILE, Quantised
from timbre.export.session import Decoder

if TYPE_CHECKING:
    from timbre.evaluation.probes import ProbeKind
    from timbre.serving.rounding import Reader

Precision = Literal["fp32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")
ROUNDED: tuple[Precision, ...] = ("int8", "int4")
APART = 0.58
"""Largest upper 95% bound of the area by which a form's texts are told from fp32's."""
TEXTS = 512
"""Texts a side on which that has to stand."""
HELD_OUT = 4096
"""Held-out tokens on which the distance to fp32 has to stand."""
_GATES = {"bias_gap": "bias", "fact_correct": "facts", "fact_margin": "fact_margin"}


class EnginesConfig(Frozen):
    """How much is written and read to judge rounded weights."""

    texts: int = Field(TEXTS, ge=20, description="Texts a side that are told apart.")
    samples: int = Field(4, ge=1, description="Texts a prompt.")
    prompt_tokens: int = Field(24, ge=1)
    new_tokens: int = Field(32, ge=2)
    rows: int = Field(32, ge=1, description="Texts that are written at once.")
    passages: int = Field(16, ge=2, description="Held-out passages for likelihood.")
    window: int = Field(128, ge=2, description="Tokens of each.")
    probes: int = Field(120, ge=2, description="Pairs of each kind.")
    seed: int = 0


def _build(config: EnginesConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.export.quantised import served_file
    from timbre.serving import rounding
    from timbre.serving.rounding import Reader

    bundle, corpus = inputs["bundle"], inputs["corpus"]
    assert isinstance(bundle, Artifact) and isinstance(corpus, Artifact)
    facts = BundleFacts.read(bundle)
    files = {"fp32": bundle.file(facts.graph)}
    rounded: dict[str, Artifact] = {name: form for name in ROUNDED if isinstance(form := inputs[name], Artifact)}
    for name, form in rounded.items():
        files[name] = served_file(form) if Quantised.read(form).passes else form.file(ONNX_FILE)
    readers = {name: Reader(bundle, Decoder.open(file)) for name, file in files.items()}
    near = {name: reader for name, reader in readers.items() if name == "fp32" or Quantised.read(rounded[name]).passes}  # others are out
    texts, documents = _texts(config, corpus, near, work)
    read = {name: _read(config, corpus, inputs, reader, work.scratch / f"{name}-read") for name, reader in near.items()}
    found = {name: _judged(config, inputs, Quantised.read(form), read, texts, documents, name) for name, form in rounded.items()}
    prompt = rounding.openings(corpus, readers["fp32"].tokenizer, 1, config.prompt_tokens)[0][1]
    speed = {
        "ms_per_token": rounding.paces(readers, prompt, 24, 3),
        "bytes": {name: rounding.weights_bytes(file) for name, file in files.items()},
    }
    (work.output / "engines.json").write_bytes(canonical_json(found))
    (work.output / "speed.json").write_bytes(canonical_json(speed))
    rows = [
        {"precision": name, "document": document, "text": text}
        for name in texts
        for document, text in zip(documents, texts[name], strict=True)
    ]
    (work.output / "texts.jsonl").write_bytes(json_lines(rows))


ENGINES: Stage[EnginesConfig] = Stage("engines", 1, _build, timings=("speed.json",))


def _texts(
    config: EnginesConfig, corpus: Artifact, readers: Mapping[str, "Reader"], work: Workspace
) -> tuple[dict[str, list[str]], list[str]]:
    """Texts of every form, and the document of each; what is written is kept, so that a killed run goes on."""
    from timbre.serving import rounding

    prompts = -(-config.texts // config.samples)
    rows = rounding.openings(corpus, readers["fp32"].tokenizer, prompts, config.prompt_tokens)
    at_once = max(1, config.rows // config.samples)
    groups = [(name, start) for name in readers for start in range(0, prompts, at_once)]
    texts: dict[str, list[str]] = {name: [] for name in readers}

    def written(name: str, start: int) -> list[str]:
        reader, chosen = readers[name], [ids for _, ids in rows[start : start + at_once]]
        seed = (config.seed, PRECISIONS.index(name), start)
        found = reader.write(chosen, config.samples, config.new_tokens, reader.facts.sampler, seed)
        return [reader.tokenizer.decode(ids) for ids in found.tolist()]

    for name, start in work.progress.track(groups, "texts of every form", total=len(groups)):
        texts[name] += kept(work.scratch / f"{name}-{start:05}.json", partial(written, name, start))
    documents = [document for document, _ in rows for _ in range(config.samples)]
    return {name: side[: config.texts] for name, side in texts.items()}, documents[: config.texts]


def _read(config: EnginesConfig, corpus: Artifact, inputs: Mapping[str, Input], reader: "Reader", place: Path) -> list[dict[str, Any]]:
    """Likelihood and probes of one form, as items of the evaluation; each part is kept in a file that begins as `place`."""
    from timbre.serving import rounding

    def likelihood() -> list[dict[str, Any]]:
        passages = rounding.openings(corpus, reader.tokenizer, config.passages, config.window)
        nll = rounding.likelihood(reader, passages)
        return [{"metric": "nll", "item": str(n), "cluster": passages[n][0], "value": float(value)} for n, value in enumerate(nll)]

    def probed(kind: "ProbeKind", name: str) -> list[dict[str, Any]]:
        file = inputs[name]
        assert isinstance(file, FileInput)
        return rounding.probed(reader, kind, file, config.probes, config.seed)

    items = kept(place.with_name(f"{place.name}-nll.json"), likelihood)
    kinds: dict[ProbeKind, str] = {"bias": "bias_probes", "facts": "fact_probes"}
    for kind, name in kinds.items():
        items += kept(place.with_name(f"{place.name}-{kind}.json"), partial(probed, kind, name))
    return items


def _judged(
    config: EnginesConfig, inputs: Mapping[str, Input], figures: Quantised, read: Mapping[str, list[dict[str, Any]]],
    texts: Mapping[str, list[str]], documents: list[str], name: str,
) -> dict[str, Any]:  # fmt: skip
    """All that is known of one form, and why it does not pass where it does not."""
    from timbre.gates.policy import read_policy
    from timbre.serving import rounding

    known = {"kl": figures.kl, "kl_99": figures.kl_99, "tokens": figures.tokens}
    if name not in texts:
        why = [f"KL {figures.kl:.3g} nats a token, {LIMIT:g} is the most"]
        return known | {"told_apart": {}, "texts": 0, "gates": [], "passes": False, "why": why}
    policy = inputs["policy"]
    assert isinstance(policy, FileInput)
    gates = {gate.name: gate for gate in read_policy(policy.path).gates}
    results = [rounding.judged("nll", None, read[name], read["fp32"], LIMIT)]
    for metric, gate in _GATES.items():
        margin = gates[gate].margin
        assert margin is not None
        results.append(rounding.judged(metric, gates[gate], read[name], read["fp32"], margin))
    apart = rounding.told(texts[name], texts["fp32"], documents, config.seed)
    why = []
    if figures.tokens < HELD_OUT:
        why.append(f"compared on {figures.tokens} held-out tokens, {HELD_OUT} are the least")
    if len(documents) < TEXTS:
        why.append(f"told apart on {len(documents)} texts a side, {TEXTS} are the least")
    why += [
        f"told apart by {family}: upper bound {area['high']:.3f}, {APART:g} is the most"
        for family, area in apart.items()
        if not area["high"] <= APART
    ]
    why += [
        f"{each['metric']}: {each['verdict']}, lower bound {each['low']:.3g} beside a margin of {each['margin']:g}"
        for each in results
        if each["verdict"] != "PASS"
    ]
    return known | {"told_apart": apart, "texts": len(documents), "gates": results, "passes": not why, "why": why}


class ServedConfig(Frozen):
    """The form that is served unless another is asked for."""

    default: Precision


def _build_served(config: ServedConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    engines = inputs["engines"]
    assert isinstance(engines, Artifact) and config.default in passing(engines)
    (work.output / "served.json").write_bytes(canonical_json(config.model_dump(mode="json")))


SERVED: Stage[ServedConfig] = Stage("served", 1, _build_served)


def passing(engines: Artifact) -> list[Precision]:
    """fp32 and what else may be the default."""
    found = engines.json("engines.json")
    return ["fp32", *(name for name in ROUNDED if found[name]["passes"])]


def fastest(engines: Artifact) -> Precision:
    """The fastest of those."""
    pace = engines.json("speed.json")["ms_per_token"]
    return min(passing(engines), key=lambda name: float(pace[name]))


def resolve_served(engines: Artifact, bundle: Artifact, forms: Mapping[str, Artifact], store: ArtifactStore) -> Artifact:
    """The artifact whose manifest names the default form of a bundle."""
    return store.build(SERVED, ServedConfig(default=fastest(engines)), {"bundle": bundle, "engines": engines, **forms})


def find_served(bundle: str, store: ArtifactStore) -> Artifact | None:
    """The youngest one about the bundle with this digest, or None.

    Raises:
        IntegrityError: it is there, but damaged.
    """
    about = []
    for path in store.all():
        if path.parent.name == SERVED.name:
            artifact = store.open(SERVED.name, path.name)
            if artifact.manifest.inputs.get("bundle") == bundle and artifact.manifest.stage_version == SERVED.version:
                about.append(artifact)
    return max(about, key=lambda artifact: str(artifact.manifest.built.get("at", "")), default=None)
