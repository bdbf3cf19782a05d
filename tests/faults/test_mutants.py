"""The tests bite: each promise taken out of the engine makes the tests named beside it fail."""

import importlib.util
from pathlib import Path

import pytest

from tests.faults import figures, mutants


@pytest.fixture(autouse=True)
def canaries() -> None:
    """Search nothing here: a test that has to fail says what differed, and that is mail."""


@pytest.mark.thorough
@pytest.mark.server
@pytest.mark.postgres
def test_no_mutant_lives() -> None:
    assert mutants.sound(mutants.MUTANTS) == "", "the tests must pass on the code as it is"
    verdicts = mutants.verdicts(mutants.MUTANTS)
    for one in verdicts:
        killers = ", ".join(killer.rpartition("::")[2] for killer in one.mutant.killers)
        figures.name("mutants, all dead", f"{one.mutant.name}: killed by {killers}")
    living = [f"{one.mutant.name} (exit {one.code})\n{one.words[-800:]}" for one in verdicts if not one.dead]
    assert living == []


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_fits_the_code_as_it_is(mutant: mutants.Mutant) -> None:
    for edit in mutant.edits:
        found = importlib.util.find_spec(edit.module)
        assert found is not None
        assert found.origin is not None
        assert Path(found.origin).read_text(encoding="utf-8").count(edit.old) == 1, edit.module


def test_every_mutant_has_a_name_of_its_own_and_a_test() -> None:
    names = [mutant.name for mutant in mutants.MUTANTS]
    assert len(names) == len(set(names)) >= 12
    for mutant in mutants.MUTANTS:
        for killer in mutant.killers:
            path, _, test = killer.partition("::")
            assert f"def {test}(" in (mutants.ROOT / path).read_text() if test else (mutants.ROOT / path).is_file()
