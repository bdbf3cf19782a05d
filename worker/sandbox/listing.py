"""Lists messages: windows, filters, the two ways of paging, and the order (kloudless-api.md 6, 7.3)."""

import itertools
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from . import ids, times, tokens, wire
from .account import Account
from .problems import invalid, not_found
from .tokens import Position
from .wire import Call, Reply
from .world import World

GMAIL_PAGE = 50
LARGEST_PAGE = 1000
DEFAULT_PAGE = 100
_DEFAULT_WINDOW = 3 * times.DAY
_SCAN = 20_000
_CHUNK = 500
_ORDERS = 8
_MIX, _STEP, _PRIME, _SPREAD = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, (1 << 31) - 1, 1 << 32

Keep = Callable[[int], bool]


class Page(NamedTuple):
    """Hold one page: serials, where the next one starts (None at the end)."""

    serials: list[int]
    following: Position | None


def page_size(call: Call, world: World, account: Account) -> int:
    """Return the size a page may have, by request, service and switch."""
    text = call.get("page_size")
    try:
        size = DEFAULT_PAGE if text is None else int(text)
    except ValueError as error:
        raise invalid("page_size must be a number.") from error
    if not 1 <= size <= LARGEST_PAGE:
        raise invalid(f"page_size must be between 1 and {LARGEST_PAGE}.")
    cap = world.switches_of(account).page_size_cap or LARGEST_PAGE
    return min(size, cap, GMAIL_PAGE if account.service == "gmail" else LARGEST_PAGE)


def window(bound: tokens.Bound, world: World, account: Account) -> tuple[int, int]:
    """Return [after, before) in seconds; the default is the three days before `before`, which is now."""
    given = dict(bound)
    moments: dict[str, int] = {}
    for name in ("after", "before"):
        if name in given:
            moment = times.parse_iso(given[name])
            if moment is None:
                raise invalid(f"{name} is not an ISO 8601 timestamp.")
            moments[name] = moment
    before = moments.get("before", int(world.clock.now()) + 1)
    after = moments.get("after", before - _DEFAULT_WINDOW)
    if after >= before and world.switches_of(account).after_ge_before == "400":
        raise invalid("after must be before before.")
    return after, before


def keeper(bound: tokens.Bound, world: World, account: Account) -> Keep | None:
    """Return the test of the folder, thread and label filters; None when there is none."""
    tests: list[Keep] = []
    mailbox = account.mailbox
    for name, value in bound:
        if name == "thread_id":
            thread = ids.parse_hex(ids.decode("thread", value))
            tests.append(lambda serial, thread=thread: mailbox.thread(serial) == thread)  # type: ignore[misc] # mypy cannot type the default
        elif name == "labels" and account.service != "imap":
            key = account.catalog.label_key(value)
            tests.append(lambda serial, key=key: key in mailbox.placement(serial).labels)  # type: ignore[misc] # as above
        elif name == "folder_id" and account.service in ("gmail", "imap"):
            if world.switches_of(account).folder_filter_elsewhere == "400":
                raise invalid("folder_id is not supported by this service.")
        elif name == "folder_id":
            folder = next((k for k in account.catalog.folders if account.catalog.folder_id(k) == value), "")
            tests.append(lambda serial, folder=folder: mailbox.placement(serial).folder == folder)  # type: ignore[misc] # as above
    if not tests:
        return None
    return lambda serial: all(test(serial) for test in tests)


def list_messages(world: World, account: Account, call: Call) -> Reply:
    """Answer the list endpoint."""
    return answer(world, account, call, keeper)


def answer(
    world: World, account: Account, call: Call, make_keeper: Callable[[tokens.Bound, World, Account], Keep | None],
    *, whole: bool = False,
) -> Reply:  # fmt: skip
    """Find a page and render it; `whole` ignores the window (search)."""
    switches = world.switches_of(account)
    now = world.clock.now()
    size = page_size(call, world, account)
    text = call.get("page")
    position, bound = Position(), tokens.filters(call.query)
    if text is not None:
        position, bound = tokens.read(text, account.id, call.query, now=now, ttl=switches.page_token_ttl)
    after, before = (times.FIRST, times.LAST + 1) if whole else window(bound, world, account)
    keep = make_keeper(bound, world, account)
    hidden = account.hidden(switches.list_lag, now)
    setting = world.setting(switches)
    key = (
        account.id, account.mailbox.version, account.catalog.revision, setting, after, before, bound, position, size,
        whole, hidden, text,
    )  # fmt: skip
    raw = call.wants_raw
    cacheable = switches.page_token_ttl is None and switches.attachment_ids == "stable" and not raw
    body = world.pages.get(key) if cacheable else None
    packed = world.pages.get((key, "gzip")) if cacheable and call.packs and body is None else None
    if body is None and packed is None:
        find = _Finder(world, account, (after, before), hidden, bound, keep)
        page = find.page(position, size)
        if position.page is not None and position.page > 1 and not page.serials:
            raise not_found("Page")
        objects = [world.rendered(account, serial, raw=raw) for serial in page.serials]
        fitting = _fitting(objects, switches.max_page_bytes)
        if fitting < len(objects):
            page, objects = find.page(position, fitting), objects[:fitting]
        issued = int(now) if switches.page_token_ttl is not None else None
        following = page.following
        token = None if following is None else tokens.write(account.id, bound, following, issued)
        name = position.page if position.page is not None else text or 1
        body = wire.page_body(objects, name, token)
        if cacheable and not call.packs:
            world.pages.put(key, body)
        elif cacheable:
            packed = wire.pack(body)
            world.pages.put((key, "gzip"), packed)
    return Reply(body=body or b"", packed=packed)


def _fitting(objects: list[bytes], limit: int | None) -> int:
    """Return how many objects fit into a page of bytes; one always does."""
    if limit is None:
        return len(objects)
    sizes = itertools.accumulate(map(len, objects))
    return max(1, sum(size <= limit for size in sizes)) if objects else 0


class _Finder:
    """Find one page of a view."""

    def __init__(
        self,
        world: World,
        account: Account,
        edges: tuple[int, int],
        hidden: frozenset[int],
        bound: tokens.Bound,
        keep: Keep | None,
    ) -> None:
        self.account = account
        self.view = account.mailbox.view(*edges, hidden)
        self.keep = keep
        self.orders = world.shuffles
        self.order_key = (account.id, account.mailbox.version, edges, hidden, bound)
        switches = world.switches_of(account)
        self.shuffled = switches.order == "shuffled"
        self.offset = switches.paging == "offset"

    def page(self, position: Position, size: int) -> Page:
        """Return the page that starts at a position."""
        offset = self.offset
        if position.page is not None:
            position, offset = Position((position.page - 1) * size), True
        if self.shuffled:
            return self._shuffled(position, size, offset=offset)
        start = position.offset
        if not offset:
            start = 0 if position.key is None else self.view.rank_after(position.key)
        if self.keep is not None:
            return self._filtered(self.keep, start, size, offset=offset)
        serials = self.view.serials(start, size)
        end = start + len(serials)
        if end >= len(self.view) or not serials:
            return Page(serials, None)
        return Page(serials, self._after(serials[-1], end, offset=offset))

    def _after(self, serial: int, rank: int, *, offset: bool) -> Position:
        return Position(rank) if offset else Position(key=self.account.mailbox.key(serial))

    def _filtered(self, keep: Keep, start: int, size: int, *, offset: bool) -> Page:
        """Walk a window; after many misses a page ends early, empty if need be, as upstreams do."""
        found: list[int] = []
        skip, rank = (start, 0) if offset else (0, start)
        total = len(self.view)
        while rank < total:
            for serial in self.view.serials(rank, _CHUNK):
                rank += 1
                if not keep(serial):
                    continue
                if skip:
                    skip -= 1
                    continue
                if len(found) == size:
                    return Page(found, self._after(found[-1], start + size, offset=offset))
                found.append(serial)
            if not offset and rank - start > _SCAN and rank < total:
                return Page(found, self._after(self.view.serials(rank - 1, 1)[0], rank, offset=False))
        return Page(found, None)

    def _shuffled(self, position: Position, size: int, *, offset: bool) -> Page:
        """Order by a hash with the listing's own salt: one order through a walk, another in the next."""
        salt = position.salt or self.account.requests + 1
        order = self._order(salt)
        start = position.offset
        if not offset and position.key is not None:
            start = bisect_right(order, position.key[0] * _SPREAD + position.key[1])
        found = order[start : start + size]
        serials = [mixed % _SPREAD for mixed in found]
        if start + len(found) >= len(order) or not found:
            return Page(serials, None)
        if offset:
            return Page(serials, Position(start + len(found), salt=salt))
        return Page(serials, Position(key=divmod(found[-1], _SPREAD), salt=salt))

    def _order(self, salt: int) -> list[int]:
        """Return the window in its shuffled order, each entry a hash with the serial below it."""
        key = (*self.order_key, salt)
        order = self.orders.get(key)
        if order is None:
            keep = self.keep
            order = sorted(
                ((serial + salt) * _MIX ^ salt * _STEP) * _STEP % _PRIME * _SPREAD + serial
                for serial in self.view.serials(0, len(self.view))
                if keep is None or keep(serial)
            )
            while len(self.orders) >= _ORDERS:
                del self.orders[next(iter(self.orders))]
            self.orders[key] = order
        return order
