"""Sandboxes and clients for the tests of the sandbox."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from worker.sandbox import Sandbox, SandboxOptions, running

NOW = dt.datetime(2024, 6, 5, 12, 0, tzinfo=dt.UTC)
EVER = {"after": "0001-01-01T00:00:00Z", "before": "9999-12-31T23:59:59Z"}

Start = Callable[..., Sandbox]
Connect = Callable[..., httpx.Client]
Walk = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start sandboxes that stop with the test; their clock begins at NOW."""
    with contextlib.ExitStack() as stack:

        def begin(**options: Any) -> Sandbox:
            return stack.enter_context(running(SandboxOptions(**{"now": NOW, "messages": 120, **options})))

        yield begin


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Open clients that close with the test; without an account, with the application's key."""
    with contextlib.ExitStack() as stack:

        def begin(sandbox: Sandbox, account: int | None = 1001, **headers: str) -> httpx.Client:
            scheme = f"APIKey {sandbox.api_key}" if account is None else f"Bearer {sandbox.token(account)}"
            headers = {"Authorization": scheme, **headers}
            return stack.enter_context(httpx.Client(base_url=sandbox.url, headers=headers, timeout=30, trust_env=False))

        yield begin


@pytest.fixture
def walk() -> Walk:
    """Follow next_page to the end; returns the pages."""

    def follow(client: httpx.Client, account: object = "me", **params: Any) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = []
        query = {**EVER, **params}
        while True:
            answer = client.get(f"/accounts/{account}/email/messages/", params=query)
            assert answer.status_code == 200, answer.text
            pages.append(answer.json())
            query["page"] = pages[-1]["next_page"]
            if query["page"] is None:
                return pages

    return follow


@pytest.fixture
def everything(walk: Walk) -> Walk:
    """List every message of an account."""

    def collect(client: httpx.Client, account: object = "me", **params: Any) -> list[dict[str, Any]]:
        return [message for page in walk(client, account, **params) for message in page["objects"]]

    return collect
