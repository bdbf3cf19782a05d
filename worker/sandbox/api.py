"""The routes of the API (kloudless-api.md 11), found by path in both slash forms."""
# ruff: noqa: ARG001 - every route has one signature

import re
from collections.abc import Callable
from typing import NamedTuple

from . import ids, listing, render, search, wire
from .account import Account, Subscription
from .changelog import FIRST_CURSOR
from .problems import ApiError, invalid, not_found
from .wire import Call, Reply
from .world import World

_EVENTS_PAGE = 1000


class Route(NamedTuple):
    """Bind a path pattern and a method to a function; the name is what faults match on."""

    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[[World, Account, Call], Reply]


def get_message(world: World, account: Account, call: Call) -> Reply:
    """Answer a message by id."""
    serial = account.serial_of(call.names["message"])
    if serial is None:
        raise not_found("Message")
    return Reply(body=world.rendered(account, serial, raw=call.wants_raw))


def send(world: World, account: Account, call: Call) -> Reply:
    """Refuse to send; the sandbox cannot, yet."""
    raise ApiError(501, "not_implemented", "Sending is not implemented.")


def get_label(world: World, account: Account, call: Call) -> Reply:
    """Answer a label by id."""
    if account.service == "imap":
        raise ApiError(501, "not_implemented", "Labels are not supported by this service.")
    key = ids.decode("label", call.names["label"])
    if key not in account.catalog.labels:
        raise not_found("Label")
    return wire.reply(account.catalog.label(key))


def get_folder(world: World, account: Account, call: Call) -> Reply:
    """Answer a folder by id."""
    if account.service == "gmail":
        raise ApiError(501, "not_implemented", "Folders are not supported by this service.")
    for key in account.catalog.folders:
        if account.catalog.folder_id(key) == call.names["folder"]:
            return wire.reply(account.catalog.folder(key))
    raise not_found("Folder")


def get_account(world: World, account: Account, call: Call) -> Reply:
    """Answer the account itself."""
    shown = render.account_object(account)
    if (call.get("retrieve_tokens") or "").lower() == "true":
        shown["token"] = {"access_token": account.token}
    return wire.reply(shown)


def tracked(account: Account) -> None:
    """Refuse what the account's service or plan does not include (kloudless-api.md 9.2, 9.6)."""
    if account.activity == "unsupported":
        raise ApiError(501, "not_implemented", "Activity monitoring is not supported by this service.")
    if account.activity == "forbidden":
        raise ApiError(403, "forbidden", "Your plan does not include the Activity API.")


def subscription(account: Account, call: Call) -> Subscription:
    """Return the subscription that is named, by id or `default`."""
    tracked(account)
    found = account.subscription
    if found is None or call.names["subscription"] not in ("default", str(found.id)):
        raise not_found("Subscription")
    return found


def list_subscriptions(world: World, account: Account, call: Call) -> Reply:
    """Answer the one subscription there can be, or none."""
    tracked(account)
    found = account.subscription
    objects = [render.subscription_object(account, found)] if found else []
    more = {"total": len(objects), "page": 1, "next_page": None}
    return wire.reply({**wire.listing(objects, **more), "type": "object_list", "api": "activity"})


def create_subscription(world: World, account: Account, call: Call) -> Reply:
    """Begin to track changes; a second subscription is refused."""
    tracked(account)
    if account.subscription is not None:
        if world.switches_of(account).second_subscription == "409":
            raise ApiError(409, "naming_conflict", "A subscription exists already.")
        raise ApiError(403, "forbidden", "Only one subscription per account is allowed.")
    return wire.reply(render.subscription_object(account, world.subscribe(account)), 201)


def get_subscription(world: World, account: Account, call: Call) -> Reply:
    """Answer a subscription."""
    return wire.reply(render.subscription_object(account, subscription(account, call)))


def delete_subscription(world: World, account: Account, call: Call) -> Reply:
    """Stop to track changes."""
    subscription(account, call)
    account.subscription = None
    return Reply(204)


def activity(world: World, account: Account, call: Call) -> Reply:
    """Answer the events after a cursor."""
    if "subscription" not in call.names:
        call.names["subscription"] = "default"
    found = subscription(account, call)
    switches = world.switches_of(account)
    try:
        size = int(call.get("page_size") or switches.activity_page_size)
    except ValueError as error:
        raise invalid("page_size must be a number.") from error
    if not 1 <= size <= _EVENTS_PAGE:
        raise invalid(f"page_size must be between 1 and {_EVENTS_PAGE}.")
    changes, cursor = account.log.read(call.get("cursor"), size, found.start, switches, world.clock.now())
    objects = [render.event(account, change, switches) for change in changes]
    return wire.reply({**wire.listing(objects), "cursor": cursor, "type": "object_list", "api": "activity"})


def latest_cursor(world: World, account: Account, call: Call) -> Reply:
    """Answer the end of the stream; off by default for subscriptions, as its path was never verified."""
    if "subscription" not in call.names:
        call.names["subscription"] = "default"
    elif not world.switches_of(account).latest_cursor:
        raise not_found("Resource")
    subscription(account, call)
    return wire.reply({"cursor": str(len(account.log) + FIRST_CURSOR)})


def _file(world: World, account: Account, call: Call) -> tuple[int, int | None]:
    """Find the live message and part that a file id names."""
    parsed = render.parse_file_id(call.names["file"])
    serial = account.live_number(parsed[0]) if parsed else None
    if parsed is None or serial is None:
        raise not_found("File")
    return serial, parsed[1]


def _named(world: World, account: Account, serial: int, part: int | None) -> tuple[str, str | None]:
    if part is None:
        return "message/rfc822", "raw_content.rfc822"
    for attachment in account.content(serial).attachments:
        if attachment.part == part:
            return attachment.mime_type, attachment.name
    raise not_found("File")


def get_file(world: World, account: Account, call: Call) -> Reply:
    """Answer the metadata of a file (kloudless-api.md 8.2)."""
    serial, part = _file(world, account, call)
    mime_type, name = _named(world, account, serial, part)
    content = _bytes(account, serial, part)
    shown = render.file_object(account, call.names["file"], mime_type, name)
    more = {"size": len(content), "created": None, "modified": None, "account": account.id, "parent": None}
    return wire.reply({**shown, **more, "ancestors": None, "path": None, "downloadable": True, "raw_id": None})


def get_contents(world: World, account: Account, call: Call) -> Reply:
    """Answer the bytes of a file, with its own type and no length."""
    serial, part = _file(world, account, call)
    mime_type, _ = _named(world, account, serial, part)
    framing = {} if world.switches_of(account).content_length else {"chunked": True}
    printable = mime_type if mime_type.isascii() and mime_type.isprintable() else "application/octet-stream"
    return Reply(body=_bytes(account, serial, part), content_type=printable, wire=framing)


def _bytes(account: Account, serial: int, part: int | None) -> bytes:
    found = account.rfc822(serial) if part is None else account.part(serial, part)
    if found is None:
        raise not_found("File")
    return found


_ACCOUNT = r"/accounts/(?P<account>[^/]+)"
_SUBSCRIPTION = _ACCOUNT + r"/subscriptions/(?P<subscription>[^/]+)"
_FILE = _ACCOUNT + r"/storage/files/(?P<file>[^/]+)"
ROUTES = tuple(
    Route(name, method, re.compile(pattern), answer)
    for name, method, pattern, answer in (
        ("list", "GET", _ACCOUNT + "/email/messages", listing.list_messages),
        ("get", "GET", _ACCOUNT + r"/email/messages/(?P<message>[^/]+)", get_message),
        ("activity", "GET", _SUBSCRIPTION + "/activity", activity),
        ("send", "POST", _ACCOUNT + "/email/messages/send", send),
        ("search", "GET", _ACCOUNT + "/email/search", search.search),
        ("label", "GET", _ACCOUNT + r"/email/labels/(?P<label>[^/]+)", get_label),
        ("folder", "GET", _ACCOUNT + r"/email/folders/(?P<folder>[^/]+)", get_folder),
        ("subscriptions", "GET", _ACCOUNT + "/subscriptions", list_subscriptions),
        ("subscribe", "POST", _ACCOUNT + "/subscriptions", create_subscription),
        ("subscription", "GET", _SUBSCRIPTION, get_subscription),
        ("unsubscribe", "DELETE", _SUBSCRIPTION, delete_subscription),
        ("latest_cursor", "GET", _SUBSCRIPTION + "/activity/latest(?:-cursor)?", latest_cursor),
        ("events_latest", "GET", _ACCOUNT + "/events/latest", latest_cursor),
        ("events", "GET", _ACCOUNT + "/events", activity),
        ("file", "GET", _FILE, get_file),
        ("contents", "GET", _FILE + "/contents", get_contents),
        ("account", "GET", _ACCOUNT, get_account),
    )
)
