"""A candidate that waits is decided once, in time, and by somebody who looked at that very model and verdict."""

from pathlib import Path

import pytest

from timbre.registry.approvals import Approval, Approvals


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(f"sqlite:///{tmp_path / 'ledger.db'}")


def asked(approvals: Approvals, digit: str = "a", hours: float = 1.0, **more: str) -> Approval:
    return approvals.ask(digit * 64, digit.upper() * 64, "timbre-tiny", "tiny", 3, hours=hours, **more)


def test_what_waits_is_found_by_run_name_and_first_digits_and_decided_once(approvals: Approvals) -> None:
    first = asked(approvals, run="5b0c-run", run_name="release-tiny-quick")
    assert asked(approvals) == first, "the same verdict is the same question"
    assert {approvals.find(name).verdict for name in ("5b0c-run", "release-tiny-quick", "aaaa", "a" * 64)} == {first.verdict}
    done = approvals.decide(first, "approved", "Ann", "reads well", bundle=first.bundle, verdict=first.verdict)
    assert (done.state, done.by, done.why) == ("approved", "Ann", "reads well") and approvals.all(waiting=True) == []
    with pytest.raises(ValueError, match="was approved already, by Ann: a decision counts once"):
        approvals.decide(first, "refused", "Ben", "", bundle=first.bundle, verdict=first.verdict)
    assert asked(approvals).state == "approved", "asking again does not open it again"


@pytest.mark.parametrize("wrong", ["bundle", "verdict"])
def test_a_decision_about_another_model_or_verdict_is_refused_and_it_waits_on(approvals: Approvals, wrong: str) -> None:
    waits = asked(approvals)
    seen = {"bundle": waits.bundle, "verdict": waits.verdict} | {wrong: "f" * 64}
    with pytest.raises(ValueError, match="look at the table again"):
        approvals.decide(waits, "approved", "Ann", "", **seen)
    assert [one.state for one in approvals.all()] == ["waiting"]


def test_after_its_time_nobody_decides(approvals: Approvals) -> None:
    late = asked(approvals, hours=-0.001)
    assert late.state == "expired" and approvals.all(waiting=True) == []
    with pytest.raises(ValueError, match="the time to decide was over"):
        approvals.decide(late, "approved", "Ann", "", bundle=late.bundle, verdict=late.verdict)


def test_a_newer_candidate_takes_the_place_of_the_one_that_waits(approvals: Approvals) -> None:
    old, new = asked(approvals, "a"), asked(approvals, "b")
    assert [one.verdict for one in approvals.all(waiting=True)] == [new.verdict]
    with pytest.raises(ValueError, match="a newer candidate has taken its place"):
        approvals.decide(old, "approved", "Ann", "", bundle=old.bundle, verdict=old.verdict)
    with pytest.raises(ValueError, match="no approval is asked for by 'c0ffee': those that wait are bbbbbbbbbbbb"):
        approvals.find("c0ffee")
