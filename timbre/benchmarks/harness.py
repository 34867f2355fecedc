"""MMLU, TruthfulQA and HumanEval by EleutherAI's lm-evaluation-harness, on files that are at hand (`timbre[benchmarks]`).

Prompts and scoring are the harness' own, so that figures can be laid beside published ones; our part is that nothing is
fetched (each task reads the file the user names), that base and candidate are the very models that are evaluated and
released, and that programs a model writes for HumanEval run in `sandbox` instead of in this process.

    mmlu            the unpacked download: a folder with test/ and dev/ of SUBJECT_test.csv, SUBJECT_dev.csv
    truthfulqa_mc1  TruthfulQA.csv
    truthfulqa_mc2  TruthfulQA.csv
    humaneval       HumanEval.jsonl, or HumanEval.jsonl.gz
"""

import gzip
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.benchmarks import sandbox
from timbre.benchmarks.items import Choice
from timbre.benchmarks.knowledge import mmlu, truthfulqa
from timbre.evaluation.factuality.shares import share
from timbre.models.tokens import start_ids
from timbre.statistics import clustered_bound, clustered_tango_bound
from timbre.tabular import Spot, field

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TASKS = ("mmlu", "truthfulqa_mc1", "truthfulqa_mc2", "humaneval")
METRIC = {"mmlu": "acc", "truthfulqa_mc1": "acc", "truthfulqa_mc2": "acc", "humaneval": "passed"}
_BINARY = ("mmlu", "truthfulqa_mc1", "humaneval")
_STOPS = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
"""Where a function that is being written has ended: those of the HumanEval paper (Chen et al. 2021)."""
Row = dict[str, Any]


def run_tasks(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", data: Mapping[str, Path], *, limit: int | None = None,
    shots: int = 0, batch_size: int = 8, new_tokens: int = 512,
) -> list[Row]:  # fmt: skip
    """Item rows (metric, item, cluster, value) of a model on the tasks that `data` names a file or folder for.

    Metrics are `harness_TASK`; the cluster is the subject (mmlu) or the item itself.

    Args:
        limit: the first so many items of each file.
        shots: solved examples before each question of mmlu, from dev/ (5 in published tables).

    Raises:
        ValueError: the extra is not installed; a task is unknown; a file is missing or not what it should be; or no sandbox
            can be made for humaneval. Said before the model is run.
    """
    check(data, shots)
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    items: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        specs = [spec for task, path in sorted(data.items()) for spec in _specs(task, path, folder, shots, new_tokens)]
        results = lm_eval.simple_evaluate(
            model=HFLM(
                pretrained=model, tokenizer=tokenizer, batch_size=batch_size, backend="causal", add_bos_token=bool(start_ids(tokenizer))
            ),
            tasks=specs, task_manager=TaskManager(include_defaults=False), limit=limit, bootstrap_iters=0, log_samples=True,
        )  # fmt: skip
    for name, samples in sorted(results["samples"].items()):
        task = next(task for task in TASKS if name.startswith(f"timbre_{task}"))
        for sample in samples:
            value = float(sample[METRIC[task]])
            if not math.isfinite(value):
                raise FloatingPointError(f"{task} of item {sample['doc_id']} is {value}: nothing is reported")
            item = f"{name.removeprefix(f'timbre_{task}_')}/{sample['doc_id']}" if task == "mmlu" else str(sample["doc_id"])
            items.append({"metric": f"harness_{task}", "item": item, "cluster": item.rpartition("/")[0] or item, "value": value})
    return items


def compared(base: Sequence[Row], candidate: Sequence[Row], seed: int = 0) -> dict[str, Row]:
    """Per task both shares, and the candidate's paired difference to the base with one-sided 95% bounds by cluster.

    Raises:
        ValueError: the two were not measured on the same items.
    """
    table: dict[str, Row] = {}
    for task in TASKS:
        sides = [{row["item"]: row for row in rows if row["metric"] == f"harness_{task}"} for rows in (base, candidate)]
        if sides[0].keys() != sides[1].keys():
            raise ValueError(f"base and candidate were measured on different items of {task}: run both with the same data and limit")
        if not sides[0]:
            continue
        names = sorted(sides[0])
        before, after = ([float(side[name]["value"]) for name in names] for side in sides)
        clusters = [sides[0][name]["cluster"] for name in names]
        differences = [b - a for a, b in zip(before, after, strict=True)]
        bound = clustered_tango_bound(differences, clusters) if task in _BINARY else clustered_bound(differences, clusters)
        known = bound.clusters > 1
        table[task] = {
            "base": share(before, clusters, seed), "candidate": share(after, clusters, seed), "difference": bound.mean,
            "low": bound.low if known else None, "high": bound.high if known else None, "items": len(names),
        }  # fmt: skip
    return table


def check(data: Mapping[str, Path], shots: int = 0) -> None:
    """Whether these tasks can be run here, before a model is loaded for them.

    Raises:
        ValueError: as in `run_tasks`.
    """
    import importlib.util

    if not data:
        raise ValueError(f"name a task and its data; known are {', '.join(TASKS)}")
    for task, path in sorted(data.items()):
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}: known are {', '.join(TASKS)}")
        if not path.exists():
            raise ValueError(f"{path} does not exist: {task} reads a file that you download once; nothing is fetched")
    if shots and "mmlu" in data and not (data["mmlu"] / "dev").is_dir():
        raise ValueError(
            f"{data['mmlu']} has no folder dev/ to take {shots} solved examples from: point to the whole download, or ask for 0"
        )
    if importlib.util.find_spec("lm_eval") is None:
        raise ValueError("lm-evaluation-harness is not installed: pip install 'timbre[benchmarks]'")
    if "humaneval" in data and (reason := sandbox.unavailable()) is not None:
        raise ValueError(f"humaneval runs programs that the model writes, and {reason}")


def _specs(task: str, path: Path, folder: Path, shots: int, new_tokens: int) -> list[Any]:
    """What `simple_evaluate` takes: files of ours that include the harness' own tasks, with another place to read from."""
    if task == "mmlu":
        return _mmlu_specs(path, folder, shots)
    if task == "humaneval":
        return [_humaneval(path, folder, new_tokens)]
    rows = [_truthful(item) for item in truthfulqa(path) if isinstance(item, Choice)]
    return [_included(f"truthfulqa/{task}.yaml", f"timbre_{task}", folder, {"validation": rows}, {})]


def _mmlu_specs(path: Path, folder: Path, shots: int) -> list[Path | str]:
    tests: dict[str, list[Row]] = {}
    for item in mmlu(path):
        assert isinstance(item, Choice)
        subject = item.item.rpartition("/")[0]
        row = {"question": item.question.removesuffix("\nAnswer:"), "choices": list(item.choices), "answer": min(item.right)}
        tests.setdefault(subject, []).append(row | {"subject": subject})
    specs: list[Path | str] = []
    for subject, rows in tests.items():
        solved = _solved(path / "dev" / f"{subject}_dev.csv") if shots else rows[:1]
        options = {"fewshot_split": "dev", "num_fewshot": shots}
        specs.append(
            _included(f"mmlu/default/mmlu_{subject}.yaml", f"timbre_mmlu_{subject}", folder, {"test": rows, "dev": solved}, options)
        )
    return specs


def _solved(path: Path) -> list[Row]:
    return [
        {"question": item.question.removesuffix("\nAnswer:"), "choices": list(item.choices), "answer": min(item.right), "subject": ""}
        for item in mmlu(path)
        if isinstance(item, Choice)
    ]


def _truthful(item: Choice) -> Row:
    """mc1: the best answer against all false ones. mc2: all true ones against all false ones."""
    right = sorted(item.right)
    false = [text for place, text in enumerate(item.choices) if place not in item.right]
    question = item.question.removeprefix("Q: ").removesuffix("\nA:")
    both = {"mc1_targets": [item.choices[0]], "mc2_targets": [item.choices[place] for place in right]}
    return {"question": question} | {
        name: {"choices": [*true, *false], "labels": [1] * len(true) + [0] * len(false)} for name, true in both.items()
    }


def _included(task: str, name: str, folder: Path, splits: Mapping[str, list[Row]], options: Mapping[str, Any]) -> str:
    import lm_eval.tasks
    import yaml

    own = Path(lm_eval.tasks.__file__).parent / task
    if not own.exists():
        raise ValueError(
            f"the installed lm-evaluation-harness has no task {task}: check the file's name, or install timbre[benchmarks] anew"
        )
    spec = folder / f"{name}.yaml"
    spec.write_text(yaml.safe_dump({"include": str(own), "task": name, **_data(name, folder, splits), **options}))
    return str(spec)


def _data(name: str, folder: Path, splits: Mapping[str, list[Row]]) -> Row:
    files = {}
    for split, rows in splits.items():
        file = folder / f"{name}.{split}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files[split] = str(file)
    return {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")}}


def _humaneval(path: Path, folder: Path, new_tokens: int) -> Row:
    """The harness' task scores with a metric that is downloaded and run in this process; ours is the same but for that."""
    rows = []
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        spot = Spot(path, number)
        try:
            row = json.loads(line)
        except ValueError as error:
            raise spot.wrong(f"not JSON ({error})") from error
        rows.append({name: field(row, name, str, spot) for name in ("task_id", "prompt", "test", "entry_point")})
    if not rows:
        raise ValueError(f"{path.name} holds no problems")
    return {
        "task": "timbre_humaneval", **_data("timbre_humaneval", folder, {"test": rows}), "test_split": "test", "num_fewshot": 0,
        "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{test}}\ncheck({{entry_point}})",
        "generation_kwargs": {"until": _STOPS, "max_gen_toks": new_tokens, "do_sample": False}, "repeats": 1,
        "process_results": _passes, "metric_list": [{"metric": "passed", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip


def _passes(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, int]:
    """Whether the function that the model wrote passes its tests, in the sandbox."""
    program = f"{doc['prompt']}{results[0]}\n\n{doc['test']}\ncheck({doc['entry_point']})"
    return {"passed": int(sandbox.run_program(program).passed)}
