"""Adding again, looking, trying out and taking away."""

from tests.intake.editing import faults_of_editing


def test_a_folder_that_is_added_again_is_updated_and_every_change_is_counted() -> None:
    found = faults_of_editing()
    assert len(found) >= 8 and {name: faults for name, faults in found.items() if faults} == {}
