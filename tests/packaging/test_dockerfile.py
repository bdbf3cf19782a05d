"""The image holds what runs and nothing else: pinned wheels, no compiler, no installer's cache, no root.

The Dockerfile is read here, not built.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = [
    re.sub(r"\s+", " ", line)
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line.strip()
]


def stages() -> list[list[str]]:
    found: list[list[str]] = []
    for line in LINES:
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


def arguments(stage: list[str], instruction: str) -> list[str]:
    return [line.removeprefix(f"{instruction} ") for line in stage if line.startswith(f"{instruction} ")]


def test_the_base_is_named_by_its_full_version() -> None:
    (base,) = arguments(LINES, "ARG")
    # From 3.13 on: the check of beat in docker-compose.yml looks at files that older ones do not touch.
    assert re.fullmatch(r"PYTHON=python:3\.(1[3-9])\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert [stage[0].split()[1] for stage in stages()] == ["${PYTHON}"] * len(stages())


def test_every_wheel_has_a_known_hash() -> None:
    installs = re.findall(r"pip(?: --python \S+)? (?:install|wheel) ([^&]*)", "&".join(LINES))
    assert len(installs) == 4
    for options in installs:
        assert "--require-hashes --only-binary :all: -r " in options or "--no-index --no-deps" in options
    for lock in re.findall(r"-r (\S+)", TEXT):
        assert (ROOT / lock).exists()


def test_the_last_stage_only_takes_over_what_was_built() -> None:
    last = stages()[-1]
    assert len(stages()) > 1
    assert arguments(last, "COPY") == ["--from=build /opt/mailmirror /opt/mailmirror"]
    assert not re.search(r"\b(apt|apt-get|pip|gcc|cc|make|build-essential|curl|wget)\b", " ".join(last))
    # What is shipped is put together without an installer in it.
    assert "python -m venv --without-pip /opt/mailmirror" in " ".join(stages()[0])


def test_it_does_not_run_as_root() -> None:
    last = stages()[-1]
    (user,) = arguments(last, "USER")
    uid, gid = user.split(":")
    assert int(uid) > 1000
    assert int(gid) > 1000
    assert f"--uid {uid} --gid {gid}" in " ".join(last)
    # Nothing that needs root comes after it.
    assert {line.split()[0] for line in last[last.index(f"USER {user}") :]} == {"USER", "CMD"}


def test_it_writes_nothing_outside_tmp() -> None:
    (environment,) = arguments(stages()[-1], "ENV")
    settings = dict(pair.split("=", 1) for pair in environment.split())
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"
    assert settings["MAILMIRROR_DATA"] == "/tmp"
    assert settings["PATH"].startswith("/opt/mailmirror/bin:")
    assert arguments(stages()[-1], "WORKDIR") == ["/tmp"]


def test_it_knows_no_secret_and_does_nothing_unasked() -> None:
    assert not re.search(r"PASSWORD|_URL|TOKEN|SECRET|API_KEY", TEXT)
    assert not any(line.startswith(("HEALTHCHECK", "EXPOSE", "VOLUME", "ADD")) for line in LINES)


def test_the_build_sees_only_what_the_package_is_made_of() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    let_in = {line.removeprefix("!") for line in rest if line.startswith("!")}
    copied = {word.removeprefix("./") for line in arguments(stages()[0], "COPY") for word in line.split()[:-1]}
    assert let_in == copied
    assert all((ROOT / name).exists() for name in let_in)
