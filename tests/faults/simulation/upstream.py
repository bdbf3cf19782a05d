"""The upstream of a simulation: the sandbox's own world in this process, reached by the real source without a wire.

`kloudless.py` asks and decodes as ever; only its connections are others. What the upstream keeps from its client or
tells it wrongly (an event that never comes, a list index that lags) is remembered by message, so that the invariants
can tell what nobody could know from what was lost.
"""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpcore

from tests.faults.simulation.plan import BASE, Plan
from worker.config import Settings
from worker.sandbox import churn, times, wire
from worker.sandbox.account import Account
from worker.sandbox.admin_accounts import heading
from worker.sandbox.changelog import FIRST_CURSOR
from worker.sandbox.faults import Fault
from worker.sandbox.gateway import Gateway
from worker.sandbox.options import SandboxOptions
from worker.sandbox.wire import Call
from worker.sandbox.world import World
from worker.sources import kloudless

Json = dict[str, Any]
ROOT = "http://127.0.0.1:9/v1"
FOREIGN = {"id": "file_Zm9yZWlnbg", "type": "file", "api": "storage"}
"""What an event is about in the place of the message that it keeps to itself."""


class Upstream:
    """One mailbox, its true log, and how it misbehaves."""

    def __init__(self, plan: Plan, now: Callable[[], float]) -> None:
        self._plan = plan
        self._now = now
        self._dice = Random(f"upstream {plan.seed}")
        self.calm = False
        """Whether it behaves from now on."""
        self.world = World(
            SandboxOptions(
                accounts=1, messages=plan.messages, services=(plan.service,), seed=plan.seed, days=plan.days,
                now=BASE, until=BASE, activity=plan.activity, subscribed=plan.subscribed, cache_bytes=1 << 22,
            )
        )  # fmt: skip
        self.account: Account = next(iter(self.world.accounts.values()))
        self.world.set_switches(plan.switches(), self.account)
        self._gateway = Gateway(self.world)
        self.misled: dict[str, str] = {}
        """Messages the client was misinformed about, with how; until it knows them right."""
        self.missed: set[str] = set()
        """Messages for which a GET was ever answered with the API's own "not found"."""
        self.happened: Counter[str] = Counter()
        """How often it told something wrongly, by what."""
        self._ghosts: list[tuple[float, Json]] = []
        self.tell()

    # --- what the owner does

    def change(self, dice: Random) -> str:
        """Change the mailbox once, as the sandbox's own churn does; returns what it was."""
        self.tell()
        shown = self._all() if self._plan.ghost_lag else {}
        what = churn.change(self.world, self.account, dice)
        self._remember_deleted(shown)
        return what

    def purge(self, dice: Random, share: float) -> int:
        """Delete a share of the mailbox at once."""
        self.tell()
        shown = self._all() if self._plan.ghost_lag else {}
        serials = churn.everything(self.account).serials(0, len(self.account.mailbox))
        gone = dice.sample(serials, int(len(serials) * share))
        for serial in gone:
            self.account.delete(serial, self.world.clock.now())
        self._remember_deleted(shown)
        return len(gone)

    def arm(self, fault: Fault) -> None:
        """Let requests meet a fault of the sandbox, in the place of the one before."""
        self.world.faults.clear()
        self.world.faults.arm(fault)

    def rest(self) -> None:
        """Behave from now on."""
        self.calm = True
        self.world.faults.clear()
        lags: dict[str, object] = {"list_lag": 0.0, "activity_lag": 0.0}
        self.world.set_switches(lags, self.account)

    # --- what is true

    def tell(self) -> None:
        """Set the upstream's clock."""
        self.world.clock.frozen = BASE.timestamp() + self._now() + self._plan.skew

    def is_live(self, message_id: str) -> bool:
        """Whether the message exists now."""
        return self.account.serial_of(message_id) is not None

    def live(self) -> dict[str, tuple[int, int]]:
        """Each message by id, with what tells its present state from any other: serial and revision."""
        account = self.account
        serials = churn.everything(account).serials(0, len(account.mailbox))
        return {account.message_id(s): (s, account.mailbox.revision(s)) for s in serials}

    def created(self, serial: int) -> datetime:
        """When a live message says it was created."""
        return datetime.fromtimestamp(self.account.mailbox.created(serial), UTC)

    def shown(self, serial: int) -> bytes:
        """The message as the API would show it."""
        return self.world.fragment(self.account, serial)

    def truth(self) -> tuple[Json, list[Json]]:
        """What `tests.truth` compares with: the heading and every message."""
        return json.loads(wire.encode(heading(self.account))), list(self._all().values())

    def changed_after(self, cursor: str) -> set[str]:
        """Messages with a change in the true log after this cursor, kept for clients or not."""
        changes = self.account.log.changes[max(0, int(cursor) - FIRST_CURSOR) :]
        return {self.account.message_id(change.serial) for change in changes}

    def _all(self) -> dict[int, Json]:
        serials = churn.everything(self.account).serials(0, len(self.account.mailbox))
        return {serial: json.loads(self.shown(serial)) for serial in serials}

    def _remember_deleted(self, shown: dict[int, Json]) -> None:
        now = self.world.clock.now()
        live = self.account.mailbox.is_live
        self._ghosts += [(now, one) for serial, one in shown.items() if not live(serial)]

    # --- what is asked

    def source(self, settings: Settings) -> kloudless.Kloudless:
        """Open the account; nothing goes over a wire."""
        source = kloudless.Kloudless(settings, upstream_id=str(self.account.id), token=self.account.token)
        source._session._pool = self  # type: ignore[assignment]  # it answers as one does
        return source

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Answer a request as the pool does."""
        self.tell()
        path, _, question = request.url.target.decode().partition("?")
        query = parse_qsl(question, keep_blank_values=True)
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        given = {name: value for name, value in headers.items() if name != "accept-encoding"}
        call = Call(0, request.method.decode(), unquote(path), query, given)
        answer = self._gateway.answer(call)
        if "reset" in answer.wire:
            raise httpcore.ReadError("reset")
        body = wire.unpacked(answer)
        if answer.status == 200 and not self.calm and call.route in {"list", "activity"}:
            body = self._twisted(call, body)
        if answer.status == 404 and call.route == "get" and answer.content_type == "application/json":
            self.missed.add(call.names["message"])
        date = times.http_date(self.world.clock.now())
        told = [("Content-Type", answer.content_type), ("Content-Length", str(len(body))), ("Date", date)]
        return httpcore.Response(answer.status, headers=[*told, *answer.headers], content=body)

    def _twisted(self, call: Call, body: bytes) -> bytes:
        plan = self._plan
        if call.route == "list":
            self._note_hidden(call)
            oldest = self.world.clock.now() - plan.ghost_lag
            self._ghosts = [(at, one) for at, one in self._ghosts if at > oldest]
            return self._with_ghosts(call, body) if self._ghosts else body
        if not plan.drop_rate and not plan.shuffle_rate:
            return body
        try:
            doc = json.loads(body)
            doc["objects"] = [self._dropped(event) for event in doc["objects"]]
        except (ValueError, KeyError):
            return body  # an error or a page of another kind, whatever its status
        if len(doc["objects"]) > 1 and self._dice.random() < plan.shuffle_rate:
            self._dice.shuffle(doc["objects"])
            self.happened["events shuffled"] += 1
        return wire.encode(doc)

    def _dropped(self, event: Json) -> Json:
        """Perhaps turn an event into one about something else: its message's change is told by lists alone."""
        about = event["metadata"]
        told = about is not None and about.get("type") == "message"
        spared = event["type"] == "delete" and not self._plan.may_drop_deletions
        if not told or spared or self._dice.random() >= self._plan.drop_rate:
            return event
        self.misled[about["id"]] = "its event was dropped"
        self.happened["event dropped"] += 1
        return {**event, "metadata": FOREIGN}

    def _note_hidden(self, call: Call) -> None:
        """Remember what this list should show and does not, its index being behind."""
        for serial in self.account.hidden(self._plan.list_lag, self.world.clock.now()):
            if self.account.mailbox.is_live(serial) and _within(call, self.account.mailbox.created(serial)):
                self.misled[self.account.message_id(serial)] = "a list kept it back"
                self.happened["new mail not in a list"] += 1

    def _with_ghosts(self, call: Call, body: bytes) -> bytes:
        """Show what was deleted a moment ago: the index of lists is behind in this way, too."""
        try:
            doc = json.loads(body)
            objects: list[Json] = doc["objects"]
        except (ValueError, KeyError):
            return body  # as above
        last = doc.get("next_page") is None
        for _, ghost in self._ghosts:
            created = ghost["created"]
            below = call.get("page") is None or (objects and created <= objects[0]["created"])
            above = last or (objects and created >= objects[-1]["created"])
            if below and above and _within(call, times.parse_iso(created) or 0):
                objects.append(ghost)
                self.misled[ghost["id"]] = "a list still showed it"
                self.happened["deleted mail in a list"] += 1
        objects.sort(key=lambda one: str(one["created"]), reverse=True)
        doc["count"] = len(objects)
        return wire.encode(doc)


def _within(call: Call, created: int) -> bool:
    after, before = (times.parse_iso(call.get(name) or "") for name in ("after", "before"))
    return (after is None or after <= created) and (before is None or created < before)
