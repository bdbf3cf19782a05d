"""Runs `mailmirror` as a person does: arguments, environment and standard input in, code and both outputs out."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from worker.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, code: int, *words: str) -> None:
        """Assert that it said one sentence, on stderr alone, with these words and this exit code."""
        assert (self.code, self.out) == (code, ""), self
        assert "Traceback" not in self.err
        assert len(self.err.splitlines()) == 1, self.err
        for word in words:
            assert word in self.err


class Command:
    """The command line in this process, with an environment of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], home: Path) -> None:
        self._patch = patch
        self._capture = capture
        for name in [n for n in os.environ if n.startswith("MAILMIRROR_")] + ["DATABASE_URL", "REDIS_URL"]:
            patch.delenv(name, raising=False)
        patch.setenv("MAILMIRROR_DATA", str(home / "data"))
        self.data = home / "data"

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        self._patch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, said.out, said.err)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Run it as a process of its own; to be waited for by the test."""
        command = [sys.executable, "-m", "worker", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
