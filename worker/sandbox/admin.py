"""The admin API under /__admin, for tests and demos: no authorization, loopback only.

Every POST takes a JSON object. `select` stands for one way to name messages: "message_id": id, "message_ids": [ids],
"newest": n, "oldest": n, "random": n (with "seed"), "label": name, or "all": true. Times are ISO 8601 or seconds.

| route | body | answer |
|---|---|---|
| GET /accounts | | {"objects": [account]}: id, token, service, address, messages, log_length, subscribed, activity, broken, removed |
| POST /accounts | service, address, messages, days, subscribed | 201 account |
| GET /accounts/{id} | | account |
| POST /accounts/{id} | broken, removed, activity (on, forbidden, unsupported), subscribed, token ("revoke", "renew") | account |
| GET /accounts/{id}/truth | | NDJSON: {account, service, address, count, labels, folders, log_length}, then each live message |
| GET /accounts/{id}/log?after=seq&limit=n | | {"length", "changes": [{seq, at, seconds, kind, message_id}]} |
| POST /accounts/{id}/deliver | count, created, reply_to, labels, folder, raw (text) or raw_base64 | {"message_ids"} |
| POST /accounts/{id}/relabel | select, add [names], remove [names] | {"message_ids"} |
| POST /accounts/{id}/move | select, folder (name or id) | {"message_ids"}: the new ids with move_changes_id |
| POST /accounts/{id}/delete | select | {"message_ids"} |
| POST /accounts/{id}/rename | kind (label, folder), name, to | {} |
| POST /accounts/{id}/churn | changes, seed | {"deliver": n, "late": n, "relabel": n, "move": n, "delete": n} |
| GET, POST /clock | set, advance (seconds), frozen (bool) | {"now", "seconds", "frozen"} |
| GET, POST /switches | any switch of options.Switches; "account": id for that one only | the switches in force |
| GET /faults | | {"armed": [fault], "fired": {kind: n}, "kinds": {kind: what it does}, "routes": [name]} |
| POST /faults | a fault (faults.Fault), or {"faults": [fault]} | 201 {"armed": [fault]} |
| POST /faults/clear | | {} (fired counts stay; "fired": true clears them too) |
| GET /requests?after=n&account=&route= | | {"count", "objects": [{n, method, path, query, status, account, route}]} |
| POST /requests/clear | | {} |
| GET /counters | | {"requests", "by": {"route status": n}} |
"""
# ruff: noqa: ARG001, E501 - every route has one signature; the table has long rows

import re
from typing import Any

import msgspec

from . import admin_accounts, times, wire
from .faults import Fault
from .problems import ApiError, SandboxError
from .wire import Call, Reply
from .world import World

PREFIX = "/__admin"
_ACCOUNT = re.compile(r"/accounts/(\d+)(?:/(\w+))?")


def answer(world: World, call: Call) -> Reply:
    """Answer a call of the admin API; bad input is a 400 with a sentence."""
    try:
        return _answer(world, call)
    except (SandboxError, msgspec.MsgspecError) as error:
        return wire.reply({"message": str(error)}, 400)
    except ApiError as error:
        return wire.reply({"message": error.message}, error.status)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return wire.reply({"message": f"A value in the body is of the wrong kind: {error!r}"}, 400)


def _answer(world: World, call: Call) -> Reply:
    path = call.path.removeprefix(PREFIX).rstrip("/")
    found = _ACCOUNT.fullmatch(path)
    if found is not None:
        return admin_accounts.answer(world, call, int(found[1]), found[2])
    known = {
        "/accounts": admin_accounts.accounts,
        "/clock": _clock,
        "/switches": _switches,
        "/faults": _faults,
        "/faults/clear": _clear_faults,
        "/requests": _requests,
        "/requests/clear": _clear_requests,
        "/counters": _counters,
    }.get(path)
    if known is None:
        raise ApiError(404, "not_found", f"{call.path} is no route of the admin API.")
    return known(world, call)


def _clock(world: World, call: Call) -> Reply:
    clock = world.clock
    if call.method == "POST":
        body = call.json()
        frozen = bool(body.get("frozen", clock.frozen is not None))
        now = admin_accounts.moment(body["set"]) if "set" in body else clock.now()
        clock.set(now + float(body.get("advance", 0)), frozen=frozen)
    now = clock.now()
    return wire.reply({"now": times.iso(int(now)), "seconds": now, "frozen": clock.frozen is not None})


def _switches(world: World, call: Call) -> Reply:
    if call.method == "GET":
        return wire.reply(world.switches)
    values: dict[str, Any] = call.json()
    account_id = values.pop("account", None)
    account = None if account_id is None else admin_accounts.find(world, int(account_id))
    return wire.reply(world.set_switches(values, account))


def _faults(world: World, call: Call) -> Reply:
    book = world.faults
    if call.method == "DELETE":
        return _clear_faults(world, call)
    if call.method == "POST":
        body = call.json()
        wanted = msgspec.convert(body.get("faults", [body]), list[Fault])
        return wire.reply({"armed": [book.arm(fault) for fault in wanted]}, 201)
    return wire.reply({"armed": book.armed, "fired": book.fired, "kinds": book.kinds, "routes": book.routes})


def _clear_faults(world: World, call: Call) -> Reply:
    world.faults.clear()
    if call.json().get("fired"):
        world.faults.fired.clear()
    return wire.reply({})


def _requests(world: World, call: Call) -> Reply:
    after = int(call.get("after") or 0)
    account, route = call.get("account"), call.get("route")
    objects = [
        seen._asdict()
        for seen in world.requests
        if seen.n > after and account in (None, str(seen.account)) and route in (None, seen.route)
    ]
    return wire.reply({"count": world.count, "objects": objects})


def _clear_requests(world: World, call: Call) -> Reply:
    world.requests.clear()
    world.counters.clear()
    return wire.reply({})


def _counters(world: World, call: Call) -> Reply:
    return wire.reply({"requests": world.count, "by": dict(world.counters)})
