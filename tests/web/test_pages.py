"""The pages say how every account stands, take nothing for markup, and show no mail."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.web import scenes
from tests.web.serving import Client, served
from worker.config import Settings
from worker.store import overview
from worker.web import site

VOID = {"meta", "link", "input", "img", "br"}


class Checked(HTMLParser):
    """Reads a page, and fails for tags that are not closed, scripts, handlers and inline styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "img", "iframe", "style", "object"}
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        for name, value in attrs:
            if name in {"href", "src", "action"}:
                assert value is not None
                assert value.startswith(("/", "#")), value
                assert not value.startswith("//")
        self.tags.append(tag)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_without_accounts_it_says_how_to_add_one(client: Client) -> None:
    page = Checked(client.shown("/"))
    assert "No accounts yet. Add one: mailmirror accounts add" in page.text


def test_the_overview_says_how_each_account_stands(client: Client, connection: psycopg.Connection) -> None:
    found = scenes.everything(connection)
    page = Checked(client.shown("/"))
    for account_id in found.values():
        assert f'href="/accounts/{account_id}"' in client.shown("/")
    assert "person0@example.org" in page.text
    assert "The whole history has been walked; 1 window with a part unreadable." in page.text
    assert "Walked back to 2015-01-01; 1 window open, 1 window with a part unreadable." in page.text
    assert "needs a new token" in page.text
    assert f"mailmirror accounts token {found['auth_required']} --token-stdin" in page.text
    assert "10 min late" in page.text
    assert "last 3 min ago" in page.text
    assert "on time" in page.text
    assert "not known: REDIS_URL is not set" in page.text
    assert "An account has been due for 10 min, and nobody rang for it." in page.text


def test_the_overview_is_filtered_by_state(client: Client, connection: psycopg.Connection) -> None:
    scenes.everything(connection)
    text = client.shown("/?state=paused")
    assert re.findall(r'href="/accounts/(\d+)"', text) == ["6"]
    assert client.get("/?state=nonsense").code == 404
    assert client.get("/?state=%3Cscript%3E").code == 404


def test_an_account_s_page_shows_all_of_it(client: Client, connection: psycopg.Connection) -> None:
    found = scenes.everything(connection)
    page = Checked(client.shown(f"/accounts/{found['degraded']}"))
    for words in (
        "person1@example.org", "Because it is degraded.", "Walked back to 2015-01-01",
        "NOT equal, 1 d ago : 250 compared",
        "6 problems, the latest first", "unreadable message", "The message could not be read.", "waits for a person",
        "1 deletion held: mailmirror accounts confirm-deletes", "took 1 min", "Messages 3",
    ):  # fmt: skip
        assert words in page.text, words
    assert re.search(r"in 2[34] h|in 1 d", page.text)
    failed = Checked(client.shown(f"/accounts/{found['backing_off']}"))
    assert "The upstream answered 503." in failed.text
    assert "in 2 runs" in failed.text


@pytest.mark.parametrize(
    "path",
    ["/accounts/999", "/accounts/0", f"/accounts/{'9' * 30}", "/accounts/x", "/accounts/1;drop", "/nothing", "/../etc",
     "/?page=x", "/?page=-1", "/accounts/1?retried=x", "/static/style.css", "/site.py"],
)  # fmt: skip
def test_what_is_not_there_is_said_in_a_sentence(client: Client, connection: psycopg.Connection, path: str) -> None:
    scenes.account(connection, 1)
    answer = client.get(path)
    assert answer.code == 404
    assert "Traceback" not in answer.text
    Checked(answer.text)
    assert len(client.get(path, Accept="*/*").text.splitlines()) == 1


def test_no_page_contains_mail(
    guarded: Client, client: Client, connection: psycopg.Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    found = scenes.everything(connection)
    guarded.sign_in()
    paths = ["/", "/?page=2", "/metrics", "/healthz", "/readyz", "/sign-in", *(f"/?state={state}" for state in found)]
    paths += [f"/accounts/{account_id}" for account_id in found.values()]
    for asking in (client, guarded):
        for path in paths:
            answer = asking.get(path)
            assert answer.code in {200, 303}, (path, answer)
            assert scenes.MAIL not in f"{answer.text}{answer.headers}", path
    assert scenes.MAIL not in "".join(capfd.readouterr())


def test_markup_in_what_others_chose_stays_text(client: Client, connection: psycopg.Connection) -> None:
    account_id = scenes.account(connection, 1, "backing_off", address=scenes.MARKUP, reason=scenes.MARKUP)
    connection.execute("UPDATE sync.accounts SET tenant_id = %s, service = %s", [scenes.MARKUP, scenes.MARKUP])
    scenes.ledger(connection, account_id)
    scenes.problem(connection, account_id, subject=scenes.MARKUP, cause=scenes.MARKUP)
    scenes.run(connection, account_id, "failed", scenes.MARKUP)
    connection.execute("INSERT INTO sync.throttles VALUES (%s, now() + interval '1 hour', %s)", [scenes.MARKUP] * 2)
    for path in ("/", f"/accounts/{account_id}", "/?state=backing_off"):
        text = client.shown(path)
        page = Checked(text)
        assert "<script>alert('x')" in page.text
        assert "&lt;script&gt;" in text


def test_signs_that_turn_the_text_around_are_shown_as_such(client: Client, connection: psycopg.Connection) -> None:
    scenes.account(connection, 1, address="a\u202egro.elpmaxe@b\x1b[2J")
    text = client.shown("/")
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_a_large_fleet_is_paged(client: Client, connection: psycopg.Connection) -> None:
    for number in range(1, 253):
        scenes.account(connection, number, "paused" if number % 2 else "active")
    first, last = client.shown("/"), client.shown("/?page=3")
    assert len(re.findall(r'<th role="rowheader"', first)) == 100
    assert len(re.findall(r'<th role="rowheader"', last)) == 52
    assert "Accounts 201 to 252 of 252, by number" in last
    assert "Page 3 of 3" in last
    assert 'rel="next"' not in last
    assert 'href="/?state=paused&amp;page=2"' in client.shown("/?state=paused")
    assert "Accounts 101 to 126 of 126" in client.shown("/?state=paused&page=2")
    assert "There is no page 100,000." in client.shown(f"/?page={10**9}")


@contextmanager
def counted(engine: sa.Engine) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield said
    sa.event.remove(engine, "before_cursor_execute", note)


def test_a_page_is_two_statements_however_many_accounts(database: str, connection: psycopg.Connection) -> None:
    engine = overview.reading(database)
    scenes.many(connection, 300)
    with counted(engine) as said:
        page = overview.page(engine, number=2)
    engine.dispose()
    assert len(page.accounts) == 100
    assert page.fleet.statuses == {"active": 270, "auth_required": 30}
    assert [statement.split()[0] for statement in said] == ["SELECT", "WITH", "WITH"]
    assert "set_config('statement_timeout'" in said[0]


def rows_read(plan: dict[str, Any], table: str) -> float:
    """How many rows of a table the plan's scans gave, and threw away."""
    own = 0.0
    if plan.get("Relation Name") == table:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_read(part, table) for part in plan.get("Plans", ()))


def test_a_page_reads_the_ledgers_runs_and_mail_of_its_own_accounts_alone(
    database: str, connection: psycopg.Connection
) -> None:
    scenes.many(connection, 1000)
    scenes.more_mail(connection, 1, 50)
    scenes.more_mail(connection, 900, 5000)
    connection.execute("VACUUM ANALYZE")
    engine = overview.reading(database)
    place = {"id": None, "status": None, "most": overview.PAGE, "passed": 100, "count": True, "recent": "1 hour"}
    with engine.connect() as reading:
        answer = reading.execute(sa.text("EXPLAIN (ANALYZE, FORMAT JSON) " + overview.ACCOUNTS.text), place)
        plan = answer.scalar_one()[0]["Plan"]
    engine.dispose()
    assert rows_read(plan, "windows") == 100 * 20
    assert rows_read(plan, "runs") <= 100 * 5
    assert rows_read(plan, "messages") == 0, "the one large account is on another page"
    assert rows_read(plan, "problems") <= 1000 / 20


def test_pages_are_read_in_sessions_that_cannot_write(database: str, connection: psycopg.Connection) -> None:
    scenes.account(connection, 1)
    engine = overview.reading(database)
    with pytest.raises(sa.exc.InternalError, match="read-only transaction"), engine.connect() as reading:
        reading.execute(sa.text("UPDATE sync.accounts SET status = 'gone'"))
    engine.dispose()


def test_messages_that_take_too_long_to_count_are_left_out(
    client: Client, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = scenes.account(connection, 1)
    scenes.mail(connection, account_id, 1)
    monkeypatch.setattr(overview, "COUNTING", "300ms")
    connection.execute("ALTER TABLE mail.messages RENAME TO counted")
    connection.execute(
        "CREATE VIEW mail.messages AS SELECT * FROM mail.counted WHERE account_id IS NOT NULL AND"
        " (current_setting('statement_timeout') <> '300ms' OR pg_sleep(5) IS NOT NULL)"
    )
    connection.execute("GRANT SELECT ON mail.messages TO mailmirror_worker")
    assert "Counting the messages of these accounts took too long" in client.shown("/")
    assert "too many to count in time" in client.shown(f"/accounts/{account_id}")


def test_a_page_never_waits_for_long(client: Client, connection: psycopg.Connection) -> None:
    scenes.account(connection, 1)
    with connection.transaction():
        connection.execute("LOCK TABLE sync.accounts")  # as a migration does
        answer = client.get("/")
        assert (answer.code, client.get("/healthz").code) == (503, 200)
        assert "Postgres did not answer in time. Try again." in answer.text
        assert "mailmirror_database_up 0\n" in client.get("/metrics").text
    assert client.get("/").code == 200


def test_a_page_gives_up_where_postgres_itself_does_not(
    client: Client, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "DEADLINE", 0.5)
    with connection.transaction():
        connection.execute("LOCK TABLE sync.accounts")
        answer = client.get("/")
        assert answer.code == 503
        assert "Postgres did not answer in time." in answer.text


def test_a_database_without_our_tables_is_told_so(empty_database: str) -> None:
    with served(Settings(database_url=empty_database)) as page:
        client = Client(page.port)
        assert client.get("/healthz").code == 200
        answer = client.get("/readyz")
        assert (answer.code, answer.text) == (
            503,
            "The database has no mailmirror schema yet. Run: mailmirror migrate\n",
        )
        assert "Run: mailmirror migrate" in client.get("/").text


def test_a_database_that_is_away_is_said_without_its_address() -> None:
    away = f"postgresql://somebody:{'canary'}@127.0.0.1:1/canary-name"
    with served(Settings(database_url=away)) as page:
        client = Client(page.port)
        assert client.get("/healthz").code == 200
        for path in ("/", "/accounts/1", "/readyz"):
            answer = client.get(path)
            assert answer.code == 503
            assert "Postgres does not answer." in answer.text
            assert "canary" not in answer.text
            assert "127.0.0.1" not in answer.text
        assert "mailmirror_database_up 0\n" in client.shown("/metrics")
