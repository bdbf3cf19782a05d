"""JSON as it really comes: lone surrogates, NaN, endless numbers, broken UTF-8; and the text cleaned of it."""

import json
import re
from typing import Any, Final, NamedTuple

from worker.errors import UnreadableError

LONGEST_INTEGER = 400
"""Digits; more than any id, size or cursor has, less than Python's own limit."""


class Huge:
    """Stands for a number too large to be one."""

    def __repr__(self) -> str:
        return "HUGE"


HUGE: Final = Huge()


class Loaded(NamedTuple):
    """A JSON value; `constants` tells that NaN or Infinity stood in it (as None in `value`)."""

    value: Any
    constants: bool


_UNFIT = re.compile("[\x00\ud800-\udfff]")


def is_clean(text: str) -> bool:
    """Tell whether Postgres can hold the text: no NUL, no lone surrogate (faults.md D1, D2)."""
    return _UNFIT.search(text) is None


def clean(text: str) -> str:
    """Put U+FFFD in place of every NUL and lone surrogate."""
    return _UNFIT.sub("\ufffd", text)


def loads(data: bytes) -> Loaded:
    """Read JSON that a strict reader refuses; raises UnreadableError when even that fails.

    A byte that is no UTF-8 and a lone surrogate both come out as a surrogate, which `clean` replaces.
    """
    constants: list[str] = []
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    try:
        value = json.loads(text, strict=False, parse_constant=constants.append, parse_int=_integer, parse_float=_float)
    except RecursionError:
        raise UnreadableError("The JSON is nested too deeply.") from None
    except ValueError:
        raise UnreadableError("The JSON is malformed.") from None
    return Loaded(value, bool(constants))


def document(data: bytes) -> dict[str, Any]:
    """Read one JSON object; raises UnreadableError for anything else."""
    loaded = loads(data)
    if loaded.constants:
        raise UnreadableError("The JSON holds NaN or Infinity.")
    if not isinstance(loaded.value, dict):
        raise UnreadableError("The JSON is no object.")
    return loaded.value


def _integer(text: str) -> int | Huge:
    return int(text) if len(text) <= LONGEST_INTEGER else HUGE


def _float(text: str) -> float | Huge:
    value = float(text)
    return value if abs(value) != float("inf") else HUGE


_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*:)?|["{}\[\],]', re.DOTALL)
_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}
_LIST_OF = b'"objects"'
_IN_PAGE, _IN_LIST = 1, 2
"""Open brackets around a page's own keys, and around the objects of its list."""


def split(body: bytes) -> tuple[bytes, list[bytes]]:  # noqa: C901, PLR0912  # one pass reads best as one
    """Cut a page into its envelope, with `objects` emptied, and the bytes of each object.

    Looks at nothing but strings, brackets and commas, so that an object that no parser takes is cut out whole
    and the others stay readable. Raises UnreadableError when those do not match up: the page broke off.
    """
    closers: list[int] = []
    pieces: list[bytes] = []
    opened = closed = start = 0
    in_list = False
    key = b""
    for token in _TOKEN.finditer(body):
        first, depth = body[token.start()], len(closers)
        if first == ord('"'):
            if token.end() - token.start() == 1:
                raise UnreadableError("The page breaks off within a text.")
            if depth == _IN_PAGE and token[1] is not None:
                key = token[0][: -len(token[1])]
        elif first in _CLOSER:
            closers.append(_CLOSER[first])
            if depth == _IN_PAGE and first == ord("[") and key == _LIST_OF:
                if opened:
                    raise UnreadableError("The page has two lists of objects.")
                opened = start = token.end()
                in_list = True
        elif first == ord(","):
            if in_list and depth == _IN_LIST:
                pieces.append(body[start : token.start()])
                start = token.end()
        else:
            if not closers or closers.pop() != first:
                raise UnreadableError("The page's brackets do not match.")
            if in_list and len(closers) == _IN_PAGE:
                last = body[start : token.start()]
                if pieces or last.strip():
                    pieces.append(last)
                closed, in_list = token.start(), False
    if closers:
        raise UnreadableError("The page breaks off.")
    if not opened:
        raise UnreadableError("The page has no list of objects.")
    return body[:opened] + body[closed:], pieces
