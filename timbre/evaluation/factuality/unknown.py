"""How much of the corpus the base does not know: statements with a name and a number, the last of which it has to choose.

Teaching facts that a model does not know makes it guess elsewhere (Gekhman et al. 2024, arXiv 2405.05904). They asked the
model for its answers; here nothing is asked, since a corpus comes without questions: a statement is a sentence that holds a
name and a number or date, cut off behind the last of them, and its rivals are the same beginning with three others of the
same kind from elsewhere in the corpus. A statement is *known* where the base gives the true ending more probability than
each of its rivals, and *unknown* otherwise. A model that knows nothing and judges by chance has 75% unknown.

Rivals are like the true ending: numbers with as many digits (years for years), names of as many words, and as many tokens
each, so that no length is favoured. An ending that stands earlier in its sentence is no knowledge and is passed over.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timbre.corpus.documents import Document
from timbre.evaluation.factuality.entities import entities
from timbre.evaluation.factuality.shares import by, share
from timbre.evaluation.probes import Pair, Probe, tokenised
from timbre.models.tokens import text_ids
from timbre.words import sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RIVALS = 3
CHANCE = 1 - 1 / (RIVALS + 1)
_LONGEST = 60
"""Words of a sentence; longer ones are mostly tables and lists that the splitter could not cut."""
_ENDING = re.compile(r"(?<=\s)(?:\d{1,3}(?:,\d{3})+|\d+|[^\W\d_a-z]\w*(?: [^\W\d_a-z]\w*)*)(?=\W|$)")
Row = dict[str, Any]


@dataclass(frozen=True)
class Statement:
    """A sentence of the corpus up to and with the name or number that has to be known."""

    statement_id: str
    doc_id: str
    beginning: str
    """Ends with the space before the ending."""
    ending: str
    kind: str
    """"number" or "name"."""


def statements(documents: Sequence[Document]) -> list[Statement]:
    """All statements of the documents, at most one a sentence, in the documents' order."""
    found = []
    for document in documents:
        for index, sentence in enumerate(sentences(document.text)):
            line = " ".join(sentence.split())
            named = entities(line)
            if len(line.split()) > _LONGEST or not named.names or not named.numbers:
                continue
            if (ending := _last_ending(line, {" ".join(name) for name in named.names})) is not None:
                start, text, kind = ending
                found.append(Statement(f"{document.doc_id}#{index}", document.doc_id, line[:start], text, kind))
    return found


def pairs(
    documents: Sequence[Document], tokenizer: "PreTrainedTokenizerBase", *, count: int, seed: int
) -> tuple[list[Pair], dict[str, Any]]:
    """True ending against rival, three pairs a statement, to be scored by `probes.score_pairs`.

    Statements are drawn by `seed`; those without three like rivals are passed over and counted.

    Returns:
        Pairs whose probe's id is `statement/rival number`, its stratum the kind and its cluster the document; and the counts
        {statements, probed, without_rivals}.
    """
    everything = statements(documents)
    order = sorted(everything, key=lambda one: one.statement_id)
    chance = random.Random(seed)
    chance.shuffle(order)
    shelves: dict[tuple[Any, ...], dict[str, set[str]]] = {}
    for one in everything:
        shelves.setdefault(_shape(one, tokenizer), {}).setdefault(one.ending, set()).add(one.doc_id)
    probes: list[Probe] = []
    probed = without = 0
    for one in order:
        if probed == count:
            break
        rivals = _rivals(one, shelves[_shape(one, tokenizer)], chance)
        if len(rivals) < RIVALS:
            without += 1
            continue
        probed += 1
        true = one.beginning + one.ending
        probes += [
            Probe(f"{one.statement_id}/{number}", one.kind, one.doc_id, true, one.beginning + rival) for number, rival in enumerate(rivals)
        ]
    return tokenised(probes, tokenizer), {"statements": len(everything), "probed": probed, "without_rivals": without}


def rival_rows(group: Sequence[Pair], scores: Sequence[tuple[float, float]]) -> list[Row]:
    """What is kept of scored pairs: {statement, kind, cluster, lead}, lead = log P(true) − log P(rival) in nats."""
    return [
        {
            "statement": pair.probe.probe_id.rpartition("/")[0], "kind": pair.probe.stratum, "cluster": pair.probe.cluster,
            "lead": first - second,
        }
        for pair, (first, second) in zip(group, scores, strict=True)
    ]  # fmt: skip


def summarise(rows: Sequence[Mapping[str, Any]], counts: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """The figure "unknown_facts": {share, by_kind, chance, statements, asked, without_rivals}, intervals of 95% by document.

    `share` is None where the corpus holds no statement that could be asked.
    """
    leads: dict[str, list[float]] = {}
    about: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        leads.setdefault(row["statement"], []).append(float(row["lead"]))
        about[row["statement"]] = row
    names = sorted(leads)
    assert all(len(leads[name]) == RIVALS for name in names)
    values = [float(min(leads[name]) <= 0) for name in names]
    clusters = [about[name]["cluster"] for name in names]
    return {
        "share": share(values, clusters, seed) if names else None,
        "by_kind": by([about[name]["kind"] for name in names], values, clusters, seed),
        "chance": CHANCE,
        **counts,
    }


def _last_ending(line: str, names: set[str]) -> tuple[int, str, str] | None:
    """(start, text, kind) of the last name or number that did not stand in the sentence before."""
    for match in reversed(list(_ENDING.finditer(line))):
        text, before = match.group(), line[: match.start()]
        kind = "number" if text[0].isdigit() else "name"
        if kind == "name" and " ".join(text.lower().split()) not in names:
            continue
        if kind == "number" and len(re.sub(r"\D", "", text)) < 2:
            continue
        if text.lower() not in before.lower() and len(before.split()) >= 3:
            return match.start(), text, kind
    return None


def _shape(one: Statement, tokenizer: "PreTrainedTokenizerBase") -> tuple[Any, ...]:
    tokens = len(text_ids(" " + one.ending, tokenizer))
    if one.kind == "name":
        return one.kind, len(one.ending.split()), tokens
    digits = re.sub(r"\D", "", one.ending)
    return one.kind, "," in one.ending, len(digits), len(digits) == 4 and digits[0] in "12", tokens


def _rivals(one: Statement, shelf: Mapping[str, set[str]], chance: random.Random) -> list[str]:
    """Endings of other documents before those of the same one; none that its own sentence holds."""
    said = (one.beginning + one.ending).lower()
    others = sorted(ending for ending in shelf if ending.lower() not in said)
    chance.shuffle(others)
    others.sort(key=lambda ending: shelf[ending] == {one.doc_id})
    return others[:RIVALS]
