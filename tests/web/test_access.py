"""Who is let in: tokens, cookies, forms and names, without a server."""

import pytest

from worker.errors import UsageError
from worker.web.access import SESSION_SECONDS, Access

TOKEN = "just-twenty-letters!"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "mail.example.org", ""])
def test_beyond_this_machine_only_with_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="MAILMIRROR_WEB_TOKEN"):
        Access(host)
    assert not Access(host, TOKEN).loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST."])
def test_this_machine_alone_needs_none(host: str) -> None:
    access = Access(host)
    assert access.loopback
    assert not access.with_token
    assert not access.knows("")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_short_token_is_refused_everywhere(host: str) -> None:
    with pytest.raises(UsageError, match="at least 20 characters"):
        Access(host, TOKEN[:-1])


def test_only_the_whole_token_is_known() -> None:
    access = Access("127.0.0.1", TOKEN)
    assert access.knows(TOKEN)
    assert not any(map(access.knows, ("", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é" * 20)))
    assert access.admits(f"Bearer {TOKEN}")
    assert access.admits(f"bearer  {TOKEN}")
    assert not any(map(access.admits, ("", TOKEN, "Bearer", f"Basic {TOKEN}", "Bearer x")))


def test_a_cookie_is_good_until_its_end_and_for_one_token() -> None:
    clock = Clock()
    access = Access("127.0.0.1", TOKEN, clock=clock)
    cookie = access.cookie("in")
    assert access.visitor(cookie) == "in"
    assert access.visitor(access.cookie("form")) == "form"
    assert Access("127.0.0.1", f"{TOKEN}x", clock=clock).visitor(cookie) is None
    assert Access("127.0.0.1", TOKEN, clock=clock).visitor(cookie) == "in", "it outlives a restart"
    clock.now += SESSION_SECONDS + 1
    assert access.visitor(cookie) is None


def test_a_cookie_cannot_be_made_or_changed() -> None:
    access = Access("127.0.0.1", TOKEN)
    cookie = access.cookie("form")
    facts, _, signature = cookie.rpartition(".")
    forged = [
        f"in{facts[4:]}.{signature}",
        facts,
        f"{facts}.",
        f".{signature}",
        "",
        "x",
        "...",
        f"{cookie}0",
        "é.é.é.é",
    ]
    assert [each for each in forged if access.visitor(each) is not None] == []


def test_a_mark_belongs_to_one_cookie() -> None:
    access = Access("127.0.0.1", TOKEN)
    mine, other = access.cookie("in"), access.cookie("in")
    assert access.marked(mine, access.mark(mine))
    assert not access.marked(mine, access.mark(other))
    assert not access.marked(mine, "")
    assert not access.marked("x", access.mark("x"))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8025", "127.0.0.1:1", "[::1]:8025", "LocalHost:8025", "127.0.0.1"]
)
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert Access("127.0.0.1").known_as(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "evil.example:8025", "127.0.0.1.evil.example", "192.0.2.7",
     "localhost@evil.example", "localhost/x", "localhost, evil.example", "[::1", "localhost:x", "0.0.0.0"],
)  # fmt: skip
def test_any_other_name_is_refused(host: str) -> None:
    assert not Access("127.0.0.1").known_as(host)


def test_beyond_this_machine_addresses_and_named_names_are_known() -> None:
    access = Access("0.0.0.0", TOKEN, ("Mirror.Example.org",))
    assert all(map(access.known_as, ("192.0.2.7:8025", "mirror.example.org", "localhost:8025", "[2001:db8::1]:80")))
    assert not access.known_as("evil.example")


@pytest.mark.parametrize(
    ("origin", "site", "ours"),
    [
        ("", "", True),
        ("http://localhost:8025", "same-origin", True),
        ("null", "same-origin", True),
        ("http://evil.example", "", False),
        ("http://localhost:9999", "", False),
        ("", "cross-site", False),
        ("null", "same-site", False),
        ("http://localhost:8025", "none", False),
    ],
)
def test_a_form_comes_from_a_page_of_ours(origin: str, site: str, *, ours: bool) -> None:
    assert Access("localhost", TOKEN).same_site("localhost:8025", origin, site) is ours
