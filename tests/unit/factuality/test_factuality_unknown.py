"""How much of a corpus the base does not know, and the true/false pairs by topic."""

import json
from pathlib import Path
from typing import Any

import pytest

from timbre.corpus.documents import Document
from timbre.evaluation import probes
from timbre.evaluation.factuality import unknown
from timbre.evaluation.factuality.topics import facts_by_topic
from timbre.evaluation.factuality.unknown import CHANCE, RIVALS, pairs, rival_rows, statements, summarise
from timbre.evaluation.probes import Probe, score_pairs
from timbre.inference.scorer import Scorer

PLACES = ["Asham", "Torsby", "Kelvik", "Dunmark", "Porvino", "Osterby", "Lisgrad", "Belmora", "Varela", "Cremla"]
FACTS = Path(__file__).resolve().parents[3] / "data" / "probes" / "facts.jsonl"


def document(name: str, text: str) -> Document:
    return Document(name, text, "A", None, "s", "CC0-1.0", "no", "literary", "train", 0, len(text.split()))


def chronicle() -> list[Document]:
    lines = [
        f"In the old town of {place} there were {200 + 37 * n} houses and the bridge was built in {1701 + 13 * n}."
        for n, place in enumerate(PLACES)
    ]
    return [document(f"d{n}", " ".join(lines[n::5])) for n in range(5)]


def test_a_statement_ends_with_the_last_name_or_number_of_its_sentence() -> None:
    text = "The guide saw Torsby in 1851 with joy. He slept. In the year 1851 they met old Peter near the well in 1851. It was 7 by Bergen."
    found = statements([document("d", text)])
    assert [(one.beginning, one.ending, one.kind) for one in found] == [
        ("The guide saw Torsby in ", "1851", "number"), ("In the year 1851 they met old ", "Peter", "name"),
        ("It was 7 by ", "Bergen", "name"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["He slept.", "In 1851 nothing was known.", "Then old Peter came.", "", "7 Oslo.", "IN 1851 THE KING OF SPAIN DIED."]
)
def test_sentences_without_both_a_name_and_a_number_are_no_statements(text: str) -> None:
    assert statements([document("d", text)]) == []


def test_rivals_are_of_the_same_kind_and_length_and_from_other_documents(tiny_tokenizer: Any) -> None:
    tokenizer = tiny_tokenizer()
    made, counts = pairs(chronicle(), tokenizer, count=6, seed=0)
    assert counts == {"statements": 10, "probed": 6, "without_rivals": counts["without_rivals"]} and len(made) == 6 * RIVALS
    texts = {one.doc_id: one.text for one in chronicle()}
    for pair in made:
        true, rival = (text.rsplit(" ", 1)[1] for text in (pair.probe.first, pair.probe.second))
        assert true != rival and len(true) == len(rival) and pair.probe.first.rsplit(" ", 1)[0] == pair.probe.second.rsplit(" ", 1)[0]
        assert rival not in texts[pair.probe.cluster] and len(pair.first) == len(pair.second)
    again, _ = pairs(chronicle()[::-1], tokenizer, count=6, seed=0)
    assert [pair.probe for pair in again] == [pair.probe for pair in made]


def test_a_corpus_without_rivals_gives_counts_and_no_figure(tiny_tokenizer: Any) -> None:
    made, counts = pairs([document("d", "The guide saw Torsby in 1851 with joy.")], tiny_tokenizer(), count=5, seed=0)
    assert made == [] and counts == {"statements": 1, "probed": 0, "without_rivals": 1}
    assert summarise([], counts)["share"] is None


def test_known_beats_every_rival_and_a_tie_is_unknown() -> None:
    leads = {"a#0": [1.0, 0.5, 2.0], "a#1": [1.0, -0.5, 2.0], "b#0": [1.0, 0.0, 2.0], "c#0": [3.0, 3.0, 3.0]}
    rows = [{"statement": name, "kind": "name", "cluster": name[0], "lead": lead} for name, own in leads.items() for lead in own]
    summary = summarise(rows, {"statements": 9, "probed": 4, "without_rivals": 0})
    assert summary["share"]["value"] == 0.5 and summary["share"]["clusters"] == 3 and summary["chance"] == CHANCE == 0.75
    json.dumps(summary, allow_nan=False)


def test_a_model_that_read_the_corpus_knows_it_and_a_random_one_does_not(tiny_model_dir: Path, tiny_tokenizer: Any) -> None:
    """Positive control: the same tiny model before and after a hundred steps on the statements themselves."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(str(tiny_model_dir))
    made, counts = pairs(chronicle(), tokenizer, count=10, seed=0)

    def share() -> float:
        model.train(False)
        scorer, rows = Scorer(model, len(tokenizer)), []
        for group in probes.batches_of_pairs(made, 2048):
            rows += rival_rows(group, score_pairs(scorer, group))
        return float(summarise(rows, counts)["share"]["value"])

    before = share()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    ids = [torch.tensor([tokenizer.bos_token_id, *tokenizer(pair.probe.first)["input_ids"]]) for pair in made[::RIVALS]]
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        sum(model(input_ids=row[None], labels=row[None]).loss for row in ids).backward()
        optimizer.step()
    after = share()
    assert before >= 0.5 and after <= 0.1, "four to choose from: 75% by chance; ten statements by heart: none"


def test_facts_are_tabled_by_topic_and_a_lost_topic_stands_out() -> None:
    read = probes.read_probes(FACTS, "facts")
    rows = []
    for probe in read:
        lost = probe.stratum in ("chemical-symbol", "freezing-point", "boiling-point", "gas-of-air", "metal-property")
        figures = {"fact_correct": float(not lost), "fact_margin": -1.0 if lost else 2.0}
        rows += [{"metric": name, "item": probe.probe_id, "cluster": probe.cluster, "value": value} for name, value in figures.items()]
    table = facts_by_topic(rows, read)
    worst = min(table["topics"], key=lambda topic: table["topics"][topic]["correct"]["value"])
    assert worst == "matter" and table["topics"]["matter"]["margin"]["value"] < 2
    assert sum(topic["correct"]["items"] for topic in table["topics"].values()) == len(read) == table["correct"]["items"]
    assert "other" not in table["topics"]
    unseen = facts_by_topic(rows[:6], [Probe(probe.probe_id, "new kind", probe.cluster, "a", "b") for probe in read])
    assert list(unseen["topics"]) == ["other"]
    json.dumps(table, allow_nan=False)


def test_no_scored_facts_are_an_error() -> None:
    with pytest.raises(ValueError, match="fact_items"):
        facts_by_topic([], [])


def test_the_longest_sentences_are_passed_over() -> None:
    long = "The guide saw Torsby " + "and went on " * 30 + "in 1851."
    assert unknown.statements([document("d", long)]) == []
