"""What can go wrong with servers on this machine."""

from worker.errors import UsageError


class LocalError(UsageError):
    """A server of this machine is missing or does not start; the sentence says what to do."""
