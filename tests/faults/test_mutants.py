"""The tests bite: each promise taken out of the engine makes the tests named beside it fail."""

import pytest

from tests.faults import mutants


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.postgres
def test_no_mutant_lives() -> None:
    assert mutants.sound(mutants.MUTANTS) == "", "the tests must pass on the code as it is"
    living = [
        f"{one.mutant.name} (exit {one.code})\n{one.words[-800:]}"
        for one in mutants.verdicts(mutants.MUTANTS)
        if not one.dead
    ]
    assert living == []


def test_every_mutant_has_a_name_of_its_own_and_a_test() -> None:
    names = [mutant.name for mutant in mutants.MUTANTS]
    assert len(names) == len(set(names)) >= 12
    for mutant in mutants.MUTANTS:
        for killer in mutant.killers:
            path, _, test = killer.partition("::")
            assert f"def {test}(" in (mutants.ROOT / path).read_text() if test else (mutants.ROOT / path).is_file()
