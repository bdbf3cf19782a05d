"""An installed wheel can migrate: the revisions travel inside it."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import psycopg
import pytest

from worker.store import migrations

ROOT = Path(__file__).resolve().parents[2]

MIGRATE = """
import sys
from pathlib import Path
import models
from worker.store import migrations
assert Path(models.__file__).is_relative_to(sys.prefix), models.__file__
migrations.upgrade(sys.argv[1])
migrations.require_current(sys.argv[1])
print(migrations.current(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.server
def test_a_wheel_in_an_environment_of_its_own_migrates(wheel: Path, tmp_path: Path, empty_database: str) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    packages = next(environment.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DATABASE_URL"))}
    done = subprocess.run(
        [str(python), "-c", MIGRATE, empty_database],
        cwd=tmp_path,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == migrations.head()
    with psycopg.connect(empty_database.replace("postgresql+psycopg://", "postgresql://", 1)) as connection:
        assert connection.execute("SELECT count(*) FROM mail.live_messages").fetchone() == (0,)


def test_the_wheel_never_touches_the_alembic_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "models/migrations/env.py" in names
    assert "models/migrations/versions/0001_mail.sql" in names
    assert not [name for name in names if name.startswith("alembic/")]
    assert "models/migrations/__init__.py" not in names
