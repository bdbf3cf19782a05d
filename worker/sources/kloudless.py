"""The unified Email and Activity API of Kloudless as a source (kloudless-api.md; seed: Email API)."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from worker.config import Settings
from worker.errors import UnreadableError, UnsupportedError, UsageError
from worker.ports import Source
from worker.records import ActivityPage, Cursor, Folder, Label, Message, MessagePage, PageToken, Profile
from worker.sources import _decode
from worker.sources._bodies import shortened
from worker.sources._credential import Credential
from worker.sources._http import Answer, Session
from worker.sources._inflate import alone
from worker.sources._refusals import Call
from worker.sources._timestamps import stamp

LARGEST_PAGE = 1000
ME = "me"
_RAW_DATA = ("X-Kloudless-Raw-Data", "true")
_T = TypeVar("_T")


def open(  # noqa: A001  # the name every source module gives this function
    settings: Settings, *, upstream_id: str, token: str | None, service: str | None = None
) -> Source:
    """Open one account; `upstream_id` is its number as text, or `me` with a token."""
    return Kloudless(settings, upstream_id=upstream_id, token=token, service=service)


def check_token(settings: Settings, token: str, upstream_id: str | None = None) -> Profile:
    """Ask whose token this is, and for that account.

    Raises CredentialRefusedError for a token nobody knows, UsageError when it belongs to another account than
    `upstream_id`, and what `Source.profile` raises.
    """
    source = Kloudless(settings, upstream_id=ME, token=token)
    try:
        owner = source.token_owner()
    finally:
        source.close()
    if upstream_id not in {None, ME, owner}:
        raise UsageError(f"This token belongs to account {owner}, not {upstream_id}. Give the token of that account.")
    source = Kloudless(settings, upstream_id=owner, token=token)
    try:
        return source.profile()
    finally:
        source.close()


class Kloudless:
    """One account; implements `worker.ports.Source`."""

    def __init__(self, settings: Settings, *, upstream_id: str, token: str | None, service: str | None = None) -> None:
        self._account = _checked_account(upstream_id, token)
        self._service = service
        self._keep_raw = settings.keep_raw
        self._max_body = settings.max_body
        self._headers = (_RAW_DATA,) if settings.keep_raw else ()
        self._session = Session(
            settings.kloudless_url,
            _credential(settings, token),
            timeout=settings.request_timeout,
            max_answer=settings.max_response,
        )

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._session.requests

    def profile(self) -> Profile:
        """Ask who this account is, without a look at the mail service (kloudless-api.md 8.1)."""
        answer = self._get(Call.ACCOUNT, "", query=[("retrieve_full", "false")])
        return self._read(answer, lambda body: _decode.profile(body, answer.served_at, self._account, self._service))

    def token_owner(self) -> str:
        """Ask which account the token is for (kloudless-api.md 3.3)."""
        return self._read(self._session.get(Call.TOKEN, ("oauth", "token")), _decode.token_owner)

    def start_activity(self) -> None:
        """Make sure that there is a subscription; it records from its creation on (kloudless-api.md 9.1)."""
        if self._has_subscription():
            return
        try:
            self._session.post_empty(Call.START_ACTIVITY, ("accounts", self._account, "subscriptions", ""))
        except UnsupportedError:
            if not self._has_subscription():  # there already is one: another run was faster
                raise

    def activity(self, cursor: Cursor | None) -> ActivityPage:
        """Read the events after `cursor` on the default subscription (seed: List Activity)."""
        call, query = (Call.ACTIVITY, []) if cursor is None else (Call.ACTIVITY_AFTER, [("cursor", str(cursor))])
        answer = self._get(call, "subscriptions", "default", "activity", query=query)
        return self._read(answer, lambda body: _decode.activity_page(body, answer.served_at))

    def window(self, after: datetime, before: datetime, page: PageToken | None, size: int) -> MessagePage:
        """List messages with `after <= created < before` (seed: List Messages).

        Both bounds always go along: without them the API shows three days only (kloudless-api.md 12, trap 1).
        """
        query = [
            ("after", stamp(after)),
            ("before", stamp(before)),
            ("page_size", str(min(max(size, 1), LARGEST_PAGE))),
        ]
        call = Call.LISTING
        if page is not None:
            call = Call.LISTING_PAGE
            query.append(("page", page))
        answer = self._get(call, "email", "messages", "", query=query)
        return self._read(answer, lambda body: self._page(body, answer.served_at))

    def message(self, message_id: str) -> Message:
        """Read one message (seed: Retrieve a Message)."""
        answer = self._get(Call.MESSAGE, "email", "messages", message_id)
        return self._read(answer, lambda body: self._message(body, message_id))

    def label(self, label_id: str) -> Label:
        """Read one label; raises UnsupportedError where the service has none (seed: Labels)."""
        answer = self._get(Call.NAME, "email", "labels", label_id)
        return self._read(answer, lambda body: _decode.label(body, label_id))

    def folder(self, folder_id: str) -> Folder:
        """Read one folder; raises UnsupportedError where the service has none (seed: Folders)."""
        answer = self._get(Call.NAME, "email", "folders", folder_id)
        return self._read(answer, lambda body: _decode.folder(body, folder_id))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _get(self, call: Call, *segments: str, query: list[tuple[str, str]] | None = None) -> Answer:
        headers = self._headers if call in {Call.LISTING, Call.LISTING_PAGE, Call.MESSAGE} else ()
        return self._session.get(call, ("accounts", self._account, *segments), query or (), headers)

    def _read(self, answer: Answer, decode: Callable[[bytes], _T]) -> _T:
        try:
            with alone(len(answer.body)):
                return decode(answer.body)
        except UnreadableError as error:
            error.excerpt = self._session.excerpt(answer.body)
            raise

    def _page(self, body: bytes, served_at: datetime) -> MessagePage:
        page = _decode.message_page(body, served_at, keep_raw=self._keep_raw)
        return replace(page, messages=tuple(shortened(message, self._max_body) for message in page.messages))

    def _message(self, body: bytes, message_id: str) -> Message:
        return shortened(_decode.message(body, message_id, keep_raw=self._keep_raw), self._max_body)

    def _has_subscription(self) -> bool:
        answer = self._get(Call.START_ACTIVITY, "subscriptions", "")
        return self._read(answer, _decode.has_subscription)


def _checked_account(upstream_id: str, token: str | None) -> str:
    if upstream_id == ME and token is None:
        raise UsageError("The account id `me` needs a token. Give the account's number, or its token.")
    if upstream_id != ME and not (upstream_id.isascii() and upstream_id.isdigit()):
        raise UsageError("An account id is a number, as in 1001.")
    return upstream_id


def _credential(settings: Settings, token: str | None) -> Credential:
    if token is not None:
        return Credential("Bearer", token)
    if settings.kloudless_api_key is not None:
        return Credential("APIKey", settings.kloudless_api_key, app_wide=True)
    raise UsageError("The account has no token. Give one, or set MAILMIRROR_KLOUDLESS_API_KEY.")
