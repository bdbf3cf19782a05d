"""Real mail of any quality becomes API objects; nothing is dropped and nothing raises."""

import gzip
import hashlib
import io
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox import MailboxMissing, NotAMailbox, SandboxOptions, running
from worker.sandbox.content import read_content, read_facts
from worker.sandbox.mailfiles import read_mailbox
from worker.sandbox.spool import Spool
from worker.sandbox.wire import encode

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus of real mail is not at {CORPUS}")
MANY = (
    b"From a@b Thu Jan  4 10:00:00 2024\nSubject: one\n\nbody\n>From here\n\nFrom me to you\n\n"
    b"From c@d Thu Jan  4 11:00:00 2024\nSubject: two\n\n"
)


@pytest.fixture
def spool() -> Any:
    made = Spool()
    yield made
    made.close()


@needs_corpus
def test_every_message_of_the_corpus_is_read_byte_for_byte(spool: Spool) -> None:
    wanted = defaultdict(list)
    for line in gzip.decompress((CORPUS / "MANIFEST.tsv.gz").read_bytes()).decode().splitlines()[1:]:
        name, *_, size, digest = line.split("\t")
        wanted[name].append((int(size), digest))
    assert sum(map(len, wanted.values())) == 13_064
    for name, digests in wanted.items():
        found = list(read_mailbox(CORPUS / name, spool))
        assert len(found) == len(digests)
        for one, (length, digest) in zip(found, digests, strict=True):
            raw = one.stretch.read()
            # the blank line before the next separator may be the message's own
            whole = digest in {hashlib.sha256(raw).hexdigest(), hashlib.sha256(raw + b"\n").hexdigest()}
            # that manifest mostly counts the separator as part of the message
            counted = name.startswith("spamassassin-") and abs(length - len(raw) - len(one.from_line)) <= 2
            assert whole or counted


@needs_corpus
def test_the_whole_corpus_is_served(connect: Any) -> None:
    files = (*sorted(CORPUS.glob("*.mbox.gz")), CORPUS / "hard-cases.tar.gz")
    with running(SandboxOptions(mailboxes=files, services=("gmail", "outlook_email", "imap"))) as sandbox:
        total = 0
        for account in sandbox.account_ids:
            head, messages = sandbox.truth(account)
            ids = [message["id"] for message in messages]
            assert len(ids) == len(set(ids)) == head["count"]
            total += len(ids)
        assert total == 13_064


def test_an_mbox_is_cut_at_its_separators_only(tmp_path: Path, spool: Spool) -> None:
    (tmp_path / "m.mbox").write_bytes(MANY)
    (tmp_path / "m.mbox.gz").write_bytes(gzip.compress(MANY))
    for name in ("m.mbox", "m.mbox.gz"):
        first, second = read_mailbox(tmp_path / name, spool)
        assert first.stretch.read() == b"Subject: one\n\nbody\nFrom here\n\nFrom me to you\n"
        assert second.stretch.read() == b"Subject: two\n"


def test_a_maildir_and_a_tar_are_read(tmp_path: Path, spool: Spool) -> None:
    for folder, name in (("cur", "1:2,S"), ("new", "2"), (".Sent.2024/cur", "3:2,")):
        (tmp_path / "box" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "box" / folder / name).write_bytes(b"Subject: x\n\n")
    found = list(read_mailbox(tmp_path / "box", spool))
    assert [(one.folder, one.flags) for one in found] == [("", "S"), ("", ""), ("Sent/2024", "")]
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in ("a.eml", "dir/b.eml", "notes.txt"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"a\0b"))
    assert [one.stretch.read() for one in read_mailbox(tmp_path / "a.tar.gz", spool)] == [b"a\0b"] * 2


def test_what_is_no_mailbox_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"hello"))
    (tmp_path / "cut.mbox.gz").write_bytes(gzip.compress(MANY * 100)[:60])
    (tmp_path / "empty").mkdir()
    for name in ("notes.pdf", "notes.gz", "empty"):
        with pytest.raises(NotAMailbox, match=r"is not an mbox, Maildir or \.tar\.gz of \.eml files"):
            running(SandboxOptions(mailboxes=(tmp_path / name,))).__enter__()
    for name in ("missing.mbox", "cut.mbox.gz"):
        with pytest.raises(MailboxMissing):
            running(SandboxOptions(mailboxes=(tmp_path / name,))).__enter__()


def test_delivery_is_the_separator_then_received_then_date() -> None:
    raw = b"Received: by x; Fri, 5 Jan 2024 10:00:00 +0100\nReceived: by y; 4 Jan 2024 00:00:00 +0000\nDate: %s\n\n"
    dated = raw % b"Wed, 3 Jan 2024 00:00:00 +0000"
    now = 1_800_000_000
    assert read_facts(dated, "From x Sat Jan  6 10:00:00 2024", now).delivered == 1_704_535_200
    assert read_facts(dated, "From mboxrd@z Thu Jan  1 00:00:00 1970", now).delivered == 1_704_445_200
    assert read_facts(dated.partition(b"Date")[1] + dated.partition(b"Date")[2], "", now).delivered == 1_704_240_000
    assert read_facts(b"Date: 1 Jan 3609 00:00:00 +0000\n\n", "", now).delivered == now
    assert read_facts(b"Date: 1 Jan 1969 00:00:00 +0000\n\n", "", now).delivered == 86_400
    assert read_facts(b"Date: soon\n\n", "", now).delivered == 86_400


def test_hard_headers_are_decoded() -> None:
    content = read_content(
        b"From: =?utf-8?q?J=C3=BCrgen?= (comment) <j@x.example>\r\nSubject: =?x-unknown?B?w7w?= =?utf-8?b?w7w=?=\r\n"
        b'To: list: "Doe, J" <d@x>, plain@y;,\r\n  undisclosed-recipients:;\r\nCc: broken <no\r\n\r\n\xff\0'
    )
    assert content.sender == {"email": "j@x.example", "name": "Jürgen", "type": "person", "api": "email"}
    assert content.subject == "üü"
    assert [(p["email"], p["name"]) for p in content.to] == [("d@x", "Doe, J"), ("plain@y", None)]
    assert content.text == "\xff\0"


def test_line_ends_of_all_kinds_split_a_message() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        content = read_content(end.join([b"Subject: a", b"\tb", b"", b"text"]))
        assert (content.subject, content.text) == ("a b", "text")


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"From:", b"Subject: =?", b"Content-Type: multipart/mixed; boundary=a\n\n--a\n"]),
)
def test_no_bytes_break_the_reader(raw: bytes, start: bytes) -> None:
    content = read_content(start + raw)
    encode([content.subject, content.sender, content.text, content.html, content.snippet, content.to])
    read_facts(start + raw, raw[:80].decode("latin-1"), 1_700_000_000)


def test_replies_join_the_thread_of_what_they_answer(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start(messages=0)
    for head in (
        "Message-ID: <1@x>",
        "Message-ID: <2@x>\nIn-Reply-To: <1@x>",
        "References: <1@x> <2@x>",
        "Message-ID: <4@x>",
    ):
        sandbox.admin("/accounts/1001/deliver", {"raw": head + "\n\n"})
    by_age = sandbox.admin("/accounts/1001/log")["changes"]
    threads = {m["id"]: m["thread_id"] for m in everything(connect(sandbox))}
    first, second, third, fourth = [threads[change["message_id"]] for change in by_age]
    assert first == second == third != fourth


def test_labels_of_a_takeout_export_are_kept(start: Any, connect: Any, everything: Any) -> None:
    sandbox = start(messages=0)
    raw = "X-Gmail-Labels: Inbox,Unread,=?UTF-8?Q?M=C3=BCll?=\n\nx"
    sandbox.admin("/accounts/1001/deliver", {"raw": raw})
    (message,) = everything(connect(sandbox))
    assert [label["name"] for label in message["labels"]] == ["INBOX", "UNREAD", "Müll"]
