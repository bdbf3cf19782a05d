"""Turns a call into a reply: routing, authorization, limits, faults, the error body and the request log."""

import json
import uuid
from typing import Any

from . import render, wire
from .account import Account
from .api import ROUTES, Route
from .fault_answers import ANSWERS
from .fault_pages import CHANGES, dump
from .fault_wire import WIRES
from .faults import Fault
from .problems import ApiError, invalid, not_found
from .wire import Call, Reply
from .world import Seen, World

PREFIX = "/v1"
_LARGEST_PAGE = 1000
_OK = 200
_LONGEST_ID = 20
ROUTE_NAMES = ("token", "accounts", *(route.name for route in ROUTES))
_KINDS = {name: doc for table in (ANSWERS, CHANGES, WIRES) for name, (_, doc) in table.items()}


class Gateway:
    """Answer calls of the API."""

    def __init__(self, world: World) -> None:
        """Take the world to work on, and tell its fault book which kinds there are."""
        self.world = world
        world.faults.kinds = _KINDS
        world.faults.routes = ROUTE_NAMES

    def answer(self, call: Call) -> Reply:
        """Answer one call; never raises for what a client can send."""
        world = self.world
        world.count += 1
        call.n = world.count
        route = self._route(call)
        hit = world.faults.matching(call) if world.faults.armed else []
        made_up = _armed(hit, call, world)
        try:
            answer = made_up or self._handle(route, call)
        except ApiError as error:
            answer = error_reply(error)
        if hit:
            if made_up is None and answer.status == _OK:
                _change(hit, call, world, answer)
            _spoil(hit, world, answer)
        world.counters[f"{call.route} {answer.status}"] += 1
        query = "&".join(f"{key}={value}" for key, value in call.query)
        world.requests.append(Seen(call.n, call.method, call.path, query, answer.status, call.account_id, call.route))
        return answer

    def _route(self, call: Call) -> Route | None:
        """Set route name, parameters and account of a call; the account of a token stands for `me`."""
        path = call.path.removeprefix(PREFIX).rstrip("/")
        call.route = {"/oauth/token": "token", "/accounts": "accounts"}.get(path, "unknown")
        found = None
        if call.route == "unknown":
            for route in ROUTES:
                names = route.pattern.fullmatch(path)
                if names is None:
                    continue
                found = route if route.method == call.method or found is None else found
                if route.method == call.method:
                    call.names = names.groupdict()
                    break
                call.names = names.groupdict()
        if found is not None:
            call.route = found.name
        named = call.names.get("account", "")
        if _is_id(named):
            call.account_id = int(named)
        else:
            call.account_id = self.world.tokens.get(_credential(call)[1])
        return found

    def _handle(self, route: Route | None, call: Call) -> Reply:
        if self.world.switches.redirect_slash and not call.path.endswith("/"):
            query = "&".join(f"{key}={value}" for key, value in call.query)
            return Reply(301, headers=[("Location", call.path + "/" + ("?" + query if query else ""))])
        if call.route in ("token", "accounts"):
            if call.method != "GET":
                raise ApiError(405, "method_not_allowed", "Method not allowed.")
            return self._token(call) if call.route == "token" else self._accounts(call)
        if route is None:
            raise not_found("Resource")
        if route.method != call.method:
            raise ApiError(405, "method_not_allowed", "Method not allowed.")
        account = self._account(call)
        self.world.limits.check(account.id, self.world.switches_of(account), self.world.clock.now())
        account.requests += 1
        if account.broken and route.name != "account":
            raise ApiError(401, "service_unauthorized", "The account must be connected anew.")
        return route.answer(self.world, account, call)

    def _authorized(self, call: Call) -> int | None:
        """Return the account of a bearer token, None for the application key."""
        scheme, credential = _credential(call)
        if not scheme:
            raise ApiError(401, "authentication_required", "The Authorization header is missing.")
        if scheme == "apikey" and credential == self.world.options.api_key:
            return None
        account_id = self.world.tokens.get(credential) if scheme == "bearer" else None
        if account_id is None:
            raise ApiError(401, "unauthorized", "The token or key is invalid.")
        return account_id

    def _account(self, call: Call) -> Account:
        own = self._authorized(call)
        named = call.names["account"]
        if named == "me":
            if own is None:
                raise ApiError(400, "bad_request", "me needs a Bearer token.")
            account_id = own
        else:
            account_id = int(named) if _is_id(named) else -1
            if own is not None and own != account_id:
                raise ApiError(403, "forbidden", "The token belongs to another account.")
        account = self.world.accounts.get(account_id)
        if account is None or account.removed:
            raise not_found("Account")
        return account

    def _token(self, call: Call) -> Reply:
        scheme, credential = _credential(call)
        if not scheme:
            raise ApiError(401, "authentication_required", "The Authorization header is missing.")
        account_id = self.world.tokens.get(credential)
        if account_id is None or self.world.accounts[account_id].removed:
            raise ApiError(400, "bad_request", "The token is invalid.")
        return wire.reply({"client_id": self.world.options.app_id, "account_id": account_id})

    def _accounts(self, call: Call) -> Reply:
        own = self._authorized(call)
        shown = [a for a in self.world.accounts.values() if not a.removed and own in (None, a.id)]
        try:
            page, size = int(call.get("page") or 1), int(call.get("page_size") or 100)
        except ValueError as error:
            raise invalid("page and page_size must be numbers.") from error
        if page < 1 or not 1 <= size <= _LARGEST_PAGE:
            raise invalid("page_size must be between 1 and 1000.")
        objects = [render.account_object(a) for a in shown[(page - 1) * size : page * size]]
        more = page + 1 if page * size < len(shown) else None
        body = wire.listing(objects, total=len(shown), page=page, next_page=more)
        return wire.reply({**body, "type": "object_list", "api": "core"})


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _LONGEST_ID


def _credential(call: Call) -> tuple[str, str]:
    scheme, _, credential = call.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credential.strip()


def error_reply(error: ApiError) -> Reply:
    """Make the error body (kloudless-api.md 5.1)."""
    body = {"status_code": error.status, "message": error.message, "error_code": error.code, "id": str(uuid.uuid4())}
    return Reply(error.status, wire.encode(body), headers=list(error.headers))


def _armed(hit: list[Fault], call: Call, world: World) -> Reply | None:
    """Let the first fault that answers by itself answer."""
    for fault in hit:
        if fault.kind not in ANSWERS:
            continue
        try:
            answer = ANSWERS[fault.kind][0](fault, call, world)
        except ApiError as error:
            answer = error_reply(error)
        if answer is not None:
            world.faults.count(fault)
            return answer
    return None


def _change(hit: list[Fault], call: Call, world: World, answer: Reply) -> None:
    """Apply faults inside the JSON of an answer of ours; what a fault has made up holds nothing to change."""
    doc: Any = None
    for fault in hit:
        if fault.kind not in CHANGES:
            continue
        if doc is None:
            doc = json.loads(wire.unpacked(answer))
        changed = CHANGES[fault.kind][0](fault, call, world, doc) if isinstance(doc, dict) else None
        if changed is not None:
            doc = changed
            world.faults.count(fault)
            answer.body = (doc if fault.kind == "poison_page" else dump(doc)).encode()
            answer.packed = None


def _spoil(hit: list[Fault], world: World, answer: Reply) -> None:
    """Apply faults of the wire."""
    for fault in hit:
        if fault.kind in WIRES:
            answer.body, answer.packed = wire.unpacked(answer), None
            WIRES[fault.kind][0](fault, answer)
            world.faults.count(fault)
