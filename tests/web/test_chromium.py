"""The pages in real Chromium: without JavaScript, light and dark, on a phone, by keyboard."""

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, Page

from tests.web import browsing, scenes
from tests.web.serving import TOKEN, Client, served
from worker.config import Settings

pytestmark = pytest.mark.server

PHONE = {"width": 390, "height": 844}
CONTRAST = 4.5
"""Of text against its ground, as WCAG 2 asks for at level AA."""

SMALLEST_CONTRAST = """
() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(color).map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  let worst = [99, ''];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || node.closest('svg')) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < worst[0]) worst = [contrast, node.outerHTML.slice(0, 200)];
  }
  return worst;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium(browsing.find()) as found:
        yield found


def opened(browser: Browser, client: Client, path: str, **options: object) -> Page:
    """Open a page; fails for whatever the browser complains of while it loads."""
    said: list[str] = []
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]  # the options of a context, by name
    page.set_default_timeout(30_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))
    answer = page.goto(f"http://127.0.0.1:{client.port}{path}")
    assert answer is not None
    assert answer.ok
    assert said == []
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desk"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_every_page_can_be_read(
    browser: Browser,
    client: Client,
    connection: psycopg.Connection,
    scheme: str,
    size: dict[str, int],
    *,
    scripts: bool,
) -> None:
    found = scenes.everything(connection)
    for path in ("/", f"/accounts/{found['degraded']}"):
        page = opened(browser, client, path, color_scheme=scheme, viewport=size, java_script_enabled=scripts)
        assert page.locator("h1").is_visible()
        assert page.locator("main").is_visible()
        assert page.locator("svg[role=img]").first.is_visible()
        if scripts:
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is wider than the screen by {wide}"
            contrast, where = page.evaluate(SMALLEST_CONTRAST)
            assert contrast >= CONTRAST, where
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")
        page.context.close()


def test_what_a_screen_reader_finds(browser: Browser, client: Client, connection: psycopg.Connection) -> None:
    scenes.everything(connection)
    for size in (PHONE, {"width": 1280, "height": 900}):
        page = opened(browser, client, "/", viewport=size)
        for landmark in ("banner", "main", "contentinfo", "navigation"):
            assert page.get_by_role(landmark).count() >= 1, landmark
        assert page.get_by_role("table").count() == 1
        assert page.get_by_role("columnheader").count() == 7
        assert page.get_by_role("rowheader").count() == 6
        assert page.get_by_role("cell").count() == 36
        assert page.get_by_role("img", name="The whole history has been walked").count() == 3
        page.context.close()


def test_a_person_signs_in_and_tries_a_problem_again_by_keyboard_alone(
    browser: Browser, database: str, connection: psycopg.Connection
) -> None:
    account_id = scenes.account(connection, 1)
    problem = scenes.problem(connection, account_id)
    with served(Settings(database_url=database, web_token=TOKEN)) as serving:
        page = opened(browser, Client(serving.port), "/", java_script_enabled=False, viewport=PHONE)
        assert page.title() == "Sign in - mailmirror"
        page.keyboard.type(TOKEN)  # the field has the focus
        page.keyboard.press("Enter")
        page.get_by_role("link", name="person1@example.org").focus()
        page.keyboard.press("Enter")
        button = page.get_by_role("button", name=f"Try problem {problem} again")
        button.focus()
        page.keyboard.press("Enter")
        page.get_by_role("status").wait_for()
        assert page.get_by_role("status").inner_text() == "1 problem is due now."
        assert page.get_by_role("cell", name="due now").count() == 1
        page.get_by_role("button", name="Sign out").click()
        assert page.title() == "Sign in - mailmirror"
        page.goto(f"http://127.0.0.1:{serving.port}/accounts/{account_id}")
        assert page.title() == "Sign in - mailmirror"
        page.context.close()


def test_markup_of_others_does_nothing(browser: Browser, client: Client, connection: psycopg.Connection) -> None:
    account_id = scenes.account(connection, 1, "backing_off", address=scenes.MARKUP, reason=scenes.MARKUP)
    scenes.problem(connection, account_id, subject=scenes.MARKUP, cause=scenes.MARKUP)
    for path in ("/", f"/accounts/{account_id}"):
        page = opened(browser, client, path)
        assert page.locator("script, main img").count() == 0
        assert "<script>alert('x')" in page.locator("main").inner_text()
        page.context.close()
