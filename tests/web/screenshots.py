"""`python -m tests.web.screenshots`: draws the pictures of docs/screenshots from made-up accounts, in real Chromium."""

import sys
from pathlib import Path

import msgspec
import psycopg
from playwright.sync_api import Browser, ViewportSize

from tests.conftest import as_superuser, prepare
from tests.web import browsing, scenes
from tests.web.serving import TOKEN, Client, served
from worker.config import Settings
from worker.local.postgres import THROW_AWAY, start
from worker.local.valkey import start_valkey

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
DESK: ViewportSize = {"width": 1200, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}
MESSAGES = (48_210, 12_644, 9_000, 31_377, 2_005, 640)
REASONS = {
    "degraded": "The upstream tells of no changes, so the mailbox is listed instead.",
    "backing_off": "The upstream answered 503.",
    "auth_required": "The upstream refuses the account's token.",
    "gone": "The upstream does not know this account.",
    "paused": "Paused by a person.",
}
NAMES = ("ada", "grace", "edsger", "barbara", "donald", "frances")


def main() -> int:
    """Fill a database of its own, and draw each page."""
    path = browsing.find_or_none()
    if path is None:
        sys.stderr.write("There is no Chromium on this machine (Debian: apt install chromium).\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with start(settings=THROW_AWAY) as running, start_valkey() as valkey:
        url = prepare(running.url)
        settings = Settings(database_url=url, redis_url=valkey.url)
        with psycopg.connect(as_superuser(url), autocommit=True) as connection:
            account_id = _made_up(connection)
        with browsing.chromium(path) as browser:
            with served(settings) as page:
                _draw(browser, page.port, account_id)
            with served(msgspec.structs.replace(settings, web_token=TOKEN)) as page:
                _draw_problems(browser, Client(page.port), account_id)
    return 0


def _made_up(connection: psycopg.Connection) -> int:
    """Fill the database; returns the account with everything."""
    numbers = list(scenes.everything(connection).values())
    for number, name, messages in zip(numbers, NAMES, MESSAGES, strict=True):
        scenes.more_mail(connection, number, messages)
        connection.execute("UPDATE sync.accounts SET address = %s WHERE id = %s", [f"{name}@example.org", number])
    for status, reason in REASONS.items():
        connection.execute("UPDATE sync.accounts SET status_reason = %s WHERE status = %s", [reason, status])
    connection.execute(
        "UPDATE sync.problems SET subject = 'm' || 4711 * id, last_seen_at = now() - id * interval '7 min'"
    )
    connection.execute(
        "UPDATE sync.windows SET state = 'open'"
        " WHERE account_id = ANY (%s) AND after BETWEEN '2015-12-01' AND '2019-12-01'",
        [numbers[1::2]],
    )
    connection.execute(
        "UPDATE sync.accounts SET next_due_at = now() + interval '9 s', polled_at = now() - interval '40 s',"
        " queued_until = now() + interval '26 s', lease_owner = 'host:1:2', lease_until = now() + interval '1 min'"
        " WHERE id = ANY (%s)",
        [numbers[:2]],
    )
    connection.execute("ANALYZE")
    return numbers[1]


def _draw(browser: Browser, port: int, account_id: int) -> None:
    for name, path, scheme, size in (
        ("overview-light", "/", "light", DESK),
        ("overview-dark", "/", "dark", DESK),
        ("overview-phone", "/", "light", PHONE),
        ("account-light", f"/accounts/{account_id}", "light", DESK),
        ("account-phone-dark", f"/accounts/{account_id}", "dark", PHONE),
    ):
        context = browser.new_context(color_scheme=scheme, viewport=size, java_script_enabled=False)  # type: ignore[arg-type]  # one of its words, and a size
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}{path}")
        page.screenshot(path=FOLDER / f"{name}.png")
        context.close()


def _draw_problems(browser: Browser, client: Client, account_id: int) -> None:
    """The part of a page that is there only for those who have signed in."""
    context = browser.new_context(color_scheme="light", viewport=DESK, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{client.port}/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"http://127.0.0.1:{client.port}/accounts/{account_id}#problems")
    page.screenshot(path=FOLDER / "problems-light.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
