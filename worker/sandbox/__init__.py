"""A local server of the Kloudless Email and Activity API over generated mail or your own; imports nothing of worker."""

from .options import SandboxOptions, Switches
from .problems import BadOption, MailboxMissing, NotAMailbox, SandboxError
from .server import Sandbox, running, serve

__all__ = [
    "BadOption",
    "MailboxMissing",
    "NotAMailbox",
    "Sandbox",
    "SandboxError",
    "SandboxOptions",
    "Switches",
    "running",
    "serve",
]
