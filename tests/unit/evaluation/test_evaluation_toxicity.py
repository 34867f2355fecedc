"""Toxic texts are counted, with an upper bound, by a list or by a classifier that can do nothing but classify."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from timbre.evaluation.toxicity import Classifier, Lexicon, measure, read_lexicon
from timbre.settings import PROJECT_ROOT

LEXICON = PROJECT_ROOT / "data" / "lexicons" / "toxicity.toml"


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return read_lexicon(LEXICON)


def rows(texts: list[str], human: str = "The boats were in.") -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"d{n // 2}#{n}", "cluster": f"d{n // 2}", "kind": "style", "sample": 0, "text": text, "human": human}
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Shut up, you stupid fool, he said.", "insult"),
        ("“I’ll kill you!” she cried.", "threat"),
        ("Everybody knows that immigrants are vermin.", "hate"),
        ("What the fuck is this?", "profanity"),
        ("Damn it, damn it all to hell; damned be the day.", "mild"),
    ],
)
def test_toxic_text_is_seen_and_its_category_named(lexicon: Lexicon, text: str, category: str) -> None:
    assert category in lexicon.hits([text])[0]


@pytest.mark.parametrize(
    "text",
    [
        "", "«…» 🙂", "The classic Scunthorpe shuttle, a shell and a cocktail.", "To the last I grapple with thee; from hell's heart.",
        "He was damned for it.", "The growth was retarded by frost.", "They killed the whale, and the women are tired.",
        "Кит убил его. אני שונא בוקר", "I hate to disappoint you; people are kind.",
    ],
)  # fmt: skip
def test_plain_text_is_not(lexicon: Lexicon, text: str) -> None:
    assert lexicon.hits([text]) == [()]


def test_rate_comes_with_items_categories_and_an_upper_bound(lexicon: Lexicon) -> None:
    items, summary = measure(rows(["You idiot.", *["All was calm."] * 15]), lexicon)
    assert [item["value"] for item in items] == [1.0, *[0.0] * 15]
    assert {item["metric"] for item in items} == {"toxic_text"} and len({item["item"] for item in items}) == 16
    assert (summary["toxic"], summary["texts"], summary["rate"], summary["human_rate"]) == (1, 16, 1 / 16, 0.0)
    assert summary["categories"]["insult"] == 1
    assert "1 of 16 texts" in summary["sentence"] and f"{summary['high']:.1%}" in summary["sentence"]


def test_no_toxic_text_still_allows_three_in_n(lexicon: Lexicon) -> None:
    texts = rows(["All was calm."] * 64)
    for row in texts:
        row["cluster"] = row["prompt_id"]
    assert measure(texts, lexicon)[1]["high"] == pytest.approx(3 / 64, rel=0.03)


def test_no_texts_give_no_rate(lexicon: Lexicon) -> None:
    items, summary = measure([], lexicon)
    assert items == [] and summary["rate"] is None and summary["high"] is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[category]", "not a lexicon"),
        ("", "not a lexicon"),
        ('[[category]]\nname = "a"\nweight = 2.0\nentries = ["x"]', "weight above 0 and at most 1"),
        ('[[category]]\nname = "a"\nweight = 1.0\nentries = []', "each with entries"),
        ('[[category]]\nname = "a"\nweight = 1.0\nentries = ["{them} all"]', "'them', which is not there"),
        ('[[category]]\nname = "a"\nweight = 1.0\nentries = ["a|b"]', "more than letters"),
    ],
)
def test_lexicon_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_lexicon(path)


def test_a_lexicon_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[sets]\nfish = ["cod", "eel"]\n[[category]]\nname = "sea"\nweight = 0.5\nentries = ["red {fish}", "wh?le*"]\n')
    own = read_lexicon(path)
    assert own.hits(["A red eel met whalers.", "A red cod.", "Whole whales"]) == [("sea",), (), ("sea",)]


@pytest.fixture(scope="module")
def classifier_dir(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """A real sequence classifier with the tiny tokenizer, whose head answers to the word "kill" in a text."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, id2label={0: "fine", 1: "Toxic"}, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    marked = tokenizer("kill", add_special_tokens=False)["input_ids"]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        ids = torch.randint(3, len(tokenizer), (32, 12))
        label = torch.arange(32) % 2
        ids[label == 1, : len(marked)] = torch.tensor(marked)
        model(input_ids=ids, labels=label).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_named_classifier_decides_and_reads_long_texts_to_their_end(classifier_dir: Path) -> None:
    classifier = Classifier.open(classifier_dir, "toxic")
    long = "the old gull drifted near the quiet tide " * 12
    quiet, at_end = classifier.probabilities([long, "kill " * 8])
    assert at_end > 0.5
    assert classifier.probabilities([long + "kill " * 60])[0] > quiet, "a window at the end counts as one at the start"
    assert classifier.probabilities(["", " … "]) == [0.0, 0.0]
    _, summary = measure(rows(["kill kill kill kill"]), classifier)
    assert summary["by"].endswith("label toxic") and summary["toxic"] == 1


def test_text_that_spells_a_control_token_of_the_classifier_is_read_as_text(classifier_dir: Path) -> None:
    classifier, read = Classifier.open(classifier_dir, "toxic"), []
    spelled = classifier.tokenizer.eos_token
    classifier.model.register_forward_pre_hook(lambda _, __, given: read.extend(given["input_ids"].flatten().tolist()), with_kwargs=True)
    classifier.probabilities([f"the old gull {spelled} kill"])
    assert len(read) > 4 and classifier.tokenizer.eos_token_id not in read


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _another_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config))


def _with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForSequenceClassification": "own.Model", "AutoConfig": "own.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('this code must never run')\n")


@pytest.mark.parametrize(
    ("change", "label", "complaint"),
    [
        (_without_weights, "toxic", "pickled weights"),
        (_another_kind, "toxic", "no sequence classifier"),
        (_with_code, "toxic", "code from its folder, which is never run"),
        (lambda folder: None, "rude", "no label 'rude'; it has fine, toxic"),
        (lambda folder: (folder / "config.json").unlink(), "toxic", r"no config\.json"),
    ],
)  # fmt: skip
def test_a_classifier_that_could_run_code_or_cannot_be_one_is_refused(
    classifier_dir: Path, tmp_path: Path, change: Callable[[Path], None], label: str, complaint: str
) -> None:
    import shutil

    folder = tmp_path / "own"
    shutil.copytree(classifier_dir, folder)
    change(folder)
    with pytest.raises(ValueError, match=complaint):
        Classifier.open(folder, label)
