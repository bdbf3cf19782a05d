"""The search for canaries finds them: a leak of each kind, made on purpose, is seen."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from tests.acceptance.stage import ROOT, Mirrored, upstream
from tests.canary import ADDRESS, BODY, EVERY, TOKEN, LeakError, search, search_database, search_mirror, search_redis
from worker.local.valkey import RunningValkey

CONFTEST = "from tests.canary import canaries, pytest_runtest_makereport\n"
LEAKS = {
    "a logger": "import logging; logging.getLogger('any.where').debug('%s', {0!r})",
    "print": "print({0!r})",
    "an error's words": "from worker.errors import ThrottledError; ThrottledError({0!r}, retry_after=1, scope='app')",
    "a child that is listened to": "import subprocess, sys\n"
    "    subprocess.run([sys.executable, '-c', 'print(' + repr({0!r}) + ')'], capture_output=True)",
    "a child that shares our output": "import subprocess, sys\n"
    "    subprocess.run([sys.executable, '-c', 'print(' + repr({0!r}) + ')'], check=True)",
    "a logged traceback": "import logging\n    try: raise ValueError({0!r})\n"
    "    except ValueError: logging.exception('x')",
}


@pytest.mark.server
def test_what_is_said_during_a_test_fails_it_and_no_other(tmp_path: Path) -> None:
    tests = []
    for number, leak in enumerate(LEAKS.values()):
        for kind, word in (("harmless", "nothing at all"), ("harmful", BODY)):
            # In two halves, so that no source line that is shown holds the canary.
            body = leak.replace("{0!r}", f"'{word[:6]}' + '{word[6:]}'")
            tests.append(f"def test_{kind}_{number}() -> None:\n    {body}\n")
    (tmp_path / "conftest.py").write_text("from tests.canary import canaries, pytest_runtest_makereport\n")
    (tmp_path / "test_leaks.py").write_text("\n\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", "-rA",
               "--import-mode=importlib", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", done.stdout, re.MULTILINE))
    assert found == {f"test_harmful_{number}" for number in range(len(LEAKS))}, done.stdout
    assert BODY in done.stdout, "it shows where"


@pytest.mark.parametrize("canary", EVERY)
def test_a_canary_is_found_in_every_form(canary: str) -> None:
    for before in ("", "x", "xy", "xyz"):
        text = f"{before}{canary}1234 after"
        for form in (text, text.encode().hex(), base64.b64encode(text.encode()).decode()):
            with pytest.raises(LeakError):
                search("a text", form)
    search("a text", "canary canary-tok canary-address")


def test_a_table_that_holds_what_it_must_not_is_found(database: str, connection: psycopg.Connection) -> None:
    url = database.replace("+psycopg", "")
    connection.execute("insert into sync.accounts (kind, upstream_id) values ('kloudless', '1')")
    problem = "insert into sync.problems (account_id, kind, subject, cause, bytes) values (1, 'message', %s, %s, %s)"
    connection.execute(problem, ["m1", "odd", BODY.encode()])
    search_database(url)
    for values in (["m2", BODY, b""], [ADDRESS, "odd", b""], ["m3", "odd", f"Bearer {TOKEN}1".encode()]):
        connection.execute(problem, values)
        with pytest.raises(LeakError):
            search_database(url)
        connection.execute("delete from sync.problems where subject <> 'm1'")
    search_database(url)
    connection.execute("update sync.accounts set status_reason = %s", [f"refused {TOKEN}7"])
    with pytest.raises(LeakError):
        search_database(url)


def test_a_broker_that_holds_what_it_must_not_is_found(valkey: RunningValkey) -> None:
    message = json.dumps({"body": base64.b64encode(f'[["{TOKEN}1"], {{}}]'.encode()).decode()})
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("live", json.dumps({"body": base64.b64encode(b"[[1], {}]").decode()}))
        search_redis(valkey.url)
        for name, put in {
            "list": lambda key: client.lpush(key, message),
            "hash": lambda key: client.hset(key, "tag", message),
            "string": lambda key: client.set(key, BODY),
            "zset": lambda key: client.zadd(key, {ADDRESS: 1.0}),
            "set": lambda key: client.sadd(key, BODY),
            f"key {TOKEN}": lambda key: client.set(key, ""),
        }.items():
            put(name)  # type: ignore[no-untyped-call]  # of redis
            with pytest.raises(LeakError):
                search_redis(valkey.url)
            client.delete(name)
        search_redis(valkey.url)


@pytest.mark.server
def test_the_marks_are_in_the_mailbox_and_in_its_mirror_and_nowhere_else(database: str, tmp_path: Path) -> None:
    with upstream("--accounts", "0", module="tests.canary") as running:
        box = running.mailbox(60)
        box.set(token="renew")
        assert box.token.startswith(TOKEN)
        mirrored = Mirrored(database, running.mailbox(60), tmp_path)
        shown = json.dumps(mirrored.box.shown())
        assert BODY in shown
        assert ADDRESS in shown
        mirrored.sync()
        mirrored.must_be_equal()
        mirrored.close()
        held = mirrored.one("select count(*) from mail.messages where body || subject like %s", f"%{BODY}%")
        assert held > 40
        search_mirror(mirrored.plain_url, mirrored.environment())
        mirrored.sql("update mail.messages set text_body = %s where message_id = (select min(message_id)"
                     " from mail.messages)", mirrored.box.token)  # fmt: skip
        with pytest.raises(LeakError):
            search_mirror(mirrored.plain_url, mirrored.environment())
