"""Postgres and other workers fail in the middle of syncs: each account says so, and ends equal by itself."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Mirrored, Upstream, settings_for
from tests.conftest import PostgresServer
from tests.faults.proxy import proxied
from tests.faults.scenes import at_commit, recovers, shift, sync, wait_until
from worker.bootstrap import Mirror, Totals
from worker.errors import LeaseError, LeaseHeldError, LeaseLostError, StoreUnavailableError
from worker.store import accounts

# --- Postgres


@pytest.mark.fault("P15")
@pytest.mark.parametrize("commit", [1, 2, 4, 7])
def test_connections_cut_in_mid_run_cost_that_run_alone(
    calm_upstream: Upstream, mirror_of: MakeMirror, commit: int
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(120), page_size=20)
    cut = ("select pg_terminate_backend(pid) from pg_stat_activity"
           " where datname = current_database() and application_name = 'mailmirror'")  # fmt: skip
    with (
        at_commit(mirrored, commit, lambda: mirrored.sql(cut)) as observe,
        pytest.raises(StoreUnavailableError),
    ):
        sync(mirrored, observe)
    assert mirrored.one("select status from sync.accounts") == "backing_off"
    recovers(mirrored)


@pytest.mark.fault("P16")
def test_a_database_that_went_back_some_commits_is_made_good_by_its_own_cursor(
    calm_upstream: Upstream, mirror_of: MakeMirror, postgres: PostgresServer
) -> None:
    box = calm_upstream.mailbox(120)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(10, 1)
    mirrored.sync()
    mirrored.flush()
    older = postgres.create(mirrored.plain_url.rpartition("/")[2])
    box.churn(30, 2)
    box.delete(random=5, seed=3)
    mirrored.sync()
    mirrored.mirror.close()
    mirrored.database_url = postgres.url(older)
    mirrored.plain_url = postgres.plain_url(older)
    mirrored.with_settings()
    assert not mirrored.truth().equal, "the copy is older"
    run = mirrored.sync()
    assert run.totals.walks == 0, "I2: by replay alone"
    recovers(mirrored)
    mirrored.mirror.close()
    postgres.drop(older)


@pytest.mark.fault("P20")
def test_a_server_that_became_read_only_is_said_and_then_gone_on_with(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(60)
    mirrored = mirror_of(box)
    mirrored.sync()
    box.churn(10, 1)
    name = mirrored.one("select current_database()")
    mirrored.sql(f"alter database {name} set default_transaction_read_only = on")
    mirrored.mirror.engine.dispose()
    with pytest.raises(StoreUnavailableError, match="read-only") as refused:
        mirrored.sync()
    assert refused.value.sqlstate == "25006"
    with psycopg.connect(mirrored.plain_url, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute(f"alter database {name} set default_transaction_read_only = off")
    mirrored.mirror.engine.dispose()  # a failover ends the connections that came before it
    recovers(mirrored)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB of its own, for whoever runs Postgres here; skips where none can be mounted."""
    place = Path("/tmp") / f"small-disk-{os.getpid()}"  # within reach of the account that runs Postgres
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m,mode=0777", "tmpfs", str(place)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        place.rmdir()
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


@pytest.mark.fault("P19")
def test_a_full_disk_moves_nothing_and_room_is_all_it_takes(
    calm_upstream: Upstream, mirror_of: MakeMirror, postgres: PostgresServer, small_disk: Path
) -> None:
    folder = small_disk / "space"
    folder.mkdir()
    owner = postgres.running.data_dir.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    space = f"small_{os.getpid()}"
    box = calm_upstream.mailbox(100)
    mirrored = mirror_of(box, page_size=20)
    mirrored.sync()
    mirrored.sql(f"create tablespace {space} location '{folder}'")
    mirrored.mirror.engine.dispose()
    mirrored.sql(f"alter table mail.messages set tablespace {space}")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    cursor = mirrored.one("select cursor from sync.cursors")
    before, raw = mirrored.live(), "From: a@b.c\nSubject: large\n\n" + "".join(f"{n:x} " for n in range(60_000))
    box.deliver(3, raw=raw)
    with pytest.raises(StoreUnavailableError) as full:
        mirrored.sync()
    assert full.value.sqlstate == "53100"
    assert mirrored.one("select cursor from sync.cursors") == cursor, "I2"
    assert mirrored.live() == before, "reads go on"
    assert mirrored.sql("select status, status_reason like '%%disk%%' from sync.accounts") == [("backing_off", True)]
    filler.unlink()
    recovers(mirrored)
    mirrored.mirror.engine.dispose()
    mirrored.sql("alter table mail.messages set tablespace pg_default")
    mirrored.sql(f"drop tablespace {space}")


@pytest.mark.fault("P15")
def test_postgres_away_at_the_end_of_a_run_leaves_no_lease_behind(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(120), page_size=20)
    url = sa.make_url(mirrored.database_url)
    assert url.port is not None
    with proxied(url.port) as proxy:
        mirrored.mirror.close()
        mirrored.settings = settings_for(
            url.set(port=proxy.port).render_as_string(hide_password=False),
            mirrored.box.upstream.url,
            mirrored.settings.data,
            page_size=20,
        )
        mirrored.mirror = Mirror.open(mirrored.settings)
        with at_commit(mirrored, 3, proxy.refuse) as observe, pytest.raises(StoreUnavailableError):
            sync(mirrored, observe)
        proxy.listen()
        recovers(mirrored)
        mirrored.mirror.close()


# --- other workers


@pytest.mark.fault("P7", "P8")
def test_copies_of_a_task_meet_the_lease_and_ask_for_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(60))
    at_work, refused_all = threading.Event(), threading.Event()

    def hold(_: Totals) -> None:
        at_work.set()
        refused_all.wait(60)

    first = threading.Thread(target=sync, args=(mirrored, hold), daemon=True)
    first.start()
    assert at_work.wait(60)
    epoch, refused = mirrored.one("select lease_epoch from sync.accounts"), 0
    other = Mirror.open(mirrored.settings)
    for _ in range(50):
        try:
            other.take_turn(mirrored.id, "live")
        except LeaseError:
            refused += 1
            other.unmark(mirrored.id, "live")
    epoch_after = mirrored.one("select lease_epoch from sync.accounts")
    refused_all.set()
    first.join(60)
    assert refused == 50
    assert other.requests == 0
    assert epoch_after == epoch
    other.close()
    recovers(mirrored)


def stop_between_transactions(mirrored: Mirrored, process: subprocess.Popen[str]) -> None:
    """Stop the process; in mid-transaction it would hold its row until Postgres ends the session after a minute."""
    busy = ("select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'mailmirror' and state <> 'idle'")  # fmt: skip
    while True:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if not mirrored.one(busy):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)


@pytest.mark.fault("P9")
def test_a_process_that_slept_beyond_its_lease_changes_nothing_when_it_wakes(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box, page_size=20)
    box.arm("slow_answer", route="list", at=4, count=4, args={"seconds": 1.5})
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MAILMIRROR_")}
    command = [sys.executable, "-m", "worker", "sync", str(mirrored.id)]
    environment = {**kept, **mirrored.environment(), "MAILMIRROR_PAGE_SIZE": "20"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            wait_until(lambda: box.fired("slow_answer"), "the process to be at work")
            stop_between_transactions(mirrored, process)
            with pytest.raises(LeaseHeldError):
                mirrored.sync()
            shift(mirrored, timedelta(seconds=91))
            box.churn(10, 1)
            box.calm()
            recovers(mirrored)
            before = mirrored.versions()
            positions = (
                mirrored.sql("select * from sync.cursors"),
                mirrored.sql("select * from sync.windows order by 2"),
            )
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode != 0, said
    assert "overtaken" in said
    assert mirrored.versions() == before, "I2, I3: not one row"
    assert positions == (mirrored.sql("select * from sync.cursors"),
                         mirrored.sql("select * from sync.windows order by 2"))  # fmt: skip
    recovers(mirrored)


@pytest.mark.fault("S10")
@pytest.mark.parametrize("purge", [True, False])
def test_an_account_that_is_removed_under_its_run_ends_it(
    calm_upstream: Upstream, mirror_of: MakeMirror, *, purge: bool
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(120), page_size=20)
    remove = at_commit(mirrored, 3, lambda: accounts.remove(mirrored.mirror.engine, mirrored.id, purge=purge))
    with remove as observe, pytest.raises(LeaseLostError):
        sync(mirrored, observe)
    before = mirrored.versions()
    if purge:
        for name in ("mail.messages", "mail.people", "sync.windows", "sync.cursors", "sync.accounts"):
            assert mirrored.one(f"select count(*) from {name}") == 0
    assert mirrored.versions() == before


@pytest.mark.fault("S3")
def test_an_account_that_always_fails_waits_longer_each_time_and_keeps_nobody_else_waiting(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    poison, sound = mirror_of(calm_upstream.mailbox(30)), mirror_of(calm_upstream.mailbox(30))
    poison.sql(f"alter table mail.messages add constraint odd check (account_id <> {poison.id})")
    pauses, failures = [], []
    for _ in range(6):
        assert poison.try_to_sync() is not None
        row = poison.sql("select extract(epoch from next_due_at - sync.now()), failures, status, status_reason"
                         " from sync.accounts where id = %s", poison.id)[0]  # fmt: skip
        pauses.append(float(row[0]))
        failures.append(row[1])
        assert (row[2], bool(row[3])) == ("backing_off", True)
    assert failures == [1, 2, 3, 4, 5, 6]
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(pauses))
    assert list(poison.mirror.pick("live")) == [sound.id], "the poison one is not due"
    recovers(sound)
    poison.sql("alter table mail.messages drop constraint odd")
    recovers(poison)
    assert poison.one("select failures from sync.accounts where id = %s", poison.id) == 0


@pytest.mark.fault("P29")
def test_no_advisory_lock_and_no_open_transaction_is_left_in_the_pool(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    box = calm_upstream.mailbox(60)
    mirrored = mirror_of(box)
    held: list[Any] = []
    look = "select count(*) from pg_locks where locktype = 'advisory'"
    sync(mirrored, lambda _: held.append(mirrored.one(look)))
    assert held
    assert set(held) == {0}
    left = "select state from pg_stat_activity where datname = current_database() and application_name = 'mailmirror'"
    assert {row[0] for row in mirrored.sql(left)} == {"idle"}
    recovers(mirrored)


@pytest.mark.fault("P28")
def test_processes_forked_after_the_app_was_loaded_have_connections_of_their_own(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    boxes = [calm_upstream.mailbox(30) for _ in range(4)]
    mirrors = [mirror_of(box) for box in boxes]
    program = (
        "import os, sys\n"
        "from worker import celery\n"
        "import sqlalchemy as sa\n"
        "assert celery._mirror is None\n"
        "for account in sys.argv[1:]:\n"
        "    if os.fork() == 0:\n"
        "        mirror = celery.mirror()\n"
        "        mirror.sync(int(account), stop=lambda: False)\n"
        "        with mirror.engine.connect() as connection:\n"
        "            os.write(1, b'%d\\n' % connection.scalar(sa.text('select pg_backend_pid()')))\n"
        "        os._exit(0)\n"
        "for _ in sys.argv[1:]:\n"
        "    assert os.wait()[1] == 0\n"
    )
    environment = {**os.environ, **mirrors[0].environment(), "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", program, *(str(mirrored.id) for mirrored in mirrors)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 4
    for mirrored in mirrors:
        recovers(mirrored)
