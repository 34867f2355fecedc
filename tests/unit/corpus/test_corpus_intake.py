"""What users bring comes out as its reader sees it: each case of the generator."""

import pytest

from tests.intake.case import Case, faults
from tests.intake.generator import cases


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.kind}: {case.name}")
def test_what_a_user_brings_comes_out_as_its_reader_sees_it(case: Case) -> None:
    assert faults(case) == []


def test_there_are_cases_of_every_kind() -> None:
    every = list(cases())
    assert len(every) >= 80 and len({(case.kind, case.name) for case in every}) == len(every)
