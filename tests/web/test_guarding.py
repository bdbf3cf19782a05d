"""Only pages of ours can act, only people with the token can make them, and browsers are told to be strict."""

import re

import psycopg
import pytest

from tests.web import scenes
from tests.web.serving import TOKEN, Client, served
from worker.config import Settings


@pytest.fixture
def trouble(connection: psycopg.Connection) -> tuple[int, int]:
    """An account, and a problem of it that is tried again tomorrow."""
    account_id = scenes.account(connection, 1)
    return account_id, scenes.problem(connection, account_id, "pending")


def is_due(connection: psycopg.Connection, problem: int) -> bool:
    row = connection.execute("SELECT not_before <= now() FROM sync.problems WHERE id = %s", [problem]).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("path", ["/", "/nothing", "/metrics", "/healthz", "/sign-in", "/style.css", "/accounts/1"])
def test_every_answer_binds_the_browser(guarded: Client, path: str) -> None:
    headers = guarded.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == ("max-age=3600" if path == "/style.css" else "no-store")
    assert "Server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", ""])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/style.css"])
def test_another_name_is_refused_whatever_is_asked(client: Client, host: str, path: str) -> None:
    answer = client.get(path, Host=host)
    assert answer.code in {400, 421}
    assert "example" not in answer.text
    assert "mailmirror_" not in answer.text


def test_a_name_that_was_given_is_known(settings: Settings) -> None:
    with served(settings, names=("mirror.example.org",)) as page:
        assert Client(page.port).get("/", Host="mirror.example.org").code == 200


def test_without_a_token_nothing_can_be_changed(
    client: Client, connection: psycopg.Connection, trouble: tuple[int, int]
) -> None:
    account_id, problem = trouble
    assert "<form" not in client.shown(f"/accounts/{account_id}")
    for path in (f"/accounts/{account_id}/retry", f"/accounts/{account_id}/problems/{problem}/retry", "/sign-out"):
        answer = client.send(path, {"mark": "x"})
        assert answer.code == 403
        assert "read-only" in answer.text
    assert client.get("/sign-in").code == 303
    assert client.get(f"/accounts/{account_id}/retry").code == 405
    assert not is_due(connection, problem)


def test_with_a_token_every_page_wants_it(guarded: Client, trouble: tuple[int, int]) -> None:
    for path in ("/", "/?state=active", f"/accounts/{trouble[0]}"):
        answer = guarded.get(path)
        assert (answer.code, answer.headers["Location"], answer.text) == (303, "/sign-in", "")


def test_signing_in_and_out(guarded: Client) -> None:
    answer = guarded.sign_in()
    assert (answer.code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    mine = guarded.cookie
    page = guarded.get("/")
    assert page.code == 200
    assert guarded.send("/sign-out", {"mark": "wrong"}).code == 403
    assert guarded.send("/sign-out", {"mark": page.mark}).code == 303
    assert guarded.cookie != mine
    assert guarded.get("/").code == 303


def test_behind_encryption_the_cookie_stays_there(guarded: Client) -> None:
    cookie = guarded.get("/sign-in", X_Forwarded_Proto="https").headers["Set-Cookie"]
    assert "Secure" in cookie


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper()])
def test_a_wrong_token_lets_nobody_in(guarded: Client, token: str, capfd: pytest.CaptureFixture[str]) -> None:
    answer = guarded.sign_in(token)
    assert answer.code == 403
    assert "This is not the token." in answer.text
    assert not token or token not in answer.text
    assert guarded.get("/").code == 303
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_sign_in_form_of_another_browser_is_refused(guarded: Client) -> None:
    other = Client(guarded.port)
    mark = other.get("/sign-in").mark
    guarded.get("/sign-in")
    assert guarded.send("/sign-in", {"mark": mark, "token": TOKEN}).code == 403
    assert Client(guarded.port).send("/sign-in", {"mark": mark, "token": TOKEN}).code == 403


def test_a_problem_is_tried_again_from_its_account_s_page(
    guarded: Client, connection: psycopg.Connection, trouble: tuple[int, int]
) -> None:
    account_id, problem = trouble
    guarded.sign_in()
    page = guarded.get(f"/accounts/{account_id}")
    path = f"/accounts/{account_id}/problems/{problem}/retry"
    assert f'action="{path}"' in page.text
    answer = guarded.send(path, {"mark": page.mark})
    assert (answer.code, answer.headers["Location"]) == (303, f"/accounts/{account_id}?retried=1")
    assert "1 problem is due now." in guarded.shown(answer.headers["Location"])
    assert is_due(connection, problem)


def test_all_problems_of_one_account_are_tried_again_and_of_no_other(
    guarded: Client, connection: psycopg.Connection, trouble: tuple[int, int]
) -> None:
    account_id, problem = trouble
    held = scenes.problem(connection, account_id, "held_delete")
    other = scenes.problem(connection, scenes.account(connection, 2), "pending")
    guarded.sign_in()
    page = guarded.get(f"/accounts/{account_id}")
    assert f"/problems/{held}/retry" not in page.text
    answer = guarded.send(f"/accounts/{account_id}/retry", {"mark": page.mark})
    assert answer.headers["Location"].endswith("?retried=1")
    assert [is_due(connection, each) for each in (problem, held, other)] == [True, False, False]


def test_a_form_that_no_page_of_ours_sent_is_refused(
    guarded: Client, connection: psycopg.Connection, trouble: tuple[int, int]
) -> None:
    account_id, problem = trouble
    path = f"/accounts/{account_id}/problems/{problem}/retry"
    stranger = Client(guarded.port)
    theirs = stranger.get("/sign-in").mark
    assert stranger.send(path, {"mark": theirs}).code == 403, "a form of somebody who has not signed in"
    guarded.sign_in()
    mark = guarded.get("/").mark
    refused = [
        guarded.send(path, {}),
        guarded.send(path, {"mark": theirs}),
        guarded.send(path, {"mark": mark}, Origin="http://evil.example"),
        guarded.send(path, {"mark": mark}, Sec_Fetch_Site="cross-site"),
        guarded.send(path, {"mark": mark, "padding": "x" * 5000}),
        guarded.send(path, {"mark": mark}, Host="evil.example"),
    ]
    assert [answer.code for answer in refused] == [403, 403, 403, 403, 413, 421]
    assert not is_due(connection, problem)
    assert guarded.send(f"/accounts/{account_id}/problems/999/retry", {"mark": mark}).code == 404
    assert guarded.send(path, {"mark": mark}, Origin="null", Sec_Fetch_Site="same-origin").code == 303
    assert is_due(connection, problem)


def test_beyond_this_machine_programs_need_the_token_too(database: str) -> None:
    with served(Settings(database_url=database, web_token=TOKEN), host="0.0.0.0") as page:  # the port is a test's own
        client = Client(page.port)
        for path in ("/metrics", "/healthz", "/readyz"):
            answer = client.get(path)
            assert (answer.code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "mailmirror_" not in answer.text
            assert client.get(path, Authorization="Bearer wrong").code == 401
            assert client.get(path, Authorization=f"Bearer {TOKEN}").code == 200


def test_on_this_machine_programs_need_no_token(guarded: Client) -> None:
    assert [guarded.get(path).code for path in ("/metrics", "/healthz", "/readyz")] == [200, 200, 200]


def test_nothing_on_a_page_comes_from_elsewhere(client: Client) -> None:
    for path in ("/", "/style.css", "/icon.svg"):
        text = client.shown(path)
        assert re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.]+", text) == []
        assert "@import" not in text
