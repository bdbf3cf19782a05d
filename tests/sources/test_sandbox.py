"""The source against the sandbox, which shares no code with it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.config import Settings
from worker.errors import CredentialRefusedError, CursorLostError, NotFoundError, PageTokenLostError
from worker.ports import Source
from worker.records import Cursor, Message, PageToken
from worker.sandbox import Sandbox, SandboxOptions, running
from worker.sources import kloudless, open_source
from worker.sources._timestamps import EARLIEST, LATEST

pytestmark = pytest.mark.server
NOW = datetime(2024, 6, 5, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running(SandboxOptions(now=NOW, messages=130, services=("gmail", "outlook_email", "imap"), accounts=3)) as one:
        yield one


@pytest.fixture
def settings(sandbox: Sandbox) -> Settings:
    return Settings(kloudless_url=sandbox.url, keep_raw=True)


@pytest.fixture
def gmail(sandbox: Sandbox, settings: Settings) -> Iterator[Any]:
    account = sandbox.account_ids[0]
    source = open_source("kloudless", settings, upstream_id=str(account), token=sandbox.token(account))
    yield source
    source.close()
    sandbox.admin("/faults/clear", {})


def walk(source: Source, size: int) -> list[Message]:
    messages: list[Message] = []
    token: PageToken | None = None
    while True:
        page = source.window(EARLIEST, LATEST, token, size)
        assert page.rejected == ()
        messages += page.messages
        token = page.next_page
        if token is None:
            return messages


def test_a_walk_reads_every_message_as_the_sandbox_holds_it(sandbox: Sandbox, settings: Settings) -> None:
    for account in sandbox.account_ids:
        source = open_source("kloudless", settings, upstream_id=str(account), token=sandbox.token(account))
        read = {message.id: message for message in walk(source, 40)}
        head, truth = sandbox.truth(account)
        held = {one["id"]: one for one in truth}
        assert read.keys() == held.keys()
        assert len(read) == head["count"] == 130
        for identifier, one in held.items():
            message = read[identifier]
            assert message.altered == ()
            assert message.subject == one["subject"]
            assert message.body == one["body"]
            assert message.text_body == one["text_body"]
            assert message.raw is not None
            assert source.message(identifier).to == message.to
        source.close()


def test_activity_goes_on_from_its_cursor(sandbox: Sandbox, gmail: Any) -> None:
    gmail.start_activity()
    cursor: Cursor | None = None
    while (page := gmail.activity(cursor)).count:
        cursor = page.cursor
    delivered = sandbox.admin(f"/accounts/{sandbox.account_ids[0]}/deliver", {"count": 2})["message_ids"]
    page = gmail.activity(page.cursor)
    assert [event.message_id for event in page.events] == delivered
    assert {event.kind for event in page.events} == {"add"}
    assert page.served_at.year == 2024


def test_a_deleted_message_is_gone_by_the_apis_own_word(sandbox: Sandbox, gmail: Any) -> None:
    account = sandbox.account_ids[0]
    (gone,) = sandbox.admin(f"/accounts/{account}/delete", {"oldest": 1})["message_ids"]
    with pytest.raises(NotFoundError):
        gmail.message(gone)
    assert gmail.profile().upstream_id == str(account)


def test_lost_positions_are_told_apart(gmail: Any) -> None:
    with pytest.raises(PageTokenLostError):
        gmail.window(EARLIEST, LATEST, PageToken("nonsense"), 50)
    with pytest.raises(CursorLostError):
        gmail.activity(Cursor("nonsense"))


def test_a_token_tells_its_account(sandbox: Sandbox, settings: Settings) -> None:
    account = sandbox.account_ids[1]
    profile = kloudless.check_token(settings, sandbox.token(account))
    assert (profile.upstream_id, profile.service) == (str(account), "outlook_email")
    assert profile.address
    with pytest.raises(CredentialRefusedError):
        kloudless.check_token(settings, "nobodys-token")


def test_the_app_key_opens_an_account_without_a_token(sandbox: Sandbox, settings: Settings) -> None:
    keyed = Settings(kloudless_url=sandbox.url, kloudless_api_key=sandbox.api_key)
    source = open_source("kloudless", keyed, upstream_id=str(sandbox.account_ids[2]), token=None)
    assert source.profile().service == "imap"
    source.close()


def test_labels_are_read_by_id(gmail: Any) -> None:
    label = walk(gmail, 50)[0].labels[0]
    assert gmail.label(label.id) == label
    with pytest.raises(NotFoundError):
        gmail.label("label_none")
