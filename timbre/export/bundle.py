"""What is in a bundle, and writing it.

model.onnx, model.onnx.data   decoder with key-value cache (timbre.export.decoder)
serving.onnx                  the same on the same weights, its cache in place (timbre.export.inplace); where the architecture allows it
tokenizer.json, …             the model's tokenizer files, and generation_config.json
bundle.json                   `BundleFacts`: all that an engine needs to know
parity.json                   evidence for the gates
latency.json                  evidence for the gates; measured times, so it stands outside the artifact's digest
card.md                       what this is, for people
"""

import json
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact
from timbre.config import ExportConfig
from timbre.export.facts import FACTS_FILE, BundleFacts
from timbre.export.merge import merged_model, unmerged_model
from timbre.progress import Progress
from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.export.parity import Trial
    from timbre.export.session import Decoder

COPIED_FILES = (
    "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "generation_config.json",
)  # fmt: skip
_LOCAL_KEYS = {"name_or_path", "_name_or_path", "tokenizer_file", "special_tokens_map_file", "is_local", "local_files_only"}


@dataclass(frozen=True)
class Parts:
    """What a bundle is made of."""

    model: Artifact
    adapter: Artifact
    corpus: Artifact
    decoder: Artifact
    """The traced graph of the model (timbre.export.trace)."""

    @property
    def digests(self) -> dict[str, str]:
        return {name: getattr(self, name).digest for name in ("model", "adapter", "corpus", "decoder")}


def write_bundle(config: ExportConfig, parts: Parts, folder: Path, scratch: Path, progress: Progress) -> None:
    """Merge, export, compare and describe, into the empty `folder`; the base model's decoder stands in `scratch` for a while.

    Only one copy of the model is in memory besides that of ONNX Runtime: the merged one goes before the unmerged one comes.
    """
    import torch

    from timbre.export.card import card
    from timbre.export.parity import TOLERANCE, Parity, largest_difference
    from timbre.export.session import Decoder

    torch.set_num_threads(settings().threads)
    work = progress.track(
        ("merge and write", "compare", "compare with the adapter", "compare with the base", "describe"),
        f"export {parts.adapter.digest[:8]}",
    )
    next(work)
    _copy_tokenizer(parts.model, folder)
    facts = _export(config, parts, folder)
    next(work)
    decoder = Decoder.open(folder / facts.onnx)
    facts = facts.model_copy(update={"provider": decoder.provider})
    trial, against_merged, latency = _measure_merged(config, parts, folder, facts, decoder)
    facts, served = _in_place(folder, facts, trial)
    next(work)
    against_adapter = largest_difference(unmerged_model(parts.model, parts.adapter), trial.rows, trial.logits, facts.vocab_size)
    next(work)
    latency |= _against_base(parts, scratch, decoder, trial.rows[0][: facts.context // 2], _latency_tokens(config, facts))
    next(work)
    difference = max(against_merged, against_adapter, served or 0.0)
    tied = trial.tied(min(difference, TOLERANCE))
    parity = Parity(
        max_abs_logit_difference=difference, against_merged=against_merged, against_adapter=against_adapter,
        against_serving=served, greedy_equal=trial.equal, greedy_tied=tied, greedy_agreed=trial.equal + tied, greedy_total=len(trial.rows),
        greedy_tokens=trial.tokens, provider=decoder.provider,
    )  # fmt: skip
    _write_json(folder / FACTS_FILE, facts.model_dump(mode="json"))
    _write_json(folder / "parity.json", asdict(parity))
    _write_json(folder / "latency.json", latency)
    (folder / "card.md").write_text(card(facts, parity, parts.corpus), encoding="utf-8")
    next(work, None)


def _export(config: ExportConfig, parts: Parts, folder: Path) -> BundleFacts:
    """The traced graph, and the merged weights where it looks for them."""
    from timbre.export.decoder import MODEL_FILE, CacheShape
    from timbre.export.trace import write_decoder

    model = parts.model
    merged = merged_model(model, parts.adapter)
    shape = CacheShape.of(merged)
    write_decoder(parts.decoder, merged, folder)
    about = model.json("model.json")
    generation = model.json("generation_config.json") if "generation_config.json" in model.manifest.files else {}
    text = merged.config.get_text_config(decoder=True)
    ends = generation.get("eos_token_id", text.eos_token_id)
    return BundleFacts(
        onnx=MODEL_FILE, style=parts.corpus.manifest.config["style"], base_model=about["name"], licence=about.get("licence"),
        architecture=about["architecture"], layers=shape.layers, kv_heads=shape.kv_heads, head_dim=shape.head_dim,
        vocab_size=about["vocab_size"], context=about["context"], bos_token_id=generation.get("bos_token_id", text.bos_token_id),
        start_token_ids=tuple(about.get("start_token_ids", ())),
        eos_token_ids=tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,),
        provider="", digests=parts.digests, sampler=config.sampler,
    )  # fmt: skip


def _in_place(folder: Path, facts: BundleFacts, trial: "Trial") -> tuple[BundleFacts, float | None]:
    """The decoder with its cache in place, if this architecture has one, and how far it is from the exported one on the trial's rows."""
    from timbre.export.inplace import SERVING_FILE, write_serving
    from timbre.export.parity import difference_in_place
    from timbre.export.session import Decoder

    if not write_serving(folder, facts.onnx, facts.context):
        return facts, None
    served = Decoder.open(folder / SERVING_FILE)
    return facts.model_copy(update={"serving": SERVING_FILE}), difference_in_place(served, trial, facts.vocab_size)


def _measure_merged(
    config: ExportConfig, parts: Parts, folder: Path, facts: BundleFacts, decoder: "Decoder"
) -> "tuple[Trial, float, dict[str, Any]]":
    """The trial against a merged model of its own (not the written one), its largest difference, and latency."""
    from timbre.export.latency import measure_latency
    from timbre.export.parity import largest_difference, run_trial

    prompts, new_tokens = _prompts(config, parts.corpus, folder, facts)
    merged = merged_model(parts.model, parts.adapter)
    trial = run_trial(merged, decoder, prompts, new_tokens, facts.vocab_size)
    difference = largest_difference(merged, trial.rows, trial.logits, facts.vocab_size)
    latency = measure_latency(merged, decoder, prompts[0][: facts.context // 2], _latency_tokens(config, facts), facts.vocab_size)
    return trial, difference, latency


def _against_base(parts: Parts, scratch: Path, decoder: "Decoder", row: list[int], tokens: int) -> dict[str, Any]:
    """Candidate ÷ base in milliseconds a token after `row`: the base's weights in its own graph, in the same process."""
    from timbre.export.decoder import MODEL_FILE
    from timbre.export.latency import measure_against_base
    from timbre.export.session import Decoder
    from timbre.export.trace import write_decoder

    home = scratch / "base"
    shutil.rmtree(home, ignore_errors=True)  # what a killed run left
    home.mkdir(parents=True)
    write_decoder(parts.decoder, merged_model(parts.model), home)
    base = Decoder.open(home / MODEL_FILE)
    try:
        return measure_against_base(decoder, base, row, tokens, int(parts.model.json("model.json")["vocab_size"]))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _latency_tokens(config: ExportConfig, facts: BundleFacts) -> int:
    from timbre.export.latency import WARM_UP

    return max(1, min(config.latency_tokens, facts.context // 2 - WARM_UP))  # learned positions end with the context


def _prompts(config: ExportConfig, corpus: Artifact, folder: Path, facts: BundleFacts) -> tuple[list[list[int]], int]:
    """Prompts and how far to continue them, within the model's context."""
    from tokenizers import Tokenizer

    from timbre.corpus.documents import read_documents
    from timbre.export.parity import parity_prompts

    new_tokens = min(config.parity_tokens, facts.context // 2)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    longest = facts.context - new_tokens
    prompts = parity_prompts(read_documents(corpus, "test"), tokenizer, config.parity_prompts, longest, facts.start_token_ids)
    if len(prompts) < config.parity_prompts or new_tokens < config.parity_tokens:
        warnings.warn(
            f"parity was asked for on {config.parity_prompts} prompts × {config.parity_tokens} tokens; "
            f"test text and context allow {len(prompts)} × {new_tokens}",
            stacklevel=2,
        )
    return prompts, new_tokens


def _copy_tokenizer(model: Artifact, folder: Path) -> None:
    if "tokenizer.json" not in model.manifest.files:
        raise ValueError("the model has no tokenizer.json, and serving reads no other kind: save its tokenizer with a fast tokenizer class")
    for name in COPIED_FILES:
        if name in model.manifest.files:
            shutil.copyfile(model.file(name), folder / name)
    if "tokenizer_config.json" in model.manifest.files:
        settings_of = model.json("tokenizer_config.json")
        _write_json(folder / "tokenizer_config.json", {key: value for key, value in settings_of.items() if key not in _LOCAL_KEYS})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
