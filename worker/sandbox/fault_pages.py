"""Faults inside JSON: pages, messages and events that are not what they should be."""
# ruff: noqa: ARG001 - every fault has one signature

import json
import random
import re
from collections.abc import Callable
from typing import Any

from . import tokens
from .faults import Fault
from .wire import Call
from .world import World

Doc = dict[str, Any]
Change = Callable[[Fault, Call, World, Doc], Any]
PAGES = ("list", "search")
EVENTS = ("activity", "events")
_DEEP = "nested arrays of depth "


def _targets(fault: Fault, call: Call, doc: Doc) -> list[Doc]:
    """Return the messages a fault is about: the one it is bound to, else the first."""
    where = fault.args.get("where", ["list", "get"])
    if call.route == "get":
        return [doc] if "get" in where and fault.message_id in (None, doc.get("id")) else []
    if call.route not in PAGES or "list" not in where:
        return []
    objects: list[Doc] = doc["objects"]
    return [one for one in objects if fault.message_id in (None, one.get("id"))][:1]


def _each(edit: Callable[[Doc, Fault], None]) -> Change:
    def change(fault: Fault, call: Call, world: World, doc: Doc) -> Any:
        found = _targets(fault, call, doc)
        for message in found:
            edit(message, fault)
        return doc if found else None

    return change


def _set(name: str, value: Any) -> Change:
    def edit(message: Doc, fault: Fault) -> None:
        message[str(fault.args.get("field", name))] = fault.args.get("value", value)

    return _each(edit)


def _insert(what: str) -> Change:
    """Put characters into the strings a reader stores: subject, text and a person's name."""

    def edit(message: Doc, fault: Fault) -> None:
        fields = [fault.args["field"]] if "field" in fault.args else ["subject", "text_body", "snippet"]
        for name in fields:
            message[name] = f"ab{what}cd{message.get(name) or ''}"
        if isinstance(message.get("from"), dict):
            message["from"]["name"] = f"x{what}y"

    return _each(edit)


def _deep(message: Doc, fault: Fault) -> None:
    message[str(fault.args.get("field", "extra"))] = f"{_DEEP}{int(fault.args.get('depth', 100_000))}"


def dump(doc: Any) -> str:
    """Write a document as JSON, with NaN, lone surrogates, and nesting no encoder would follow."""
    return re.sub(f'"{_DEEP}(\\d+)"', lambda found: "[" * int(found[1]) + "]" * int(found[1]), json.dumps(doc))


def _huge(message: Doc, fault: Fault) -> None:
    message["extra"] = 10**400
    if message.get("attachments"):
        message["attachments"][0]["size"] = 10**30
    elif isinstance(message.get("rfc822"), dict):
        message["rfc822"]["size"] = 10**30


def _poison_object(fault: Fault, call: Call, world: World, doc: Doc) -> Any:
    found = _targets(fault, call, doc)
    value = fault.args.get("value", "this is no message")
    if not found:
        return None
    if call.route == "get":
        return value
    doc["objects"] = [value if one is found[0] else one for one in doc["objects"]]
    return doc


def _poison_page(fault: Fault, call: Call, world: World, doc: Doc) -> Any:
    if not _targets(fault, call, doc):
        return None
    return json.dumps(doc)[:-20] + ',"broken": [}'


def _page(edit: Callable[[Fault, Call, World, Doc], Any]) -> Change:
    def change(fault: Fault, call: Call, world: World, doc: Doc) -> Any:
        return edit(fault, call, world, doc) if call.route in PAGES else None

    return change


def _own_token(call: Call) -> str:
    """Return a token for the page that was just asked for."""
    return call.get("page") or tokens.write(call.account_id or 0, tokens.filters(call.query), tokens.Position(), None)


def _empty_page(fault: Fault, call: Call, world: World, doc: Doc) -> Doc:
    return {**doc, "objects": [], "count": 0, "next_page": _own_token(call)}


def _empty_list(fault: Fault, call: Call, world: World, doc: Doc) -> Doc:
    return {**doc, "objects": [], "count": 0, "next_page": None}


def _omit(fault: Fault, call: Call, world: World, doc: Doc) -> Doc | None:
    gone = _targets(fault, call, doc)
    doc["objects"] = [one for one in doc["objects"] if one not in gone]
    doc["count"] = len(doc["objects"])
    return doc if gone else None


def _repeat(fault: Fault, call: Call, world: World, doc: Doc) -> Doc | None:
    last = fault.memory.pop("last", None)
    if doc["next_page"] is not None and doc["objects"]:
        fault.memory["last"] = doc["objects"][-1]
    if last is None or call.get("page") is None:
        return None
    doc["objects"].insert(0, last)
    doc["count"] = len(doc["objects"])
    return doc


def _number(call: Call) -> int:
    page = call.get("page") or "1"
    return int(page) if page.isdecimal() else 1


def _missing(fault: Fault, call: Call, world: World, doc: Doc) -> Doc:
    del doc["next_page"]
    doc["page"] = _number(call)
    return doc


def _integer(fault: Fault, call: Call, world: World, doc: Doc) -> Doc | None:
    if doc["next_page"] is None:
        return None
    doc["next_page"] = _number(call) + 1
    return doc


def _loop(fault: Fault, call: Call, world: World, doc: Doc) -> Doc:
    doc["next_page"] = _own_token(call)
    return doc


def _events(edit: Callable[[Fault, Call, Doc], None]) -> Change:
    def change(fault: Fault, call: Call, world: World, doc: Doc) -> Any:
        if call.route not in EVENTS or not doc["objects"]:
            return None
        edit(fault, call, doc)
        doc["count"] = len(doc["objects"])
        return doc

    return change


def _first_event(name: str, value: Any) -> Change:
    def edit(fault: Fault, call: Call, doc: Doc) -> None:
        for event in doc["objects"] if fault.args.get("all") else doc["objects"][:1]:
            if value is KeyError:
                event.pop(name, None)
            else:
                event[name] = fault.args.get("value", value)

    return _events(edit)


def _cursor(fault: Fault, call: Call, doc: Doc) -> None:
    doc["cursor"] = None if fault.kind == "cursor_null" else call.get("cursor") or "0"
    if fault.kind == "cursor_missing":
        del doc["cursor"]


def _duplicated(fault: Fault, call: Call, doc: Doc) -> None:
    doc["objects"] = [event for event in doc["objects"] for _ in range(2)]


def _shuffled(fault: Fault, call: Call, doc: Doc) -> None:
    random.Random(len(doc["objects"])).shuffle(doc["objects"])


_NO = KeyError
_FOREIGN = {"id": "file_Zm9yZWlnbg", "type": "file", "api": "storage"}
CHANGES: dict[str, tuple[Change, str]] = {
    "poison_object": (_poison_object, "another value in a message's place; args value, where [list, get]"),
    "poison_page": (_poison_page, "malformed JSON while the message is on the page (or is fetched); args where"),
    "nul": (_insert("\0"), "NUL in subject, texts, name; args field"),
    "lone_surrogate": (_insert("\ud83d"), "lone surrogate likewise"),
    "impossible_date": (_set("created", "2023-02-30T25:61:00Z"), "created; args value"),
    "huge_integer": (_each(_huge), "integers of 30 and 400 digits in size and in an extra field"),
    "nan": (_set("created", float("nan")), "NaN; args field (created)"),
    "deep_nesting": (_each(_deep), "args depth (100000), field (extra)"),
    "null_field": (_set("subject", None), "null; args field (subject)"),
    "set_field": (_set("subject", 17), "any value; args field (subject), value (17)"),
    "empty_page": (_page(_empty_page), "no objects, and a next_page that leads to the same place"),
    "empty_list": (_page(_empty_list), "200 with nothing, as if the mailbox were empty"),
    "omit": (_page(_omit), "the message is missing on the page"),
    "repeat_on_next_page": (_page(_repeat), "the last message of a page comes again on the next"),
    "next_page_missing": (_page(_missing), "no key next_page; page is an integer, and page + 1 works until 404"),
    "next_page_integer": (_page(_integer), "next_page is an integer, which works"),
    "next_page_loop": (_page(_loop), "next_page leads to the same page again"),
    "cursor_null": (_events(_cursor), "cursor is null though there are events"),
    "cursor_stuck": (_events(_cursor), "cursor does not advance though there are events"),
    "cursor_missing": (_events(_cursor), "no key cursor"),
    "event_without_id": (_first_event("id", _NO), "the first event has no id; args all"),
    "event_without_metadata": (_first_event("metadata", _NO), "the first event has no metadata; args all"),
    "event_null_metadata": (_first_event("metadata", None), "metadata null; args all"),
    "event_unknown_kind": (_first_event("type", "restore"), "type unknown; args value, all"),
    "event_other_type": (_first_event("metadata", _FOREIGN), "metadata of a file; args all"),
    "events_duplicated": (_events(_duplicated), "every event twice"),
    "events_shuffled": (_events(_shuffled), "events in another order"),
}  # fmt: skip
