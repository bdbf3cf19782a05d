"""The `mailmirror` command: one module a command group, over `worker.bootstrap`; needs no broker."""

from worker.cli.entry import main

__all__ = ["main"]
