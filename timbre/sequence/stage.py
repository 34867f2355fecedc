"""The stage "sequence": completions in; their weights, the admission, moments and overuse out. It runs no model.

A refused target is an artifact like an admitted one, with its figures: the student then stays as its tokens were taught.

Files of the artifact:
    weights.jsonl    a completion a line: {prompt_id, completion, weight, token_ids, first_label}; the weights of a prompt sum to 1
    admission.json   `timbre.sequence.admission.SequenceAdmission`
    moments.json     a feature a row: {feature, human, plain, weighted, apart}; `apart` in standard deviations, plain less human
    overused.json    words and phrases that plain completions use more than human text does, as `timbre.metrics.overuse` finds them
    scores.json      {prompt_id: [log-weight of each completion]} by the critic, before the softmax and whatever the arm
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact, Input, Stage, Workspace, canonical_json, json_lines
from timbre.config import SequenceConfig

if TYPE_CHECKING:
    import numpy as np

    from timbre.sequence.admission import SequenceAdmission
    from timbre.sequence.features import Measured
    from timbre.sequence.weights import Fit

Row = dict[str, Any]
_HALVES = 20


def _build(config: SequenceConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.sequence.admission import SequenceAdmission, judge, refused
    from timbre.sequence.pool import FILE
    from timbre.sequence.weights import cross_fitted, uniform

    pool = inputs["completions"]
    assert isinstance(pool, Artifact)
    rows = pool.json_lines(FILE)
    if not rows:
        _write(work, [], refused(str(pool.json("summary.json")["lacking"])), [], [], {})
        return
    found, documents = features_of(rows), [row["document"] for row in rows]
    weighted = cross_fitted(found.completions_CNF, found.human_CF, documents, fit_of(config), config.folds, config.seed)
    judged = inputs.get("judged")
    if isinstance(judged, Artifact):  # the control arm: the same decision, so that both arms train or neither does
        admission = SequenceAdmission.model_validate(judged.json("admission.json"))
    else:
        texts = [[one["text"] for one in row["completions"]] for row in rows]
        admission = judge(texts, [row["human"] for row in rows], documents, weighted, config.seed, work.progress)
    weights_CN = uniform(*weighted.weights_CN.shape) if config.uniform else weighted.weights_CN
    scores = {row["prompt_id"]: weighted.log_weights_CN[prompt].tolist() for prompt, row in enumerate(rows)}
    _write(work, _lines(rows, weights_CN.tolist()), admission, moments(found, weighted.weights_CN), overuse(rows, config.seed), scores)


def fit_of(config: SequenceConfig) -> "Fit":
    """How weights are fitted."""
    from timbre.sequence.weights import by_ratio, by_tilt

    return by_ratio(config.ridge) if config.weights == "ratio" else by_tilt(config.ridge)


def features_of(rows: Sequence[Row]) -> "Measured":
    """The features of both sides, from the lines of `completions.jsonl`."""
    from timbre.sequence.features import Text, measured

    return measured(
        [[Text(one["text"], one["log_probs"]) for one in row["completions"]] for row in rows],
        [Text(row["human"], row["human_log_probs"]) for row in rows],
    )


def moments(found: "Measured", weights_CN: "np.ndarray") -> list[Row]:
    """Mean features of human text, of plain and of weighted completions, those farthest apart first."""
    import numpy as np

    plain_F, human_F = found.completions_CNF.mean((0, 1)), found.human_CF.mean(0)
    weighted_F = np.einsum("cn,cnf->f", weights_CN, found.completions_CNF) / len(weights_CN)
    columns = zip(found.names, *(found.plain(each).tolist() for each in (human_F, plain_F, weighted_F)), plain_F - human_F, strict=True)
    rows = [
        {"feature": name, "human": human, "plain": plain, "weighted": weighted, "apart": float(apart)}
        for name, human, plain, weighted, apart in columns
    ]
    return sorted(rows, key=lambda row: -abs(row["apart"]))


def overuse(rows: Sequence[Row], seed: int) -> list[Row]:
    """What plain completions say more than human text does, beyond what human halves differ among themselves."""
    import numpy as np

    from timbre.metrics.overuse import overused

    human, rng = [row["human"] for row in rows], np.random.default_rng(seed)
    orders = [rng.permutation(len(human)) for _ in range(_HALVES)]
    halves = [(order[: len(human) // 2], order[len(human) // 2 :]) for order in orders]
    return [asdict(one) for one in overused([row["completions"][0]["text"] for row in rows], human, halves)]


def _lines(rows: Sequence[Row], weights: Sequence[Sequence[float]]) -> list[Row]:
    return [
        {
            "prompt_id": row["prompt_id"], "completion": place, "weight": weights[prompt][place],
            "token_ids": [*row["token_ids"], *one["token_ids"]], "first_label": len(row["token_ids"]),
        }
        for prompt, row in enumerate(rows) for place, one in enumerate(row["completions"])
    ]  # fmt: skip


def _write(
    work: Workspace, lines: Sequence[Row], admission: "SequenceAdmission", moved: Sequence[Row], over: Sequence[Row], scores: Row
) -> None:
    (work.output / "weights.jsonl").write_bytes(json_lines(lines))
    (work.output / "admission.json").write_bytes(canonical_json(admission.model_dump(mode="json")))
    (work.output / "moments.json").write_bytes(canonical_json(moved))
    (work.output / "overused.json").write_bytes(canonical_json(over))
    (work.output / "scores.json").write_bytes(canonical_json(scores))


STAGE: Stage[SequenceConfig] = Stage("sequence", 1, _build)
