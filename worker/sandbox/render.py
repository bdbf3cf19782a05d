"""API objects as the hosted service shaped them (seed: Messages; kloudless-api.md 7.2, 8, 9.3)."""

import itertools
import json

from . import ids, times
from .account import Account, Subscription
from .changelog import Change
from .content import Attachment, Json
from .options import SERVICES, Switches

HOSTED = "https://api.kloudless.com/v1"
_reads = itertools.count(1)


def file_id(number: int, part: int | None, *, changing: bool) -> str:
    """Make a file id; with `changing`, another one at every read that means the same file."""
    names: dict[str, object] = {"id": ids.hexadecimal(number)}
    if part is not None:
        names["part"] = part
    if changing:
        names["read"] = next(_reads)
    return ids.encode("file", json.dumps(names))


def parse_file_id(ident: str) -> tuple[int, int | None] | None:
    """Return the message's upstream id and the part (None is the whole mail)."""
    try:
        names = json.loads(ids.decode("file", ident) or "")
    except (ValueError, RecursionError):
        return None
    number = ids.parse_hex(names.get("id")) if isinstance(names, dict) and isinstance(names.get("id"), str) else None
    part = names.get("part") if number is not None else None
    return (number, part) if number is not None and isinstance(part, int | None) else None


def file_object(account: Account, ident: str, mime_type: str, name: str | None) -> Json:
    """Make a File as it stands inside a message; href names the hosted service, as in the seed."""
    return {
        "api": "storage",
        "type": "file",
        "id": ident,
        "mime_type": mime_type,
        "name": name,
        "href": f"{HOSTED}/accounts/{account.id}/storage/files/{ident}",
    }


def attachment_object(account: Account, number: int, attachment: Attachment, *, changing: bool) -> Json:
    """Make the File of an attachment, with its size."""
    ident = file_id(number, attachment.part, changing=changing)
    return {**file_object(account, ident, attachment.mime_type, attachment.name), "size": attachment.size}


def folder_id(account: Account, key: str | None) -> str | None:
    """Return the folder_id a message shows: only Outlook and Exchange have one."""
    if key is None or account.service in ("gmail", "imap"):
        return None
    return account.catalog.folder_id(key)


def message(account: Account, serial: int, switches: Switches) -> Json:
    """Make the Message object of a live message."""
    mailbox = account.mailbox
    number = account.number(serial)
    labels, folder = mailbox.placement(serial)
    content = account.content(serial)
    changing = switches.attachment_ids == "changing"
    return {
        "id": ids.message_id(number),
        "thread_id": ids.encode("thread", ids.hexadecimal(mailbox.thread(serial))),
        "folder_id": folder_id(account, folder),
        "labels": account.catalog.label_objects(labels),
        "subject": content.subject,
        "snippet": content.snippet,
        "created": times.iso(mailbox.created(serial)),
        "type": "message",
        "api": "email",
        "to": content.to,
        "cc": content.cc,
        "bcc": content.bcc,
        "text_body": content.text,
        "body": content.html,
        "attachments": [attachment_object(account, number, a, changing=changing) for a in content.attachments],
        "rfc822": file_object(
            account, file_id(number, None, changing=changing), "message/rfc822", "raw_content.rfc822"
        ),
        "from": content.sender,
    }


def with_raw(account: Account, serial: int, shown: Json) -> Json:
    """Add what the raw data header asks for (kloudless-api.md 4): the upstream's own object."""
    number = ids.hexadecimal(account.number(serial))
    labels, folder = account.mailbox.placement(serial)
    upstream = {
        "id": number,
        "threadId": ids.hexadecimal(account.mailbox.thread(serial)),
        "labelIds": list(labels),
        "parentFolderId": folder,
        "internalDate": str(account.mailbox.created(serial) * 1000),
        "snippet": shown["snippet"],
    }
    return {**shown, "raw_id": number, "raw": {"object": upstream}}


def event(account: Account, change: Change, switches: Switches) -> Json:
    """Make the Event object of a change; it tells of the message as it is now."""
    return {
        "id": str(change.seq),
        "account": account.id,
        "modified": times.iso(int(change.at)),
        "type": change.kind,
        "ip": None,
        "metadata": _metadata(account, change, switches),
        "api": "activity",
    }


def _metadata(account: Account, change: Change, switches: Switches) -> Json | None:
    live = account.mailbox.is_live(change.serial)
    mode = switches.delete_metadata
    if change.kind == "delete" and mode == "null":
        return None
    short: Json = {"id": account.message_id(change.serial), "type": "message", "api": "email"}
    if not live or (change.kind == "delete" and mode == "ids"):
        if mode == "full" and change.kind == "delete":
            return {**short, "thread_id": None, "folder_id": None, "labels": [], "subject": None, "created": None}
        return short
    labels, folder = account.mailbox.placement(change.serial)
    return {
        **short,
        "thread_id": ids.encode("thread", ids.hexadecimal(account.mailbox.thread(change.serial))),
        "folder_id": folder_id(account, folder),
        "labels": account.catalog.label_objects(labels),
        "subject": account.content(change.serial).subject,
        "created": times.iso(account.mailbox.created(change.serial)),
    }


def account_object(account: Account) -> Json:
    """Make the Account object (kloudless-api.md 8.1)."""
    created = times.iso(int(account.created)).replace("Z", ".000000Z")
    return {
        "id": account.id,
        "account": account.address,
        "service": account.service,
        "service_name": SERVICES[account.service],
        "admin": False,
        "active": not account.broken,
        "enabled": not account.broken,
        "internal_use": False,
        "apis": ["email"],
        "effective_scope": f"{account.service}:normal.email.default:kloudless",
        "created": created,
        "modified": created,
        "custom_properties": {},
        "object_definitions": {},
        "proxy_connection": None,
        "api": "core",
        "type": "account",
    }


def subscription_object(account: Account, subscription: Subscription) -> Json:
    """Make the Subscription object (kloudless-api.md 9.2)."""
    created = times.iso(int(subscription.created)).replace("Z", ".000000Z")
    return {
        "id": subscription.id,
        "account": account.id,
        "subscription_type": "changes",
        "monitored_resources": [],
        "active": True,
        "created": created,
        "modified": created,
        "expiry": None,
        "default": True,
        "type": "subscription",
        "api": "activity",
    }
