"""Labels and folders of an account: keys that never change, names that may."""

from typing import NamedTuple

from . import ids
from .content import Json

GMAIL_SYSTEM = (
    "INBOX", "UNREAD", "SENT", "IMPORTANT", "STARRED", "TRASH", "SPAM", "DRAFT", "CATEGORY_PERSONAL",
    "CATEGORY_SOCIAL", "CATEGORY_UPDATES", "CATEGORY_FORUMS", "CATEGORY_PROMOTIONS",
)  # fmt: skip
GMAIL_USER = (
    "Projects/Falcon", "Projects/Brücke", "Invoices", "Travel & Expenses", "客户", "Семья", "Read later", "team, all",
    "⭐ Follow up",
)  # fmt: skip
CATEGORIES = ("Red category", "Blue category", "Follow up", "Kunden ✓")
FOLDERS = {
    "inbox": "Inbox",
    "sentitems": "Sent Items",
    "deleteditems": "Deleted Items",
    "junkemail": "Junk Email",
    "archive": "Archive",
    "projects": "Projects",
}
IMAP_FOLDERS = {
    "inbox": "INBOX",
    "sentitems": "Sent",
    "deleteditems": "Trash",
    "junkemail": "Junk",
    "archive": "Archive",
}
_LABELS = {
    "gmail": {name: name for name in GMAIL_SYSTEM} | {f"Label_{n}": name for n, name in enumerate(GMAIL_USER, 1)},
    "outlook_email": {name: name for name in CATEGORIES},
    "exchange_email": {name: name for name in CATEGORIES},
    "imap": {},
}
_FOLDERS = {"gmail": {}, "outlook_email": FOLDERS, "exchange_email": FOLDERS, "imap": IMAP_FOLDERS}


class Placement(NamedTuple):
    """Say where a message lies: label keys in order, and the folder's key."""

    labels: tuple[str, ...] = ()
    folder: str | None = None


class Catalog:
    """Name the labels and folders of one account; shares the service's own until something is renamed."""

    __slots__ = ("_objects", "folders", "labels", "revision", "salt", "service")

    def __init__(self, service: str, salt: int) -> None:
        """Start with what every account of the service has."""
        self.service = service
        self.salt = salt
        self.labels: dict[str, str] = _LABELS[service]
        self.folders: dict[str, str] = _FOLDERS[service]
        self.revision = 0
        self._objects: dict[tuple[str, ...], list[Json]] | None = None

    def label_id(self, key: str) -> str:
        """Return the API id of a label."""
        return ids.encode("label", key)

    def folder_id(self, key: str) -> str:
        """Return the API id of a folder; upstream ids of Outlook and Exchange differ per account."""
        return ids.encode("folder", key if self.service == "imap" else f"AAMkAD{self.salt:016x}-{key}")

    def label(self, key: str) -> Json:
        """Return the Label object."""
        return {"id": self.label_id(key), "name": self.labels[key], "type": "label", "api": "email"}

    def folder(self, key: str) -> Json:
        """Return the Folder object."""
        return {"id": self.folder_id(key), "name": self.folders[key], "type": "folder", "api": "email"}

    def label_objects(self, keys: tuple[str, ...]) -> list[Json]:
        """Return Label objects for a message; equal tuples share one list, which nobody may change."""
        if self._objects is None:
            self._objects = {}
        found = self._objects.get(keys)
        if found is None:
            found = self._objects[keys] = [self.label(key) for key in keys]
        return found

    def label_key(self, name: str, *, create: bool = False) -> str | None:
        """Find a label by name; make a user label if asked to."""
        for key, known in self.labels.items():
            if known == name:
                return key
        if not create:
            return None
        key = f"Label_{len(self.labels) + 1}" if self.service == "gmail" else name
        while key in self.labels:
            key += "_"
        self.labels = {**self.labels, key: name}
        return key

    def folder_key(self, name: str, *, create: bool = False) -> str | None:
        """Find a folder by name or API id; make one if asked to."""
        for key, known in self.folders.items():
            if name in (known, self.folder_id(key)):
                return key
        if not create:
            return None
        key = name if self.service == "imap" else f"f{len(self.folders)}"
        self.folders = {**self.folders, key: name}
        return key

    def rename(self, kind: str, name: str, to: str) -> bool:
        """Rename a label or folder; the id stays, and no event tells of it."""
        key = self.label_key(name) if kind == "label" else self.folder_key(name)
        if key is None:
            return False
        if kind == "label":
            self.labels = {**self.labels, key: to}
        else:
            self.folders = {**self.folders, key: to}
        self._objects = None
        self.revision += 1
        return True
