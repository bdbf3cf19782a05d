"""The checkout is laid out so that names, locks and commands mean what they should."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import models
import worker

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-local.lock", "requirements-dev.lock")
MODULE_LINES = 400


def files_of_the_project() -> list[Path]:
    """List what is tracked or could be: everything git does not ignore."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    hidden = re.compile(r"/(\.(?!ci/)[^/]+|__pycache__)(/|$)")
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden.search(str(path)[len(str(ROOT)) :])]


def text_of(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""  # an image or a database: nobody reads paths in it


def pins(lock: str) -> dict[str, set[str]]:
    """Return the pinned versions per distribution; there are two where platforms differ."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.rstrip("\\ "))
            found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    return found


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_migrations_folder_is_no_package() -> None:
    # As a package it would hide the library of the same name.
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_the_packages_come_from_this_checkout() -> None:
    # A distribution called `worker` exists and overwrites ours when both are installed.
    assert Path(str(worker.__file__)).parent == ROOT / "worker"
    assert Path(str(models.__file__)).parent == ROOT / "models"


def test_no_module_is_too_long() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in files_of_the_project() if path.suffix == ".py"}
    assert lengths
    assert {path.name: lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_file_names_a_place_of_one_machine_or_a_registry() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted", "npmjs" + ".", "docker" + ".io", "ghcr" + ".io")
    place = re.compile(r"(?<![\w.$}/-])/(?:root|work|opt/(?:wheels|pypi))(?:/\w|\b(?=[\"'\s:]))")
    allowed = {"LICENSE"}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:80]}"
        for path in files_of_the_project()
        if path.name not in allowed and path != Path(__file__)
        for line in text_of(path).splitlines()
        if place.search(line) or any(host in line for host in hosts)
    ]
    assert found == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_pin_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) >= len(pins(lock)) > 40
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry or "==" not in entry] == []
    assert re.findall(r"\w+://|--(?:extra-)?index|--find-links|file:|@ ", text) == []


def test_the_locks_agree_with_each_other() -> None:
    runtime, local, dev = map(pins, LOCKS)
    assert runtime.items() <= local.items() <= dev.items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    table = project()
    extras = table["optional-dependencies"]
    assert isinstance(extras, dict)
    for lock, wanted in (
        ("requirements.lock", table["dependencies"]),
        ("requirements-local.lock", extras["local"]),
        ("requirements-dev.lock", extras["dev"]),
    ):
        assert isinstance(wanted, list)
        pinned = pins(lock)
        for requirement in map(Requirement, wanted):
            versions = {pin.removeprefix("==") for pin in pinned[canonicalize_name(requirement.name)]}
            assert any(map(requirement.specifier.contains, versions)), f"{requirement}: run make lock"


def test_the_command_is_called_mailmirror() -> None:
    assert project()["scripts"] == {"mailmirror": "worker.cli:main"}


def test_make_help_lists_every_target() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    targets = {found[1] for line in lines if (found := re.match(r"([a-z][a-z-]*):(?!=)", line))}
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {found[1] for line in said.splitlines() if (found := re.match(r"make ([a-z-]+) +\S", line))}
    assert {"help", "check", "test"} <= targets
    assert listed == targets
