"""What is installed is what the project asks for, and not older than the last known weakness (this is no audit)."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.least_versions import LEAST
from tests.test_layout import LOCKS, ROOT, pins, project

EXTRAS = {"requirements.lock": (), "requirements-local.lock": ("local", "build"),
          "requirements-dev.lock": ("local", "build", "dev")}  # fmt: skip
BENCH = "benchmarks/requirements.lock"
"""What the benchmarks measure against, in an environment of its own."""


def too_old(pinned: dict[str, set[str]]) -> list[str]:
    """Pins below the table, with what is the matter with them."""
    return [
        f"{name} {version} (needs {least}): {why}"
        for name, (least, why) in LEAST.items()
        for version in (pin.removeprefix("==") for pin in pinned.get(name, ()))
        if Version(version) < Version(least)
    ]


@pytest.mark.parametrize("lock", [*LOCKS, BENCH])
def test_no_pin_is_older_than_the_last_weakness_we_know_of(lock: str) -> None:
    assert too_old(pins(lock)) == []


def test_an_old_pin_is_found() -> None:
    found = too_old({"idna": {"==3.6", "==3.7"}, "h11": {"==0.16.0"}, "urllib3": {"==1.26.5"}})
    assert [line.partition(" (")[0] for line in found] == ["idna 3.6", "urllib3 1.26.5"]


def test_the_table_is_about_what_is_installed() -> None:
    every = pins("requirements-dev.lock")
    assert LEAST.keys() <= every.keys()
    assert all(name == canonicalize_name(name) for name in LEAST)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_distribution_that_is_asked_for_is_pinned_to_one_version(lock: str) -> None:
    table = project()
    extras = table["optional-dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(table["dependencies"], list)
    wanted = [*table["dependencies"], *(line for extra in EXTRAS[lock] for line in extras[extra])]
    pinned = pins(lock)
    for requirement in map(Requirement, wanted):
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(re.fullmatch(r"==[\w.+!]+", version) for version in versions), requirement
        assert any(map(requirement.specifier.contains, (v.removeprefix("==") for v in versions))), requirement
        if requirement.marker is None:
            assert len(versions) == 1, requirement


def test_what_the_benchmarks_measure_against_is_pinned_as_it_is_asked_for() -> None:
    asked = (ROOT / "benchmarks" / "requirements.in").read_text().splitlines()
    pinned = pins(BENCH)
    wanted = [Requirement(line) for line in asked if line and not line.startswith("#")]
    assert len(wanted) > 1
    for requirement in wanted:
        assert pinned[canonicalize_name(requirement.name)] == {str(requirement.specifier)}, "run make lock"


def test_the_lock_of_the_benchmarks_has_a_hash_for_every_pin_and_no_address() -> None:
    text = (ROOT / BENCH).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) >= len(pins(BENCH)) > 40
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry or "==" not in entry] == []
    assert re.findall(r"\w+://|--(?:extra-)?index|--find-links|file:|@ ", text) == []


def test_make_lock_writes_every_lock() -> None:
    written = re.findall(r"-o (\S+\.lock)", (ROOT / "Makefile").read_text())
    assert sorted(written) == sorted([*LOCKS, BENCH])
    assert sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.lock"), *ROOT.glob("benchmarks/*.lock"))) == (
        sorted(written)
    )


@pytest.mark.parametrize("lock", [*LOCKS, BENCH])
def test_every_hash_is_whole(lock: str) -> None:
    hashes = re.findall(r"--hash=(\S+)", (ROOT / lock).read_text())
    assert len(hashes) > 100
    assert [one for one in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", one)] == []
