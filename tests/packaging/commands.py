"""Checks that a command line of ours could be run: the program, the subcommand, the app, the queues, every option."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from celery.bin.beat import beat
from celery.bin.worker import worker
from typer.main import get_command

from worker.cli.entry import app

ROOT = Path(__file__).resolve().parents[2]
QUEUES = {"live", "backfill"}
CELERY = {"worker": worker, "beat": beat}


def check(words: Sequence[str]) -> None:
    """Fail with a reason when this command line of `celery` or `mailmirror` could not be run."""
    program, *arguments = words
    if program == "mailmirror":
        found, name = get_command(app), "mailmirror"
        while commands := getattr(found, "commands", {}):
            name = f"{name} {arguments[0]}"
            assert arguments[0] in commands, f"there is no command {name}"
            found = commands[arguments.pop(0)]
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in arguments} <= known, f"{name} does not know all of {arguments}"
        return
    assert program == "celery", f"{program} is no program of ours"
    flag, module, name, *options = arguments
    assert flag == "-A"
    assert module == "worker.celery"
    if name == "inspect":
        return
    command = CELERY[name]
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(list(options))
    assert rest == []
    if name == "worker":
        # As typed, or split already.
        asked = values["queues"]
        assert set(asked.split(",") if isinstance(asked, str) else asked) <= QUEUES


def hard_limit() -> float:
    """Return the hard time limit of a task, in seconds."""
    question = "from worker.celery import app; print(app.conf.task_time_limit)"
    answer = subprocess.run(
        [sys.executable, "-c", question],
        env={**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": "redis://nowhere.invalid"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout)
