"""A tuned model as a plain Hugging Face folder: merged weights, tokenizer, generation settings, and a card.

`AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)` load it; nothing of Timbre is needed.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact
from timbre.corpus.documents import read_documents

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OURS = ("model.json", "manifest.json")
CARD = "README.md"


def write_huggingface(model: Artifact, adapter: Artifact, corpus: Artifact, bundle: Artifact, folder: Path) -> None:
    """Write the folder.

    Weights are merged in fp32 and kept in the precision that the base came in. What the model draws with by default is the
    sampler that it was judged with.

    Args:
        bundle: the exported form of the same model; its card's measured facts are taken over.
        folder: exists, empty.

    Raises:
        ValueError: a correction of the head, whose bias a plain model of this kind cannot hold.
    """
    import torch

    from timbre.export.merge import merged_model
    from timbre.models import head_bias

    merged = merged_model(model, adapter)
    if head_bias(merged) is not None:
        raise ValueError(
            "this version is a correction of the head (training.adapter=correction), whose bias a plain Hugging Face model of this kind "
            "cannot hold: export it with --format onnx"
        )
    kept = str(json.loads(model.file("config.json").read_bytes()).get("dtype", "float32"))
    merged.config._name_or_path = ""
    merged.to(getattr(torch, kept.removeprefix("torch.")))
    _set_sampler(merged, bundle)
    merged.save_pretrained(str(folder))
    _copy_tokenizer(model, folder)
    (folder / CARD).write_text(huggingface_card(model, corpus, bundle), encoding="utf-8")
    for file in folder.glob("*.safetensors"):  # which safetensors leaves readable by its owner alone
        file.chmod((folder / CARD).stat().st_mode)


def _set_sampler(merged: "PreTrainedModel", bundle: Artifact) -> None:
    sampler = bundle.json("bundle.json")["sampler"]
    settings: Any = merged.generation_config
    settings.do_sample = sampler["temperature"] > 0
    if settings.do_sample:
        settings.temperature, settings.top_p, settings.top_k = sampler["temperature"], sampler["top_p"], sampler["top_k"] or 0


def _copy_tokenizer(model: Artifact, folder: Path) -> None:
    """Every file of the base's artifact that is neither weights nor settings of them nor ours."""
    written = {path.name for path in folder.iterdir()}
    for name in model.manifest.files:
        if name not in written and name not in _OURS and not name.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copyfile(model.file(name), folder / name)


def front_matter(model: Artifact, corpus: Artifact) -> dict[str, Any]:
    """The card's metadata in the names of the hub: base_model, license, datasets, tags, library_name and what follows from them."""
    facts, style = model.json("model.json"), str(corpus.manifest.config["style"])
    licence = str(facts.get("licence") or "unknown").lower()
    known = {"license": licence} if licence != "unknown" else {"license": "other", "license_name": "unknown"}
    return {
        "base_model": base_model(facts), "base_model_relation": "finetune", "library_name": "transformers",
        "pipeline_tag": "text-generation", **known, "datasets": sorted({one.source for one in read_documents(corpus, "train")}),
        "tags": ["timbre", "distribution-fine-tuning", f"style-{style}", "text-generation"],
    }  # fmt: skip


def base_model(facts: dict[str, Any]) -> str:
    """What the base is called where models are looked up: a hub's OWNER/NAME, or the name of its folder."""
    from timbre.models.packaged import HUB_NAME, NAME

    if facts["name"] == NAME:
        return HUB_NAME
    kind, _, rest = str(facts.get("source", "")).partition(" ")
    return rest.partition("@")[0] if kind == "hub" else str(facts["name"])


def huggingface_card(model: Artifact, corpus: Artifact, bundle: Artifact) -> str:
    """The card: front matter, how to load it, and what was measured of it."""
    import yaml

    matter = yaml.safe_dump(front_matter(model, corpus), sort_keys=False, allow_unicode=True)
    title, _, measured = bundle.file("card.md").read_text(encoding="utf-8").partition("\n")
    measured = measured.partition("\n## Use\n")[0].replace("; the model runs in ONNX Runtime without torch", "")
    return f"""---
{matter}---

{title}
{measured.rstrip()}

Agreement was measured with the ONNX form of the same weights, digest `{bundle.digest}`.

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # where this file lies
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer("It was", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=120)[0], skip_special_tokens=True))
```

It goes on with a text; it was not made to answer questions, and what it says may be untrue.
"""
