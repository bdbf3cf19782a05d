"""Faults that can be armed: which request they hit, how often, and the book that keeps them."""

import random
import re
from typing import Any

import msgspec

from .problems import BadOption
from .wire import Call


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Describe an armed fault.

    `kind` is a name that GET /__admin/faults lists. It fires `count` times (None: always) on calls that match
    `account`, `route` (listed there too) and `path` (a regex on path and query), from the `at`-th matching call
    on, with `probability`. `message_id` binds it to one message. `args` depend on the kind.
    """

    kind: str
    count: int | None = 1
    account: int | None = None
    route: str | None = None
    path: str | None = None
    probability: float = 1.0
    at: int = 1
    message_id: str | None = None
    args: dict[str, Any] = {}
    id: int = 0
    seen: int = 0
    fired: int = 0
    memory: dict[str, Any] = {}


class FaultBook:
    """Keep armed faults and count what fired."""

    __slots__ = ("_dice", "_next", "armed", "fired", "kinds", "routes")

    def __init__(self, seed: int) -> None:
        """Start with none armed."""
        self.armed: list[Fault] = []
        self.fired: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.routes: tuple[str, ...] = ()
        self._next = 1
        self._dice = random.Random(seed)

    def arm(self, fault: Fault) -> Fault:
        """Arm a fault; raises BadOption when its kind, path or route makes no sense."""
        if fault.kind not in self.kinds:
            raise BadOption(f"{fault.kind} is not a fault. Known are: {', '.join(sorted(self.kinds))}.")
        if fault.route is not None and fault.route not in self.routes:
            raise BadOption(f"{fault.route} is not a route. Known are: {', '.join(self.routes)}.")
        try:
            re.compile(fault.path or "")
        except re.error as error:
            raise BadOption(f"The path {fault.path} is not a regular expression: {error}.") from error
        fault.id = self._next
        self._next += 1
        fault.seen = fault.fired = 0
        fault.memory = {}
        self.armed.append(fault)
        return fault

    def clear(self) -> None:
        """Disarm all; the counts of what fired stay."""
        self.armed = []

    def matching(self, call: Call) -> list[Fault]:
        """Return the faults that hit this call, and count the call for each."""
        hit = []
        for fault in self.armed:
            if fault.account is not None and fault.account != call.account_id:
                continue
            if fault.route is not None and fault.route != call.route:
                continue
            if fault.path is not None and not re.search(fault.path, _whole(call)):
                continue
            fault.seen += 1
            spent = fault.count is not None and fault.fired >= fault.count
            if spent or fault.seen < fault.at:
                continue
            if fault.probability >= 1 or self._dice.random() < fault.probability:
                hit.append(fault)
        return hit

    def count(self, fault: Fault) -> None:
        """Note that a fault fired."""
        fault.fired += 1
        self.fired[fault.kind] = self.fired.get(fault.kind, 0) + 1


def _whole(call: Call) -> str:
    return call.path + "?" + "&".join(f"{key}={value}" for key, value in call.query)
