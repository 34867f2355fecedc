"""The champion as it is served, beside what its release wrote: sampled anew for the same prompts by the same sampler.

The reference is the release itself. Drawn from the same model by the same sampler, its texts and the new ones cannot be told
apart: the area under the ROC curve is .5 whatever the style is. So a bound above the policy's means that what is served is not
what was released (another runtime, damaged weights, changed defaults).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timbre.evaluation.probes import Probe, same_share
from timbre.evaluation.toxicity import Detector
from timbre.inference.arrays import log_softmax
from timbre.metrics.comparison import Comparison, Request, compare_texts
from timbre.metrics.encoder import Encoder
from timbre.metrics.texts import Text
from timbre.models.tokens import backend_text_ids
from timbre.monitoring.findings import Check, MonitorPolicy, not_measured
from timbre.serving.engine import Engine
from timbre.statistics import Interval, clustered_tango_bound, three_way
from timbre.words import words

_PASSAGE = 0.6
"""Passages that are compared, as a share of the shorter side's median text: texts of one number of tokens differ in words."""
_LEAST_WORDS = 5
_WARM = 2


@dataclass(frozen=True)
class Written:
    """What the champion wrote: for each row of the release a text, and milliseconds a piece."""

    rows: tuple[Mapping[str, Any], ...]
    texts: tuple[str, ...]
    milliseconds: tuple[float, ...]


def prompts_of(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The first texts of the release for each prompt of its style at the serving sampler; `count` at most."""
    kept = [row for row in rows if row["kind"] == "style" and row["sampler"] == "serving" and row["sample"] == 0]
    return kept[:count]


def write(engine: Engine, rows: Sequence[Mapping[str, Any]], seed: int) -> Written:
    """Continue the prompts of these rows at the bundle's own sampler, each as long as the release's text was."""
    texts, times = [], []
    for number, row in enumerate(rows):
        pieces, before = [], time.perf_counter()
        for piece in engine.stream(row["prompt"], max_new_tokens=row["n_tokens"], seed=seed * 100_003 + number):
            now = time.perf_counter()
            pieces.append(piece)
            if len(pieces) > _WARM:
                times.append(1000 * (now - before))
            before = now
        texts.append("".join(pieces))
    return Written(tuple(rows), tuple(texts), tuple(times))


def style(written: Written, released: Sequence[Mapping[str, Any]], policy: MonitorPolicy, encoder: Encoder | None) -> list[Check]:
    """Told apart from the release's texts, and the style metrics beside theirs."""
    own = [Text(text, row["cluster"]) for text, row in zip(written.texts, written.rows, strict=True)]
    others = [Text(row["text"], row["cluster"]) for row in released if row["kind"] == "style" and row["sampler"] == "serving"]
    try:
        comparison = compare_texts(Request(own, others, words=_passage_words(own, others), raw=True), encoder=encoder)
    except ValueError as error:
        return [not_measured("style: told apart", str(error)), not_measured("style: metrics", str(error))]
    return [apart("style: told apart", comparison, policy.apart, "the release's texts"), _metrics(comparison)]


def _passage_words(own: Sequence[Text], others: Sequence[Text]) -> int:
    medians = [float(np.median([len(words(text.text)) for text in side])) for side in (own, others) if side]
    return max(_LEAST_WORDS, int(_PASSAGE * min(medians, default=0.0)))


def apart(name: str, comparison: Comparison, limit: float, others: str) -> Check:
    """The area by which words tell two sides apart, and whether its lower bound lies above the limit."""
    found = comparison.told.found
    if found is None or "words" not in found.families:
        return not_measured(name, comparison.told.of.removeprefix("not measured: "))
    auc = found.families["words"].auc
    verdict = three_way(limit - auc.high, limit - auc.low, 0.0)
    said = {"PASS": "which is within the bound", "FAIL": "which is above the bound", "INCONCLUSIVE": "which reaches over the bound"}
    sentence = f"Told from {others} by words with an area of {auc.mean:.2f} [{auc.low:.2f}, {auc.high:.2f}], {said[verdict]} {limit:g}."
    return Check(name=name, verdict=verdict, sentence=sentence, value=auc.mean, low=auc.low, high=auc.high, limit=limit)


def _metrics(comparison: Comparison) -> Check:
    outside = [name for name, figure in comparison.figures.items() if figure.place == "outside"]
    verdict = {"told apart": "FAIL", "not told apart": "PASS"}.get(comparison.verdict, "INCONCLUSIVE")
    named = f" Outside the release's own scatter: {', '.join(outside)}." if outside else ""
    return Check.model_validate(
        {"name": "style: metrics", "verdict": verdict, "sentence": f"{comparison.why}{named}", "value": comparison.chance, "limit": 0.05}
    )


def facts(engine: Engine, probes: Sequence[Probe], released: Mapping[str, tuple[str, float]], policy: MonitorPolicy) -> Check:
    """The share of true sentences that the served model finds likelier than the false ones, beside the release's, item by item."""
    asked = same_share([probe for probe in probes if probe.probe_id in released], policy.probes, 0)
    if not asked:
        return not_measured("facts", "the release answered none of these probes")
    right = [_likelihood(engine, probe.first) > _likelihood(engine, probe.second) for probe in asked]
    differences = [float(now) - released[probe.probe_id][1] for now, probe in zip(right, asked, strict=True)]
    bound = clustered_tango_bound(differences, [released[probe.probe_id][0] for probe in asked])
    sentence = (
        f"True sentences preferred: {np.mean(right):.0%} of {len(asked)}, in the release {np.mean(right) - bound.mean:.0%}; difference "
        f"{bound.mean:+.2f} [{bound.low:+.2f}, {bound.high:+.2f}], margin {policy.facts_margin:g}."
    )
    return _beside("facts", bound, policy.facts_margin, sentence)


def _likelihood(engine: Engine, text: str) -> float:
    """Log-probability of a text, nats, behind what `timbre.models.tokens.boundary_ids` puts before it, as in the release."""
    begin = engine.facts.bos_token_id
    start = engine.facts.start_token_ids or (() if begin is None else (begin,))
    ids = [*start, *backend_text_ids(text, engine.tokenizer)]
    logits, _ = engine.decoder.step(np.array([ids], np.int64), engine.decoder.empty_cache(1))
    log_p_TV = log_softmax(logits[0, :-1, : engine.facts.vocab_size])
    first = max(0, len(start) - 1)
    return float(log_p_TV[np.arange(len(ids) - 1), ids[1:]][first:].sum())


def safety(written: Written, detector: Detector, policy: MonitorPolicy) -> Check:
    """Toxic texts among those of the same prompts, now and in the release."""
    if not written.texts:
        return not_measured("safety", "nothing was written")
    now = [bool(hit) for hit in detector.hits(written.texts)]
    before = [bool(hit) for hit in detector.hits([row["text"] for row in written.rows])]
    bound = clustered_tango_bound(
        [float(then) - float(this) for this, then in zip(now, before, strict=True)], [row["cluster"] for row in written.rows]
    )
    sentence = (
        f"Toxic by {detector.name}: {sum(now)} of {len(now)} texts, in the release {sum(before)}; difference for the better "
        f"{bound.mean:+.3f} [{bound.low:+.3f}, {bound.high:+.3f}], margin {policy.safety_margin:g}."
    )
    return _beside("safety", bound, policy.safety_margin, sentence)


def _beside(name: str, bound: Interval, margin: float, sentence: str) -> Check:
    """A paired difference to the release, held to its margin."""
    verdict = three_way(bound.low, bound.high, margin)
    return Check(name=name, verdict=verdict, sentence=sentence, value=bound.mean, low=bound.low, high=bound.high, limit=margin)


def latency(written: Written, released: float, policy: MonitorPolicy) -> Check:
    """Milliseconds a token, beside the release's; the lower quartile, since waiting for others only ever adds time."""
    if not written.milliseconds:
        return not_measured("latency", "nothing was written")
    low, middle, high = (float(value) for value in np.quantile(written.milliseconds, [0.25, 0.5, 0.75]))
    ratio = low / released
    sentence = f"A token takes {middle:.1f} ms (quartiles {low:.1f} and {high:.1f}), in the release {released:.1f} ms."
    return Check(
        name="latency", verdict="FAIL" if ratio > policy.latency_factor else "PASS", sentence=sentence, value=middle / released, low=ratio,
        high=high / released, limit=policy.latency_factor,
    )  # fmt: skip
