"""The wheel alone, in an empty environment and an empty folder: it migrates, adds, syncs and verifies."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = 200


class Installed:
    """mailmirror as a wheel leaves it: a command in an environment that knows no checkout."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.prefix = folder / "environment"
        self.home = folder / "empty"
        self.home.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.prefix)], check=True)
        self.python = self.prefix / "bin" / "python"
        packages = next(self.prefix.glob("lib/python*/site-packages"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        # A path alone: unlike a site folder of its own, its .pth files (an editable checkout's) are not read.
        (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        self.environment = {name: text for name, text in os.environ.items()
                            if not name.startswith(("PYTHON", "MAILMIRROR_", "DATABASE_URL", "REDIS_URL"))}  # fmt: skip

    def command(self, *arguments: str) -> list[str]:
        # What the installed script `mailmirror` does.
        return [str(self.python), "-c", "from worker.cli import main; main()", *arguments]

    def run(self, *arguments: str, feed: str = "") -> str:
        """Run a command in the empty folder; returns what it printed."""
        done = subprocess.run(self.command(*arguments), cwd=self.home, env=self.environment, input=feed,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def sandbox(self) -> Iterator[dict[str, Any]]:
        """Serve a mailbox by the installed sandbox."""
        command = self.command("sandbox", "--json", "--messages", str(MESSAGES))
        with subprocess.Popen(
            command, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                yield json.loads(process.stdout.readline())
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def installed(tmp_path: Path, wheel: Path) -> Installed:
    return Installed(tmp_path, wheel)


@pytest.mark.server
def test_a_wheel_migrates_and_mirrors(installed: Installed, empty_database: str) -> None:
    where = "import models, worker; print(models.__file__, worker.__file__)"
    found = subprocess.run([str(installed.python), "-c", where], cwd=installed.home, env=installed.environment,
                           capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    assert [path for path in found if not Path(path).is_relative_to(installed.prefix)] == []

    installed.environment |= {"DATABASE_URL": empty_database.replace("+psycopg", "")}
    installed.run("migrate")
    with installed.sandbox() as served:
        installed.environment |= {"MAILMIRROR_KLOUDLESS_URL": served["url"]}
        token = served["accounts"][0]["token"]
        added = json.loads(installed.run("accounts", "add", "kloudless", "--token-stdin", "--json", feed=token))
        installed.run("sync")
        verdict = installed.run("verify", str(added["id"]))
    assert f"{MESSAGES}" in verdict
    assert "equal" in verdict
    assert {path.name for path in installed.home.iterdir()} == {".data"}, "only the key file is kept"


@pytest.mark.server
def test_the_wheel_brings_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [entry_points] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "mailmirror = worker.cli:main" in archive.read(entry_points).decode()
        assert [name for name in archive.namelist() if name.startswith(("tests/", "benchmarks/"))] == []
