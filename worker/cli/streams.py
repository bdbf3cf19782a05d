"""Standard input, output and error of the command: closed ones are opened on nothing, and a lost reader is no error."""

import io
import os
import select
import sys
import time


class Outlet(io.FileIO):
    """A descriptor that goes on when nobody reads any more, and remembers what else kept it from being written."""

    failure: OSError | None = None
    lost = False
    """Whether something could not be written, such as for want of a reader."""

    def write(self, data: object) -> int:
        """Write, or drop what cannot be written."""
        try:
            return super().write(data) or 0  # type: ignore[arg-type]  # the buffer above gives bytes
        except BlockingIOError:
            raise
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = self.failure or error
            self.lost = True
            return memoryview(data).nbytes  # type: ignore[arg-type]  # see above


def prepare() -> Outlet:
    """Open what is closed, and put streams that forgive in the place of stdout and stderr; gives stdout's outlet.

    A descriptor left closed would go to the next file or connection, and what is printed would be written there.
    """
    nowhere = sys.stdout is None
    for stream in ("stdin", "stdout", "stderr"):
        if getattr(sys, stream) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the closed one
            mode = "r" if stream == "stdin" else "w"
            setattr(sys, stream, os.fdopen(descriptor, mode, closefd=False))  # open until the end
    sys.stderr = _forgiving(sys.stderr, Outlet(sys.stderr.fileno(), "w", closefd=False))
    outlet = Outlet(sys.stdout.fileno(), "w", closefd=False)
    outlet.lost = nowhere
    sys.stdout = _forgiving(sys.stdout, outlet)
    return outlet


def unread() -> bool:
    """Whether something printed on stdout did not leave this process."""
    outlet = _outlet()
    return outlet is not None and outlet.lost


def wait(seconds: float) -> bool:
    """Wait so long, or until the reader of stdout has gone: False then."""
    outlet = _outlet()
    if outlet is None:
        time.sleep(seconds)
        return True
    asked = select.poll()
    asked.register(outlet.fileno(), 0)  # an error of its own accord, such as the reader's end, is always told
    return not asked.poll(seconds * 1000)


def _outlet() -> Outlet | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Outlet) else None


def _forgiving(stream: io.TextIOWrapper | object, outlet: Outlet) -> io.TextIOWrapper:
    """The same stream over an outlet; a character its encoding lacks is no reason to stop either."""
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=getattr(stream, "encoding", None),
        errors="backslashreplace",
        line_buffering=outlet.isatty(),
    )
