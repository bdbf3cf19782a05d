"""An export of real mail, read back: every message of the mailbox stands in it, equal in every field."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import upstream
from tests.export.reading import Export, Row, emptied
from tests.truth import _Expected
from worker.export import FORMATS, export

pytestmark = pytest.mark.server

NOT_EXPORTED = {"deleted_at", "found_gone"}
"""Null for all live mail."""


def by_message(rows: list[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row["message_id"]].append(row)
    return found


def differing(read: Export, shown: list[dict[str, Any]], *, as_csv: bool) -> list[tuple[str, str]]:
    """Message and field of all that is otherwise than the mailbox has it."""
    meant = emptied if as_csv else dict
    messages = {row["message_id"]: row for row in read.rows("messages")}
    people, labels, files = (
        by_message(read.rows(name)) for name in ("message_people", "message_labels", "attachments")
    )
    names = {row["label_id"]: row["name"] for row in read.rows("labels")}
    wrong = [(id_, "extra") for id_ in messages.keys() - {one["id"] for one in shown}]
    for one in shown:
        expected = _Expected(one, "full", 16 * 1024 * 1024)
        row = messages.get(expected.id)
        if row is None:
            wrong.append((expected.id, "missing"))
            continue
        row_expected = meant({name: value for name, value in expected.row.items() if name not in NOT_EXPORTED})
        wrong += [(expected.id, name) for name, value in row_expected.items() if row[name] != value]
        found: dict[str, list[Row]] = {
            "people": [{"role": r, "position": p, "address": a, "email": e, "name": n}
                       for (r, p), (a, e, n) in expected.people.items()],
            "labels": [{"label_id": label, "name": name} for label, name in expected.labels.items()],
            "attachments": [dict(zip(("position", "file_id", "name", "mime_type", "size", "href"), (place, *file),
                                     strict=True)) for place, file in expected.files.items()],
        }  # fmt: skip
        got = {
            "people": people.get(expected.id, []),
            "labels": [{**r, "name": names[r["label_id"]]} for r in labels.get(expected.id, [])],
            "attachments": files.get(expected.id, []),
        }
        for what, wanted in found.items():
            keys = wanted[0].keys() if wanted else ()
            here = [{key: r[key] for key in keys} for r in got[what]]
            if sorted(map(repr, here)) != sorted(repr(meant(w)) for w in wanted) or len(here) != len(got[what]):
                wrong.append((expected.id, what))
    return wrong


def test_an_export_of_real_mail_equals_the_mailbox_in_every_format(
    corpus: Path, mirror_of: MakeMirror, tmp_path: Path
) -> None:
    with upstream("--mbox", str(corpus / "hard-cases.tar.gz")) as running:
        mirrored = mirror_of(running.served()[0])
        assert mirrored.sync(60).quiet
        shown = mirrored.box.shown()
    assert len(shown) > 900
    reads = {}
    for name in FORMATS:
        export(mirrored.mirror.engine, [mirrored.id], name, tmp_path / name)
        read = reads[name] = Export(tmp_path / name)
        assert differing(read, shown, as_csv=name == "csv") == [], name
        for month, row in read.months("messages"):
            assert month == ("unknown" if row["created"] is None else row["created"].strftime("%Y-%m").rjust(7, "0"))
    whole = parquet.read_table(tmp_path / "parquet" / "messages")
    assert whole.num_rows == len(shown)
    assert {"account_id", "month"} <= set(whole.column_names)
    months = {row["message_id"]: month for month, row in reads["parquet"].months("messages")}
    for table in ("message_people", "message_labels", "attachments"):
        assert all(months[row["message_id"]] == month for month, row in reads["parquet"].months(table))
