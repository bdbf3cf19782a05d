"""A migration while accounts are being mirrored: it holds nobody up, gives way, and the release before it goes on."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import ROOT, Mirrored, Upstream
from tests.faults.scenes import at_commit, recovers, sync
from worker.errors import StoreUnavailableError
from worker.store import migrations

LATER = '''
"""What a later release might add."""

from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE sync.seen AS SELECT current_setting('lock_timeout') AS lock_timeout")
    op.execute("ALTER TABLE mail.messages ADD COLUMN more text")
    op.execute("ALTER TABLE sync.accounts ADD COLUMN more text NOT NULL DEFAULT ''")
    op.execute("CREATE INDEX ON mail.messages (account_id, more)")
'''
LIVE = "select * from mail.messages, sync.accounts, sync.windows limit 1 for update"


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mirrored], None]:
    """Migrate as a program would that has one revision more."""
    folder = tmp_path / "alembic"
    shutil.copytree(ROOT / "alembic", folder)
    (folder / "versions" / "9999_later.py").write_text(LATER.format(head=migrations.head()))

    def upgrade(mirrored: Mirrored) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "_scripts", lambda: folder)
            migrations.upgrade(mirrored.plain_url.replace("postgresql://", "postgresql+psycopg://", 1))

    return upgrade


def revision(mirrored: Mirrored) -> str:
    return str(mirrored.one("select version_num from sync.alembic_version"))


def migrate(mirrored: Mirrored) -> subprocess.CompletedProcess[str]:
    environment = {**mirrored.environment(), "DATABASE_URL": mirrored.plain_url}
    command = [sys.executable, "-m", "worker", "migrate"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.fault("P22")
def test_a_migration_with_nothing_to_do_neither_waits_for_the_living_nor_holds_them_up(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(200), page_size=20)
    found: list[subprocess.CompletedProcess[str]] = []

    def act() -> None:
        with psycopg.connect(mirrored.plain_url) as writer:
            writer.execute(LIVE)
            found.append(migrate(mirrored))

    with at_commit(mirrored, 4, act) as observe:
        assert sync(mirrored, observe).quiet
    assert [done.returncode for done in found] == [0], found[0].stderr
    recovers(mirrored)


@pytest.mark.fault("P22")
def test_a_migration_in_mid_sync_and_a_worker_of_the_release_before(
    calm_upstream: Upstream, mirror_of: MakeMirror, later_release: Callable[[Mirrored], None]
) -> None:
    box = calm_upstream.mailbox(200)
    mirrored = mirror_of(box, page_size=20)
    with at_commit(mirrored, 4, lambda: later_release(mirrored)) as observe:
        assert sync(mirrored, observe).quiet
    assert mirrored.sql("select lock_timeout from sync.seen") == [("5s",)]
    assert revision(mirrored) == "9999"
    box.churn(20, 1)
    recovers(mirrored)
    mirrored.sql("update sync.alembic_version set version_num = %s", migrations.head())  # read by this release again


@pytest.mark.fault("P22")
def test_a_migration_that_meets_a_long_commit_gives_way_and_changes_nothing(
    calm_upstream: Upstream, mirror_of: MakeMirror, later_release: Callable[[Mirrored], None]
) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(60))
    mirrored.sync()
    before = revision(mirrored)
    failed: list[str] = []

    def upgrade() -> None:
        try:
            later_release(mirrored)
        except StoreUnavailableError as error:
            failed.append(str(error))

    with psycopg.connect(mirrored.plain_url) as writer:
        writer.execute("select * from mail.messages limit 1 for update")
        migration = threading.Thread(target=upgrade)
        migration.start()
        migration.join(60)
    assert failed == ["A table is in use, so nothing was migrated. Try again: mailmirror migrate"]
    assert revision(mirrored) == before
    assert mirrored.sql("select to_regclass('sync.seen')") == [(None,)]
    recovers(mirrored)


def test_no_revision_waits_longer_than_all_do() -> None:
    for script in (ROOT / "alembic" / "versions").iterdir():
        if script.is_file():
            assert "lock_timeout" not in script.read_text(), f"{script.name}: alembic/env.py sets it for all"
