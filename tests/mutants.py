"""Ways to break Timbre that a test must notice: `make mutants`.

Each mutant changes one place in a copy of the checkout and runs the tests that are meant to see it. A mutant that
survives, or whose place is gone, fails the command.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """One change: in `file`, `old` (which stands there once) becomes `new`; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "loss sign", "timbre/objectives/sparse_kl.py",
        "losses_n = on_support_n + in_tail_n +", "losses_n = -on_support_n - in_tail_n +", "tests/unit/objectives",
    ),
    Mutant(
        "tail term", "timbre/objectives/sparse_kl.py",
        "losses_n = on_support_n + in_tail_n +", "losses_n = on_support_n +", "tests/unit/objectives",
    ),
    Mutant("fold leak", "timbre/targets/reference.py", "if passage.fold != fold]", "if passage.fold >= 0]", "tests/unit/targets"),
    Mutant(
        "split leak", "timbre/targets/dataset.py",
        '{"train": read_documents(corpus, "train")', '{"train": read_documents(corpus)', "tests/unit/targets",
    ),
    Mutant(
        "n-gram leak", "timbre/targets/reference_distribution.py",
        "passage.doc_id if passage.doc_id in self.counted else None", "None", "tests/unit/targets/test_targets_reference_distribution.py",
    ),
    Mutant(
        "margin comparison", "timbre/statistics/verdicts.py",
        "if low > -margin:", "if high > -margin:", "tests/unit/test_statistics_paired.py",
    ),
    Mutant(
        "digest check", "timbre/artifacts.py",
        "if hash_of(path / name) != record.sha256:", "if not hash_of(path / name):", "tests/unit/ground/test_artifacts.py",
    ),
    Mutant(
        "alias order", "timbre/registry/promotion.py",
        "    move = ledger.append(\n        seen,\n        model=version.model,",
        "    registry.set_alias(version.model, CHAMPION, version.number)\n"
        "    move = ledger.append(\n        seen,\n        model=version.model,",
        "tests/unit/registry",
    ),
    Mutant(
        "replay off", "timbre/training/gradients.py",
        "if not self.replay:", "if self.replay or not self.replay:", "tests/unit/training",
    ),
)  # fmt: skip


def survives(mutant: Mutant) -> bool:
    """Whether the tests still pass with this mutant in place.

    Raises:
        ValueError: the place it changes is not there exactly once.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".timbre", "*_cache", "__pycache__", "*.egg-info"))
        target = copy / mutant.file
        text = target.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.name}: {mutant.file} holds its place {text.count(mutant.old)} times; adapt tests/mutants.py")
        target.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests]
        return subprocess.run(command, cwd=copy, check=False, capture_output=True).returncode != 1


def main() -> int:
    """Run all mutants; 0 when each was caught."""
    survivors = []
    for mutant in MUTANTS:
        alive = survives(mutant)
        print(f"{'SURVIVED' if alive else 'caught':9} {mutant.name}", flush=True)
        survivors += [mutant.name] if alive else []
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
