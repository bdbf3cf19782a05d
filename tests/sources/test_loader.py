import pytest

from worker.config import Settings
from worker.errors import UsageError
from worker.sources import kinds, open_source

LOCAL = Settings(kloudless_url="http://127.0.0.1:1/v1")


def test_a_source_is_found_by_the_name_of_its_module() -> None:
    source = open_source("kloudless", LOCAL, upstream_id="1001", token="t", service="gmail")
    source.close()
    assert "kloudless" in kinds()


@pytest.mark.parametrize("kind", ["imap", "_http", "", "kloudless.open", "../kloudless"])
def test_an_unknown_kind_names_the_known_ones(kind: str) -> None:
    with pytest.raises(UsageError, match="kloudless"):
        open_source(kind, LOCAL, upstream_id="1001", token="t")


@pytest.mark.parametrize(
    ("upstream_id", "token", "words"),
    [("me", None, "needs a token"), ("1001", None, "has no token"), ("../1", "t", "number"), ("", "t", "number")],
)
def test_an_account_that_cannot_be_asked_for_is_one_clear_sentence(
    upstream_id: str, token: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        open_source("kloudless", LOCAL, upstream_id=upstream_id, token=token)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "http://10.0.0.1/v1",
        "http://localhost.example.com/v1",
        "ftp://127.0.0.1/v1",
        "https://user:secret@api.example.com/v1",
        "https://api.example.com/v1?x=1",
        "https://api.example.com/v1#x",
        "https:///v1",
        "api.example.com",
        "https://[::1/v1",
        "https://api.example.com:99999/v1",
        "",
    ],
)
def test_an_address_that_is_unsafe_or_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError, match="MAILMIRROR_KLOUDLESS_URL") as refused:
        open_source("kloudless", Settings(kloudless_url=url), upstream_id="1", token="t")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8/v1", "http://localhost/v1/", "http://[::1]:9/v1", "https://a.b/v1"]
)
def test_https_anywhere_and_http_on_this_machine_are_fine(url: str) -> None:
    open_source("kloudless", Settings(kloudless_url=url), upstream_id="1", token="t").close()


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schlüssel", "tab\t"])
def test_a_token_no_header_can_carry_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_source("kloudless", LOCAL, upstream_id="1", token=token)
    assert not token or token not in str(refused.value)
