"""The admin routes of one account: truth, log, and changes (table in admin.py)."""
# ruff: noqa: ARG001 - every route has one signature

import asyncio
import base64
import binascii
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from . import churn, times, wire
from .account import Account, token_of
from .catalog import Placement
from .problems import ApiError, BadOption, not_found
from .wire import Call, Reply
from .world import World

Body = dict[str, Any]
_TRUTH_CHUNK = 100
_ACTIVITY = ("on", "forbidden", "unsupported")


def find(world: World, account_id: int) -> Account:
    """Return an account, also a removed one."""
    found = world.accounts.get(account_id)
    if found is None:
        raise not_found(f"Account {account_id}")
    return found


def moment(value: object) -> int:
    """Read a time: ISO 8601 text or seconds."""
    if isinstance(value, int | float):
        return int(value)
    found = times.parse_iso(str(value))
    if found is None:
        raise BadOption(f"{value} is not a time. Give ISO 8601, e.g. 2024-05-01T12:00:00Z.")
    return found


def describe(account: Account) -> Body:
    """Describe an account for tests: what a client would need, and what it should find."""
    return {
        "id": account.id,
        "token": account.token,
        "service": account.service,
        "address": account.address,
        "messages": len(account.mailbox),
        "log_length": len(account.log),
        "subscribed": account.subscription is not None,
        "activity": account.activity,
        "broken": account.broken,
        "removed": account.removed,
    }


def accounts(world: World, call: Call) -> Reply:
    """List accounts, or create one."""
    if call.method == "GET":
        return wire.reply({"objects": [describe(account) for account in world.accounts.values()]})
    body = call.json()
    unknown = body.keys() - {"service", "address", "messages", "days", "subscribed"}
    if unknown:
        raise BadOption(f"{', '.join(sorted(unknown))} is not known here.")
    return wire.reply(describe(world.create(**body)), 201)


def answer(world: World, call: Call, account_id: int, verb: str | None) -> Reply:
    """Answer a route of one account."""
    account = find(world, account_id)
    if verb is None:
        if call.method == "POST":
            _set(world, account, call.json())
        return wire.reply(describe(account))
    if call.method == "GET" and verb == "truth":
        return Reply(content_type="application/x-ndjson", stream=truth(world, account))
    if call.method == "GET" and verb == "log":
        return _log(account, call)
    changed = _CHANGES.get(verb)
    if changed is None or call.method != "POST":
        raise ApiError(404, "not_found", f"{call.method} {verb} is no route of the admin API.")
    return wire.reply(changed(world, account, call.json()))


def heading(account: Account) -> Body:
    """Make the first line of the truth."""
    catalog = account.catalog
    return {
        "account": account.id,
        "service": account.service,
        "address": account.address,
        "count": len(account.mailbox),
        "labels": [catalog.label(key) for key in catalog.labels],
        "folders": [catalog.folder(key) for key in catalog.folders],
        "log_length": len(account.log),
    }


async def truth(world: World, account: Account) -> AsyncIterator[bytes]:
    """Stream the live messages as a client would get them, newest first, untouched by faults and lags."""
    yield wire.encode(heading(account)) + b"\n"
    start = 0
    while True:
        view = churn.everything(account)
        serials = view.serials(start, _TRUTH_CHUNK)
        if not serials:
            return
        key = account.mailbox.key(serials[-1])
        yield b"".join(world.fragment(account, serial) + b"\n" for serial in serials)
        await asyncio.sleep(0)
        start = churn.everything(account).rank_after(key)


def _log(account: Account, call: Call) -> Reply:
    after, limit = int(call.get("after") or 0), int(call.get("limit") or 100_000)
    changes = [
        {
            "seq": c.seq,
            "at": times.iso(int(c.at)),
            "seconds": c.at,
            "kind": c.kind,
            "message_id": account.message_id(c.serial),
        }
        for c in account.log.changes[after : after + limit]
    ]
    return wire.reply({"length": len(account.log), "changes": changes})


def _set(world: World, account: Account, body: Body) -> None:
    account.broken = bool(body.get("broken", account.broken))
    account.removed = bool(body.get("removed", account.removed))
    if body.get("activity", "on") not in _ACTIVITY:
        raise BadOption(f"activity is one of {', '.join(_ACTIVITY)}.")
    account.activity = body.get("activity", account.activity)
    if "subscribed" in body:
        account.subscription = None
        if body["subscribed"]:
            world.subscribe(account)
    if "token" in body:
        if account.token is not None:
            world.tokens.pop(account.token, None)
        account.token = None
        if body["token"] == "renew":  # noqa: S105 - a verb, not a secret
            account.token = token_of(account.id, random.randrange(1 << 60))
            world.tokens[account.token] = account.id


def _selected(account: Account, body: Body) -> list[int]:
    """Return the serials a body selects; an unknown id is a 404."""
    wanted = body.get("message_ids", [body["message_id"]] if "message_id" in body else None)
    if wanted is not None:
        serials = [account.serial_of(str(one)) for one in wanted]
        if None in serials:
            raise not_found("Message")
        return [serial for serial in serials if serial is not None]
    view = churn.everything(account)
    total = len(view)
    if body.get("all"):
        return view.serials(0, total)
    if "newest" in body:
        return view.serials(0, int(body["newest"]))
    if "oldest" in body:
        return view.serials(max(0, total - int(body["oldest"])), int(body["oldest"]))
    if "random" in body:
        ranks = random.Random(body.get("seed", 0)).sample(range(total), min(total, int(body["random"])))
        return [view.serials(rank, 1)[0] for rank in ranks]
    if "label" in body:
        key = account.catalog.label_key(str(body["label"]))
        return [s for s in view.serials(0, total) if key in account.mailbox.placement(s).labels]
    raise BadOption("Select messages by message_id, message_ids, newest, oldest, random, label or all.")


def _ids(account: Account, serials: list[int]) -> Body:
    return {"message_ids": [account.message_id(serial) for serial in serials]}


def _deliver(world: World, account: Account, body: Body) -> Body:
    now = world.clock.now()
    created = moment(body["created"]) if body.get("created") is not None else None
    raw = body["raw"].encode("utf-8", "surrogateescape") if "raw" in body else None
    if "raw_base64" in body:
        try:
            raw = base64.b64decode(body["raw_base64"])
        except (binascii.Error, ValueError) as error:
            raise BadOption("raw_base64 is not base64.") from error
    serials = []
    for _ in range(int(body.get("count", 1))):
        before = len(account.log)
        if raw is not None:
            serial = account.deliver_raw(raw, world.spool, now, created)
        else:
            reply_to = account.serial_of(body["reply_to"]) if "reply_to" in body else None
            serial = account.deliver_generated(now, created, reply_to=reply_to)
        if "labels" in body or "folder" in body:
            _arrive_at(account, serial, body)
        assert len(account.log) == before + 1  # noqa: S101 - a delivery is one change
        serials.append(serial)
    return _ids(account, serials)


def _arrive_at(account: Account, serial: int, body: Body) -> None:
    """Put a delivered message where the body says, as part of its arrival."""
    labels, folder = account.mailbox.placement(serial)
    if "labels" in body:
        keys = [account.catalog.label_key(str(name), create=True) for name in body["labels"]]
        labels = tuple(dict.fromkeys(key for key in keys if key is not None))
    if "folder" in body:
        folder = account.catalog.folder_key(str(body["folder"]), create=True)
    account.mailbox.place(serial, Placement(labels, folder))


def _relabel(world: World, account: Account, body: Body) -> Body:
    if account.service == "imap":
        raise BadOption("imap has no labels. Move instead.")
    serials = _selected(account, body)
    for serial in serials:
        account.relabel(serial, list(body.get("add", [])), list(body.get("remove", [])), world.clock.now())
    return _ids(account, serials)


def _move(world: World, account: Account, body: Body) -> Body:
    if account.service == "gmail":
        raise BadOption("gmail has no folders. Relabel instead.")
    if "folder" not in body:
        raise BadOption("Give the folder to move to.")
    now, new_id = world.clock.now(), world.switches_of(account).move_changes_id
    moved = [account.move(s, str(body["folder"]), now, new_id=new_id) for s in _selected(account, body)]
    return _ids(account, moved)


def _delete(world: World, account: Account, body: Body) -> Body:
    serials = _selected(account, body)
    for serial in serials:
        account.delete(serial, world.clock.now())
    return _ids(account, serials)


def _rename(world: World, account: Account, body: Body) -> Body:
    if not account.catalog.rename(str(body.get("kind", "label")), str(body.get("name")), str(body.get("to"))):
        raise not_found(f"{body.get('kind', 'label')} {body.get('name')}")
    account.mailbox.version += 1
    return {}


def _churn(world: World, account: Account, body: Body) -> Body:
    return dict(churn.changes(world, account, int(body.get("changes", 1)), int(body.get("seed", 0))))


_CHANGES: dict[str, Callable[[World, Account, Body], Body]] = {
    "deliver": _deliver,
    "relabel": _relabel,
    "move": _move,
    "delete": _delete,
    "rename": _rename,
    "churn": _churn,
}
