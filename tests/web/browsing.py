"""Real Chromium, where this machine has one: Debian's, driven by playwright, which brings none itself."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_or_none() -> str | None:
    """Where Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def find() -> str:
    """Where Chromium is; skips the test that asks where there is none."""
    found = find_or_none()
    if found is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt install chromium)")
    return found


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
