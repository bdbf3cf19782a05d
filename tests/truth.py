"""The judge of a mirror: compares plain SQL with the sandbox's own truth, field by field.

Imports nothing of `worker` or `models`; what a row must hold is derived here a second time, from the API object.
Needs a mailbox that stands still meanwhile. Memory is bounded by the pieces and by the number of people.
"""

import hashlib
import json
import re
import unicodedata
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import idna
import psycopg
from psycopg.rows import dict_row

PIECE = 1000
MOST = 200_000  # differences kept of one kind
SHOWN = 200  # characters of a value
MAX_BODY = 16 * 1024 * 1024
YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
ROLES = ("from", "to", "cc", "bcc")

Json = dict[str, Any]
Newness = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one message that the mirror holds otherwise."""

    message_id: str
    field: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was compared and what differs; `flaws` are rows that contradict each other or the ledger."""

    checked: int
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    stale: tuple[Difference, ...] = ()
    flaws: tuple[str, ...] = ()
    open_windows: int = 0
    open_problems: tuple[tuple[str, str], ...] = ()

    @property
    def equal(self) -> bool:
        """Whether mirror and mailbox are the same."""
        return not (self.missing or self.extra or self.stale or self.flaws)

    @property
    def stale_ids(self) -> set[str]:
        """Ids of messages with at least one field that differs."""
        return {difference.message_id for difference in self.stale}

    def __str__(self) -> str:
        """Say in a few lines what differs."""
        lines = [f"{self.checked} checked, {len(self.missing)} missing, {len(self.extra)} extra,"]
        lines[0] += f" {len(self.stale)} fields stale, {len(self.flaws)} flaws"
        lines += [f"missing {one}" for one in self.missing[:5]] + [f"extra {one}" for one in self.extra[:5]]
        lines += [f"{d.message_id} {d.field}: expected {d.expected}, got {d.got}" for d in self.stale[:10]]
        return "\n".join((*lines, *self.flaws[:10], *(f"open problem {p}" for p in self.open_problems[:5])))


def differences(
    database_url: str,
    admin_url: str,
    upstream_account_id: int | str,
    account_id: int,
    *,
    bodies: str = "full",
    max_body: int = MAX_BODY,
) -> Report:
    """Compare the mirror of `account_id` with what the sandbox at `admin_url` says of `upstream_account_id`."""
    url = f"{admin_url}/accounts/{upstream_account_id}/truth"
    plain = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with (
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=120) as answer,
        psycopg.connect(
            plain, options="-c TimeZone=UTC -c default_transaction_isolation=repeatable\\ read"
        ) as database,
    ):
        head = json.loads(answer.readline())
        lines = (json.loads(line) for line in answer)
        return _Comparison(database, account_id, bodies, max_body).run(head, lines)


# --- what a row must hold -------------------------------------------------------------------------------------------

_UNFIT = re.compile("[\x00\ud800-\udfff]")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def normalised(email: str | None) -> str | None:
    """The key of `mail.people`: local part case-folded, domain in lower case and punycode; long ones hashed."""
    text = (email or "").strip()
    if not text:
        return None
    local, at, domain = text.rpartition("@") if "@" in text else (text, "", "")
    whole = local.casefold() + at + _domain(domain)
    if len(whole.encode("utf-8")) > 320:
        return whole[:200] + "#" + hashlib.sha256(whole.encode("utf-8")).hexdigest()
    return whole


def _domain(domain: str) -> str:
    if all(ord(letter) < 128 for letter in domain):
        return domain.lower()
    labels = unicodedata.normalize("NFKC", domain).casefold() if "ß" not in domain else domain.lower()
    try:
        return ".".join(idna.alabel(label).decode() if label else "" for label in re.split("[.\u3002]", labels))
    except idna.IDNAError:
        return domain.casefold()


def moment(text: str) -> datetime | None:
    """Read an RFC 3339 time with its zone as whole seconds UTC, year 1 to 9999; None for anything else."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    *parts, sign, hours, minutes = found.groups()
    try:
        shift = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        zone = timezone(-shift if sign == "-" else shift)
        return datetime(*map(int, parts), tzinfo=zone).astimezone(UTC)  # type: ignore[arg-type, misc]  # six numbers
    except (ValueError, OverflowError):
        return None


class _Expected:
    """Everything the tables must hold of one API object."""

    def __init__(self, shown: Json, bodies: str, max_body: int) -> None:
        self._altered: set[str] = set()
        self.id: str = shown["id"]
        created = shown.get("created")
        self.created = None if created is None else moment(created)
        if created is not None and self.created is None:
            self._altered.add("created")
        self.people = self._people(shown)
        self.labels = {str(one["id"]): self._text(one.get("name"), "labels") for one in reversed(shown["labels"] or [])}
        self.files = {place: self._file(one) for place, one in enumerate(shown["attachments"] or [])}
        self.row = self._row(shown, bodies, max_body)

    def names(self) -> dict[str, str | None]:
        """The name each address has on this message: the first that is not empty, in the order of the roles."""
        found: dict[str, str | None] = {}
        for address, _, name in self.people.values():
            if address is not None and not found.get(address):
                found[address] = name or None
        return found

    def _row(self, shown: Json, bodies: str, max_body: int) -> Json:
        texts = {name: self._text(shown.get(name), name) for name in ("subject", "snippet", "text_body", "body")}
        body = texts["body"]
        kept_text, text_cut = _cut(texts["text_body"] if bodies != "none" else None, max_body)
        kept_body, body_cut = _cut(body if bodies == "full" else None, max_body)
        return {
            "thread_id": self._text(shown.get("thread_id"), "thread_id"),
            "folder_id": self._text(shown.get("folder_id"), "folder_id"),
            "subject": texts["subject"],
            "snippet": texts["snippet"],
            "created": self.created,
            "created_raw": shown["created"] if self.created is None and shown.get("created") is not None else None,
            "text_body": kept_text,
            "body": kept_body,
            "body_size": None if body is None else len(body.encode("utf-8")),
            "body_truncated": text_cut or body_cut,
            "rfc822_file_id": (shown.get("rfc822") or {}).get("id"),
            "has_attachments": bool(self.files),
            "raw": None,
            "deleted_at": None,
            "found_gone": None,
            "altered": sorted(self._altered) or None,
        }

    def _people(self, shown: Json) -> dict[tuple[str, int], tuple[str | None, str | None, str | None]]:
        found = {}
        for role in ROLES:
            given = shown.get(role)
            persons = given or [] if role != "from" else [] if given is None else [given]
            field = "sender" if role == "from" else role
            for place, person in enumerate(persons):
                email = self._text(person.get("email"), field)
                found[role, place] = (normalised(email), email, self._text(person.get("name"), field))
        return found

    def _file(self, shown: Json) -> tuple[Any, ...]:
        name, kind = (self._text(shown.get(key), "attachments") for key in ("name", "mime_type"))
        return (shown.get("id"), name, kind, shown.get("size"), shown.get("href"))

    def _text(self, value: str | None, field: str) -> str | None:
        if value is None or _UNFIT.search(value) is None:
            return value
        self._altered.add(field)
        return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", value)


def _cut(text: str | None, limit: int) -> tuple[str | None, bool]:
    if text is None or len(text.encode("utf-8")) <= limit:
        return text, False
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore"), True


# --- the comparison -------------------------------------------------------------------------------------------------

_CHILDREN = {
    "people": "select message_id, role, position, address, email, name from mail.message_people",
    "labels": "select l.message_id, l.label_id, n.name from mail.message_labels l"
    " left join mail.labels n using (account_id, label_id)",
    "attachments": "select message_id, position, file_id, name, mime_type, size, href from mail.attachments",
}
_ORPHANS = {
    f"{table} without a message": f"select count(*) from mail.{table} c where c.account_id = %(account)s and not exists"
    " (select from mail.messages m where (m.account_id, m.message_id) = (c.account_id, c.message_id))"
    for table in ("message_people", "message_labels", "attachments")
} | {
    "addresses without a person": "select count(*) from mail.message_people c where c.account_id = %(account)s and"
    " c.address is not null and not exists"
    " (select from mail.people p where (p.account_id, p.address) = (c.account_id, c.address))",
    "people on no message": "select count(*) from mail.people p where p.account_id = %(account)s and not exists"
    " (select from mail.message_people c where (p.account_id, p.address) = (c.account_id, c.address))",
    "label ids without a label": "select count(*) from mail.message_labels c where c.account_id = %(account)s and not"
    " exists (select from mail.labels l where (l.account_id, l.label_id) = (c.account_id, c.label_id))",
    "folder ids without a folder": "select count(*) from mail.messages m where m.account_id = %(account)s and"
    " m.folder_id is not null and not exists"
    " (select from mail.folders f where (f.account_id, f.folder_id) = (m.account_id, m.folder_id))",
}
_KEYS = {
    "messages": "message_id", "message_people": "message_id, role, position", "message_labels": "message_id, label_id",
    "attachments": "message_id, position", "people": "address", "labels": "label_id", "folders": "folder_id",
}  # fmt: skip
_NAMED_ON_A_TOMBSTONE = """
select exists (
    select from mail.messages m join mail.message_people p using (account_id, message_id)
    where m.account_id = %(account)s and m.message_id = %(message)s and m.deleted_at is not null
      and p.address = %(address)s and p.name = %(name)s and m.created is not distinct from %(at)s
)
"""


class _Comparison:
    def __init__(self, database: psycopg.Connection[Any], account_id: int, bodies: str, max_body: int) -> None:
        self._database = database
        self._account = account_id
        self._settings = (bodies, max_body)
        self._missing: list[str] = []
        self._stale: list[Difference] = []
        self._flaws: list[str] = []
        self._names: dict[str, tuple[Newness, str] | None] = {}
        database.execute("create temp table true_ids (message_id text not null)")

    def run(self, head: Json, shown: Iterator[Json]) -> Report:
        checked = 0
        while piece := [_Expected(one, *self._settings) for one in islice(shown, PIECE)]:
            checked += len(piece)
            self._piece({one.id: one for one in piece})
        if checked != head["count"]:
            self._flaws.append(f"the truth itself has {checked} messages, not {head['count']}: did the mailbox change?")
        self._folders(head["folders"])
        self._people()
        self._integrity()
        windows = self._ledger()
        problems = self._rows("select kind, subject from sync.problems where account_id = %(account)s"
                              " and state = 'open' order by kind, subject limit 1000")  # fmt: skip
        return Report(
            checked=checked,
            missing=tuple(self._missing[:MOST]),
            extra=tuple(row["message_id"] for row in self._rows(
                "select message_id from mail.messages where account_id = %(account)s and deleted_at is null"
                " except select message_id from true_ids order by 1 limit %(most)s", most=MOST)),
            stale=tuple(self._stale),
            flaws=tuple(self._flaws),
            open_windows=windows,
            open_problems=tuple((row["kind"], row["subject"]) for row in problems),
        )  # fmt: skip

    def _rows(self, statement: str, **values: object) -> list[Json]:
        with self._database.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement.encode(), {"account": self._account, **values}).fetchall()

    def _piece(self, piece: dict[str, _Expected]) -> None:
        ids = list(piece)
        with self._database.cursor() as cursor, cursor.copy("copy true_ids from stdin") as copy:
            for id_ in ids:
                copy.write_row((id_,))
        mine = " where account_id = %(account)s and message_id = any(%(ids)s)"
        rows = {row["message_id"]: row for row in self._rows("select * from mail.messages" + mine, ids=ids)}
        children = {name: _by_message(self._rows(statement + mine, ids=ids)) for name, statement in _CHILDREN.items()}
        for id_, expected in piece.items():
            self._remember_names(expected)
            row = rows.get(id_)
            if row is None or row["deleted_at"] is not None:
                self._missing.append(id_)
                continue
            self._message(expected, row)
            of = {name: found.get(id_, []) for name, found in children.items()}
            people = {(r["role"], r["position"]): (r["address"], r["email"], r["name"]) for r in of["people"]}
            files = {r["position"]: tuple(list(r.values())[2:]) for r in of["attachments"]}
            self._same(id_, "people", expected.people, people)
            self._same(id_, "labels", expected.labels, {r["label_id"]: r["name"] for r in of["labels"]})
            self._same(id_, "attachments", expected.files, files)

    def _message(self, expected: _Expected, row: Json) -> None:
        for field, value in expected.row.items():
            if row[field] != value:
                self._same(expected.id, field, value, row[field])
        for field in ("digest", "changed_in", "changed_at", "first_seen_at"):
            if row[field] is None:
                self._same(expected.id, field, "a value", None)

    def _same(self, message_id: str, field: str, expected: object, got: object) -> None:
        if expected == got:
            return
        if isinstance(expected, dict) and isinstance(got, dict):
            keys = sorted({k for k in expected.keys() | got.keys() if expected.get(k, ()) != got.get(k, ())}, key=str)
            expected, got = ({k: side.get(k, "nothing") for k in keys} for side in (expected, got))
        if len(self._stale) < MOST:
            self._stale.append(Difference(message_id, field, repr(expected)[:SHOWN], repr(got)[:SHOWN]))

    def _remember_names(self, expected: _Expected) -> None:
        newness = (expected.created or YEAR_ONE, expected.id)
        for address, name in expected.names().items():
            known = self._names.get(address)
            if name and (known is None or newness > known[0]):
                self._names[address] = (newness, name)
            else:
                self._names.setdefault(address, None)

    def _people(self) -> None:
        rows = self._rows("select address, name, name_at, name_on from mail.people where account_id = %(account)s")
        stored = {row["address"]: row for row in rows}
        self._flaws += [f"person missing: {address}" for address in self._names if address not in stored]
        for address, row in stored.items():
            expected = self._names.get(address)
            got = None if row["name_on"] is None else (_newness(row), row["name"])
            if got is None and (row["name"] is not None or row["name_at"] is not None):
                self._flaws.append(f"name of unknown origin: {row}")
            if got != expected and not self._newer_but_deleted(address, expected, row):
                self._flaws.append(f"name of {address}: expected {expected}, got {got}")

    def _newer_but_deleted(self, address: str, expected: tuple[Newness, str] | None, row: Json) -> bool:
        """Whether the name was read on a message that is gone by now: a name only ever gives way to a newer one."""
        if row["name_on"] is None or (expected is not None and _newness(row) < expected[0]):
            return False
        named = {"message": row["name_on"], "address": address, "name": row["name"], "at": row["name_at"]}
        return bool(self._rows(_NAMED_ON_A_TOMBSTONE, **named)[0]["exists"])

    def _folders(self, shown: list[Json]) -> None:
        names = {str(one["id"]): one["name"] for one in shown}
        for row in self._rows("select folder_id, name from mail.folders where account_id = %(account)s"):
            if row["folder_id"] in names and row["name"] != names[row["folder_id"]]:
                self._flaws.append(f"folder {row['folder_id']}: expected {names[row['folder_id']]}, got {row['name']}")

    def _integrity(self) -> None:
        for words, statement in _ORPHANS.items():
            if count := self._rows(statement)[0]["count"]:
                self._flaws.append(f"{count} {words}")
        for table, key in _KEYS.items():
            statement = (
                f"select count(*) from (select from mail.{table} where account_id = %(account)s"
                f" group by {key} having count(*) > 1) twice"
            )
            if count := self._rows(statement)[0]["count"]:
                self._flaws.append(f"{count} rows of {table} stand there more than once")

    def _ledger(self) -> int:
        """Check that the windows tile from year 1 to the open head; returns how many are still to be walked."""
        edge: datetime | None = YEAR_ONE
        windows = self._rows("select after, before, state from sync.windows where account_id = %(account)s"
                             " order by after")  # fmt: skip
        for window in windows:
            if window["after"] != edge:
                self._flaws.append(f"the ledger has a gap or overlap at {window['after']}, expected {edge}")
            edge = window["before"]
        if not windows or edge is not None:
            self._flaws.append("the ledger has no open head")
        return sum(window["state"] == "open" for window in windows)


def _newness(person: Json) -> Newness:
    return (person["name_at"] or YEAR_ONE, person["name_on"])


def _by_message(rows: list[Json]) -> dict[str, list[Json]]:
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for row in rows:
        found[row["message_id"]].append(row)
    return found
