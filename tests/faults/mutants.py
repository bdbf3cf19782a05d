"""Known-bad builds: each is one promise of the engine taken out, and must make the tests named beside it fail.

    python -m tests.faults.mutants            run them all; exit 1 when one lives
    python -m tests.faults.mutants NAME …     run these

A mutant is a replacement of text in a module of `worker`, made while the module is imported by a test process that was
started with `-p tests.faults.mutants` and MAILMIRROR_TEST_MUTANT. No file is changed.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
CHOSEN = "MAILMIRROR_TEST_MUTANT"
FAILED = 1
"""pytest's exit code when tests ran and failed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Text of a module and what stands in its place."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken promise, and the tests that notice."""

    name: str
    edits: tuple[Edit, ...]
    killers: tuple[str, ...]


RUN = "tests/unit/sync/test_run.py"
ENGINE = "tests/faults/test_engine.py"
STORE = "tests/faults/test_store.py"

MUTANTS = (
    Mutant(
        "cursor before rows",
        (
            Edit(
                "worker.sync.run",
                "        outcome = self._store.commit(batch)\n",
                "        if batch.cursor is not None and batch.ledger == LedgerChange():\n"
                "            self._store.commit(Batch(stream='activity', cursor=batch.cursor))\n"
                "        outcome = self._store.commit(batch)\n",
            ),
        ),
        (f"{ENGINE}::test_a_later_run_cut_off_at_any_commit_is_made_good_by_events_alone",),
    ),
    Mutant(
        "cursor after backfill",
        (
            Edit(
                "worker.sync.run",
                "        while not stop():\n            self.poll()\n",
                "        if self._store.position() is None:\n"
                "            laid = LedgerChange(put=ledger.first(self._store.now()))\n"
                "            self._commit(Batch(stream='windows', ledger=laid))\n"
                "            poll, self.poll = self.poll, lambda: None\n"
                "            self.walk(stop)\n"
                "            self.poll = poll\n"
                "            from worker.records import CursorMove\n"
                "            from worker.sync.activity import _drain\n"
                "            moved = CursorMove(_drain(self._source, self._store)[0])\n"
                "            self._commit(Batch(stream='activity', cursor=moved, polled=True))\n"
                "        while not stop():\n            self.poll()\n",
            ),
        ),
        (f"{ENGINE}::test_what_arrives_behind_the_first_walk_comes_again_through_the_cursor",),
    ),
    Mutant(
        "no fence",
        (
            Edit(
                "worker.store.sql", "where id = %(account_id)s and lease_epoch = %(epoch)s", "where id = %(account_id)s"
            ),
        ),
        (f"{STORE}::test_a_worker_that_was_overtaken_changes_no_row",),
    ),
    Mutant(
        "fence by plain SELECT",
        (
            Edit(
                "worker.store.sql",
                "update sync.accounts\nset lease_until = sync.now() + make_interval(secs => %(seconds)s),\n"
                "    polled_at = case when %(polled)s then sync.now() else polled_at end\n",
                "select id, %(seconds)s, %(polled)s from sync.accounts\n",
            ),
        ),
        (f"{STORE}::test_nobody_takes_a_lease_over_in_the_middle_of_a_commit",),
    ),
    Mutant(
        "a list revives a tombstone",
        (Edit("worker.store.upsert", "if dead and id_ not in fetched:", "if dead and id_ == '':"),),
        (f"{STORE}::test_a_list_page_leaves_a_tombstone_alone",),
    ),
    Mutant(
        "404 on a page taken as the end",
        (
            Edit(
                "worker.sync.windows",
                "            except PageTokenLostError as error:\n                step = self._token_lost(error)\n",
                "            except PageTokenLostError:\n"
                "                step = self._take(MessagePage((), (), None, self._around.upstream_now()), asked)\n",
            ),
        ),
        (f"{ENGINE}::test_page_tokens_that_die_early_end_no_list",),
    ),
    Mutant(
        "any 404 taken as gone",
        (
            Edit(
                "worker.sources._refusals",
                "def meaning(refusal: Refusal) -> Means:\n",
                "def meaning(refusal: Refusal) -> Means:\n"
                "    if refusal.status == 404 and refusal.call is Call.MESSAGE:\n        return Means.NOT_FOUND\n",
            ),
        ),
        ("tests/sources/test_refusals.py",),
    ),
    Mutant(
        "delete without GET",
        (
            Edit(
                "worker.sync.sweep",
                "        look = looker.look(absent)\n",
                "        from worker.sync.looks import Look\n"
                "        look = Look(absent=tuple((id_, 10**9) for id_ in absent))\n",
            ),
        ),
        (f"{RUN}::test_what_a_walk_finds_missing_is_asked_for_before_it_is_called_gone",),
    ),
    Mutant(
        "no brake",
        (Edit("worker.sync.brake", "    if not count:\n        return None\n", "    return None\n"),),
        (f"{RUN}::test_a_suddenly_empty_mailbox_is_held_and_nothing_is_deleted",),
    ),
    Mutant(
        "token sent to any origin",
        (Edit("worker.sources._http", "if address.origin != self._origin:", "if False:"),),
        ("tests/sources/test_origin.py::test_a_request_is_made_for_its_origin_alone",),
    ),
    Mutant(
        "redirects followed",
        (
            Edit("worker.sources._http", "if address.origin != self._origin:", "if False:"),
            Edit(
                "worker.sources._http",
                '    path, question, rest = address.target.partition("?")\n',
                "    return Address(_origin(target), target.raw_path.decode())\n",
            ),
        ),
        ("tests/sources/test_origin.py::test_a_redirect_to_anything_but_the_slash_is_not_followed",),
    ),
    Mutant(
        "an id may be several segments of a path",
        (Edit("worker.sources._http", 'quote(segment, safe="")', 'quote(segment, safe="/?.")'),),
        ("tests/sources/test_origin.py::test_an_id_is_one_segment_of_the_path_whatever_it_holds",),
    ),
    Mutant(
        "no dedup in a batch",
        (
            Edit(
                "worker.store.upsert",
                "    _add(cursor, account_id, ways.added, projection)\n",
                "    again = [r for m in listed for r in ways.added if r.id == m.id]\n"
                "    _add(cursor, account_id, again or ways.added, projection)\n",
            ),
        ),
        (f"{STORE}::test_one_message_twice_on_a_page_is_one_row",),
    ),
    Mutant(
        "frontier cut while it is walked",
        (Edit("worker.sync.ledger", "if is_frontier(w) and w.after not in busy)", "if is_frontier(w))"),),
        (f"{RUN}::test_the_last_stretch_is_not_cut_while_it_is_walked_though_an_older_window_turns_out_to_hold_mail",),
    ),
    Mutant(
        "head not walked again",
        (Edit("worker.sync.ledger", "        return walked_at + HOURLY\n", "        return walked_at + MONTHLY\n"),),
        ("tests/faults/test_clocks.py::test_mail_whose_event_was_lost_is_there_after_an_hour",),
    ),
    Mutant(
        "no disturb",
        (Edit("worker.sync.run", "                walk.disturb()\n", "                pass\n"),),
        (f"{ENGINE}::test_a_deletion_under_a_walk_by_offsets_hides_nothing",),
    ),
    Mutant(
        "observation guard off",
        (Edit("worker.sync.observations", "if self._seen.get(message_id, 0) > number:", "if number < 0:"),),
        ("tests/unit/sync/test_observations.py",),
    ),
    Mutant(
        "problems not recorded",
        (Edit("worker.store.postgres", "    if not last:\n        return\n", "    return\n"),),
        (f"{STORE}::test_what_could_not_be_done_stands_in_a_problem",),
    ),
    Mutant(
        "a deadlock ends the run",
        (
            Edit(
                "worker.store.postgres",
                'RETRIED = frozenset({"40001", "40P01"})',
                "RETRIED: frozenset[str] = frozenset()",
            ),
        ),
        (f"{STORE}::test_a_transaction_that_could_not_be_serialised_runs_again",),
    ),
    Mutant(
        "a fresh 404 taken as gone",
        (Edit("worker.sync.activity", "    fresh = _unseen(store, fresh)\n", "    fresh = []\n"),),
        (f"{RUN}::test_a_new_message_that_is_not_found_yet_is_pending_and_not_gone",),
    ),
    Mutant(
        "events kept no count of",
        (Edit("worker.sync.activity", "or delivered >= RETENTION", "or False"),),
        (f"{ENGINE}::test_as_many_events_as_are_ever_kept_let_everything_be_walked",),
    ),
    Mutant(
        "no cap on what is unpacked",
        (Edit("worker.sources._http", "self._max_answer if good else LARGEST_REFUSAL", "1 << 40"),),
        ("tests/sources/test_http.py::test_an_answer_larger_than_the_cap_is_given_up",),
    ),
)


# --- inside a test process ------------------------------------------------------------------------------------------


class _Mutated(importlib.machinery.SourceFileLoader):
    """Loads a module with the edits of the chosen mutant, never from a cache."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text(encoding="utf-8")
        for edit in self._edits:
            if source.count(edit.old) != 1:
                raise SystemExit(f"This mutant does not fit {fullname} any more: {edit.old!r}")
            source = source.replace(edit.old, edit.new)
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._edits = {edit.module: [e for e in mutant.edits if e.module == edit.module] for edit in mutant.edits}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._edits:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Mutated(fullname, found.origin, self._edits[fullname]))


def named(name: str) -> Mutant:
    """Find a mutant; raises SystemExit with the names there are."""
    found = next((mutant for mutant in MUTANTS if mutant.name == name), None)
    if found is None:
        raise SystemExit(f"There is no mutant {name!r}. There are: {', '.join(m.name for m in MUTANTS)}")
    return found


def take_in(mutant: Mutant) -> None:
    """Take a mutant into this process; what it changes must not be imported yet."""
    early = [edit.module for edit in mutant.edits if edit.module in sys.modules]
    if early:
        raise SystemExit(f"Imported before it could be changed: {', '.join(early)}")
    sys.meta_path.insert(0, _Finder(mutant))


if os.environ.get(CHOSEN):
    # As a plugin this is imported before any conftest, and so before anything of `worker`.
    take_in(named(os.environ[CHOSEN]))


# --- from outside ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    code: int
    seconds: float
    words: str

    @property
    def dead(self) -> bool:
        """Whether its tests ran and failed; a fixture that breaks kills nothing."""
        return self.code == FAILED and re.search(r"^\d+ failed", self.words, re.MULTILINE) is not None


def run_tests(killers: Sequence[str], mutant: str = "") -> subprocess.CompletedProcess[str]:
    """Run tests in a process of its own, with a mutant in it."""
    options = ["-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.faults.mutants", "--hypothesis-seed=1"]
    command = [sys.executable, "-m", "pytest", *options, *killers]
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MAILMIRROR_TEST", "PYTEST"))}
    return subprocess.run(
        command, cwd=ROOT, env={**kept, CHOSEN: mutant}, capture_output=True, text=True, timeout=300, check=False
    )


def try_to_kill(mutant: Mutant) -> Verdict:
    """Run its killers on it."""
    began = time.monotonic()
    done = run_tests(mutant.killers, mutant.name)
    return Verdict(mutant, done.returncode, time.monotonic() - began, done.stdout + done.stderr)


def sound(mutants: Sequence[Mutant]) -> str:
    """Run every killer on the code as it is; returns pytest's words when one fails, else nothing."""
    killers = sorted({killer for mutant in mutants for killer in mutant.killers})
    done = run_tests(killers)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def verdicts(mutants: Sequence[Mutant]) -> list[Verdict]:
    """Try to kill each, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(try_to_kill, mutants))


def main(names: Sequence[str]) -> int:
    """Run mutants and print what became of them; 1 when one lives or the tests fail without any."""
    mutants = [named(name) for name in names] or list(MUTANTS)
    wrong = sound(mutants)
    if wrong:
        sys.stdout.write(f"The tests fail on the code as it is:\n{wrong}\n")
        return 1
    found = verdicts(mutants)
    for one in found:
        killers = ", ".join(killer.rpartition("::")[2] for killer in one.mutant.killers)
        sys.stdout.write(f"{'dead' if one.dead else 'LIVES':5} {one.seconds:5.1f} s  {one.mutant.name}: {killers}\n")
        if not one.dead:
            sys.stdout.write(one.words[-1500:])
    return 0 if all(one.dead for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
