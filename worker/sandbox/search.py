"""The search endpoint: a few words of each service's query language (kloudless-api.md 7.3, 11)."""

import re
import shlex

from . import listing, times, tokens
from .account import Account
from .content import Content
from .listing import Keep
from .problems import ApiError, invalid
from .wire import Call, Reply
from .world import World

_SPAN = re.compile(r"(\d+)([dmy])")
_DAYS = {"d": 1, "m": 30, "y": 365}


def search(world: World, account: Account, call: Call) -> Reply:
    """Answer messages that match `q`, over the whole mailbox."""
    if account.service == "imap":
        raise ApiError(501, "not_implemented", "Search is not supported by this service.")
    if not (call.get("q") or "").strip():
        raise invalid("The parameter q is required.")
    return listing.answer(world, account, call, _keeper, whole=True)


def _keeper(bound: tokens.Bound, world: World, account: Account) -> Keep:
    query = dict(bound)["q"]
    try:
        words = shlex.split(query)
    except ValueError:
        words = query.split()
    now = int(world.clock.now())

    def keep(serial: int) -> bool:
        return all(_matches(word, account, serial, now) for word in words)

    return keep


def _matches(word: str, account: Account, serial: int, now: int) -> bool:
    operator, colon, value = word.partition(":")
    if account.service == "gmail" and colon:
        by_place = _by_place(operator, value, account, serial, now)
        if by_place is not None:
            return by_place
    content = account.content(serial)
    if account.service == "gmail" and colon and operator in ("from", "to", "subject"):
        return value.casefold() in _field(content, operator)
    if account.service == "exchange_email":
        return word.casefold() in (content.text or "").casefold()
    fields = (_field(content, "from"), _field(content, "subject"), (content.text or content.html or "").casefold())
    return any(word.casefold() in field for field in fields)


def _field(content: Content, name: str) -> str:
    if name == "subject":
        return (content.subject or "").casefold()
    people = ([content.sender] if content.sender else []) if name == "from" else content.to
    return " ".join(f"{one['email']} {one['name']}" for one in people).casefold()


def _by_place(operator: str, value: str, account: Account, serial: int, now: int) -> bool | None:
    """Test what needs no content: label, state, time; None for another operator."""
    labels = account.mailbox.placement(serial).labels
    names = {account.catalog.labels[key].casefold() for key in labels}
    created = account.mailbox.created(serial)
    if operator in ("label", "in"):
        return value.casefold() in names
    if operator == "is":
        return value.casefold() in names if value != "read" else "unread" not in names
    if operator in ("after", "before"):
        moment = times.parse_iso(value.replace("/", "-"))
        return None if moment is None else created >= moment if operator == "after" else created < moment
    if operator in ("newer_than", "older_than"):
        span = _SPAN.fullmatch(value)
        if span is None:
            return None
        edge = now - int(span[1]) * _DAYS[span[2]] * times.DAY
        return created >= edge if operator == "newer_than" else created < edge
    return None
