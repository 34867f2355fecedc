"""Retrain requests wait for a person, one a model, and are decided once."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.errors import explain
from timbre.registry.requests import RetrainRequests
from timbre.tasks.monitor import retrain_requests


def test_a_model_has_one_open_request_that_is_decided_once(tmp_path: Path) -> None:
    requests = RetrainRequests(f"sqlite:///{tmp_path / 'ledger.db'}")
    first, new = requests.file("timbre-tiny", "tiny", 3, "style moved", {"auc": 0.9})
    again, fresh = requests.file("timbre-tiny", "tiny", 3, "style moved again", {})
    assert (new, fresh, again.id, again.reason, again.evidence) == (True, False, first.id, "style moved", {"auc": 0.9})
    decided = requests.decide(first.id, "dismissed", "Ann", "the corpus moved on purpose")
    assert (decided.state, decided.by) == ("dismissed", "Ann") and requests.all(waiting=True) == []
    with pytest.raises(ValueError, match="was dismissed already, by Ann"):
        requests.decide(first.id, "approved", "Ben", "")
    assert requests.file("timbre-tiny", "tiny", 4, "and now", {})[1]


@pytest.mark.usefixtures("home")
def test_the_command_lists_approves_and_names_what_waits() -> None:
    with retrain_requests() as requests:
        number = requests.file("timbre-tiny", "tiny", 3, "style moved", {})[0].id
    shown = CliRunner().invoke(app, ["retrain", "list"])
    assert "timbre-tiny v3" in shown.output and "style moved" in shown.output
    done = CliRunner().invoke(app, ["retrain", "approve", str(number), "--reason", "go"])
    assert done.exit_code == 0 and "timbre run --style tiny" in done.output
    error = CliRunner().invoke(app, ["retrain", "dismiss", "9", "--reason", "no"]).exception
    assert error is not None and "no retrain request 9" in explain(error)[0] and explain(error)[1] == 2
