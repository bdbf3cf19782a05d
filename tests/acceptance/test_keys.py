"""Keys change under a running sync; one that is missing stops its own accounts alone, and says so."""

import base64
from typing import Any

import pytest

from tests.acceptance.conftest import MakeMirror
from tests.acceptance.stage import Mirrored, Upstream
from worker.bootstrap import Totals, rotation
from worker.errors import UsageError
from worker.store import credentials

OLD, NEW = (f"{name}:{base64.b64encode(byte * 32).decode()}" for name, byte in (("k0", b"0"), ("k1", b"1")))


def sealed(mirrored: Mirrored) -> list[tuple[int, str]]:
    return [(int(number), str(key)) for number, key in
            mirrored.sql("select account_id, key_id from sync.credentials order by 1")]  # fmt: skip


def test_a_rotation_in_every_commit_of_a_sync_disturbs_nothing(calm_upstream: Upstream, mirror_of: MakeMirror) -> None:
    mirrored = mirror_of(calm_upstream.mailbox(300), keyring=f"{OLD},{NEW}", page_size=25)
    rings = [credentials.load_keys(mirrored.settings), credentials.KeyRing(credentials._parse(f"{NEW},{OLD}", "x"))]
    rotated = 0

    def observe(_: Totals) -> None:
        nonlocal rotated
        rotated += rotation.rotate(mirrored.mirror.engine, rings[(rotated + 1) % 2]).resealed

    assert mirrored.mirror.sync(mirrored.id, stop=lambda: False, observe=observe).quiet
    assert rotated >= 5, "it hardly happened"
    mirrored.must_be_equal()
    rotation.rotate(mirrored.mirror.engine, rings[1])
    mirrored.with_settings(keyring=NEW)
    mirrored.box.deliver(3)
    assert mirrored.sync().quiet
    mirrored.must_be_equal()


def test_without_a_key_its_accounts_fail_alone_and_visibly_and_come_back_with_it(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    of_old = mirror_of(calm_upstream.mailbox(20), keyring=OLD)
    of_new = mirror_of(calm_upstream.mailbox(20), keyring=f"{NEW},{OLD}")
    assert sealed(of_old) == [(of_old.id, "k0"), (of_new.id, "k1")]
    for mirrored in (of_old, of_new):
        mirrored.with_settings(keyring=NEW)
    assert of_new.sync().quiet
    of_new.must_be_equal()
    with pytest.raises(UsageError, match="key k0"):
        of_old.sync()
    standing = "select status, status_reason from sync.accounts where id = %s"
    assert of_old.sql(standing, of_old.id) == [("active", None)], "a person's shell is not the account's fault"
    with pytest.raises(UsageError, match="key k0"):
        of_old.mirror.take_turn(of_old.id, "live")
    status, reason = of_old.sql(standing, of_old.id)[0]
    assert status == "backing_off"
    assert "k0" in reason
    assert [kind for kind, _ in of_old.problems()] == ["account"]
    assert of_new.problems() == []
    of_old.with_settings(keyring=f"{NEW},{OLD}")
    assert of_old.sync().quiet
    of_old.must_be_equal()
    assert of_old.problems() == []


def test_a_ciphertext_put_into_another_account_s_row_opens_for_nobody(
    calm_upstream: Upstream, mirror_of: MakeMirror
) -> None:
    mine, other = (mirror_of(calm_upstream.mailbox(10), keyring=OLD) for _ in range(2))
    mine.sql("update sync.credentials c set nonce = o.nonce, ciphertext = o.ciphertext from sync.credentials o"
             " where c.account_id = %s and o.account_id = %s", mine.id, other.id)  # fmt: skip
    before: Any = mine.box.last_request()
    with pytest.raises(UsageError, match="cannot be opened"):
        mine.sync()
    assert mine.box.requests(before) == [], "another's token was sent"
    done = rotation.rotate(mine.mirror.engine, mine.mirror.keys)
    assert [token.account_id for token in done.unopened] == [mine.id]
