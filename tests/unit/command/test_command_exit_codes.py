"""Which exit code a command ends with, and what is tried again."""

import signal
import sys

import pytest

from timbre.artifacts import IntegrityError
from timbre.cli.errors import explain
from timbre.registry.promotion import PromotionRefused
from timbre.tasks.stage import Killed, _was_killed, run_command
from timbre.tasks.stores.dvc_commands import DvcError


@pytest.mark.parametrize(("outcome", "code"), [("FAIL", 3), ("INCONCLUSIVE", 4), ("PASS", 2)])
def test_a_refused_promotion_ends_with_the_code_of_the_verdict_in_its_way(outcome: str, code: int) -> None:
    assert explain(PromotionRefused("no", outcome)) == ("no", code)  # type: ignore[arg-type]


def _ends_with(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys; print('timbre: because', file=sys.stderr); {code}"]


@pytest.mark.parametrize(
    ("code", "error", "again"),
    [
        (f"os.kill(os.getpid(), {int(signal.SIGKILL)})", Killed, True),
        (f"sys.exit(128 + {int(signal.SIGTERM)})", Killed, True),
        ("sys.exit(1)", RuntimeError, False),
        ("sys.exit(2)", ValueError, False),
        ("sys.exit(6)", IntegrityError, False),
    ],
)
def test_only_what_a_signal_ended_is_tried_again(code: str, error: type[Exception], again: bool) -> None:
    with pytest.raises(error) as raised:
        run_command(_ends_with(code))
    assert type(raised.value) is error and _was_killed(raised.value) is again


def test_dvc_passes_a_signal_on_in_words() -> None:
    assert _was_killed(DvcError("ERROR: failed to reproduce 'target': failed to run: timbre stage target, exited with -9"))
    assert _was_killed(DvcError("failed to run: timbre stage target, exited with 137"))
    assert not _was_killed(DvcError("failed to run: timbre stage target, exited with 1"))
    assert not _was_killed(DvcError("exited with -9 once, and then exited with 2"))
