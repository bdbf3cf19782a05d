"""Where mail comes from: every module here whose name does not begin with an underscore is a source.

A source module has one function `open(settings, *, upstream_id, token, service) -> Source`; nothing else
has to be registered.
"""

import functools
import importlib
import pkgutil

from worker.config import Settings
from worker.errors import UsageError
from worker.ports import Source


@functools.cache
def kinds() -> tuple[str, ...]:
    """Name the sources there are, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name[0] != "_"))


def open_source(
    kind: str, settings: Settings, *, upstream_id: str, token: str | None, service: str | None = None
) -> Source:
    """Open the source of one account; no request is made yet.

    Raises UsageError for an unknown kind, and for settings the source cannot work with.
    """
    known = kinds()
    if kind not in known:
        raise UsageError(f"There is no source named {kind!r}. Known: {', '.join(known)}.")
    module = importlib.import_module(f"{__name__}.{kind}")
    source: Source = module.open(settings, upstream_id=upstream_id, token=token, service=service)
    return source
