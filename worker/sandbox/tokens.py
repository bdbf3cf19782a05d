"""Page tokens: opaque, bound to an account and its filters, and able to age (kloudless-api.md 6)."""

import base64
import binascii
from typing import NamedTuple

import msgspec

from .problems import invalid

Bound = tuple[tuple[str, str], ...]
_LONGEST_NUMBER = 9
_BOUND = ("after", "before", "folder_id", "thread_id", "labels", "q")


class Position(NamedTuple):
    """Say where a page starts: an offset, or the place of the last object seen; `page` is a plain page number."""

    offset: int = 0
    key: tuple[int, int] | None = None
    page: int | None = None
    salt: int = 0


class Token(msgspec.Struct, array_like=True, frozen=True):
    """Carry a position with what it is bound to."""

    account: int
    bound: Bound
    offset: int
    key: tuple[int, str] | None
    salt: int
    issued: int | None


def filters(query: list[tuple[str, str]]) -> Bound:
    """Return the parameters a token is bound to, in one order."""
    return tuple(sorted((name, value) for name, value in query if name in _BOUND))


def write(account_id: int, bound: Bound, position: Position, issued: int | None) -> str:
    """Make the value of next_page."""
    key = None if position.key is None else (position.key[0], f"{position.key[1]:x}")
    token = Token(account_id, bound, position.offset, key, position.salt, issued)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def read(
    text: str, account_id: int, query: list[tuple[str, str]], *, now: float, ttl: float | None
) -> tuple[Position, Bound]:
    """Read `page` back; other filters than the listing's, age or any damage is a 400.

    A request may leave the filters out: the token brings them. A plain number is a page by count.
    """
    bound = filters(query)
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER:
        return Position(page=max(1, int(text))), bound
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Token)
        key = None if token.key is None else (token.key[0], int(token.key[1], 16))
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise invalid("The page parameter is invalid.") from error
    if token.offset < 0 or token.account != account_id or (bound and bound != token.bound):
        raise invalid("The page parameter belongs to another listing.")
    if ttl is not None and token.issued is not None and now - token.issued > ttl:
        raise invalid("The page parameter has expired.")
    return Position(token.offset, key, salt=token.salt), token.bound
