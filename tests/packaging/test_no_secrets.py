"""No file of the repository holds a secret; what looks like one is known, with the reason."""

import base64
import re
import secrets

import pytest

from tests.packaging.leaked import find
from tests.test_layout import ROOT, files_of_the_project, text_of

KNOWN: dict[tuple[str, str], str] = {
    ("tests/integration/cli/test_bad_input.py", ":wrong-password@"): "made up, and wrong on purpose",
    ("tests/local/test_folder.py", "postgresql://"): "made up",
    ("tests/sources/conftest.py", "canary-bearer-0123456789"): "a canary: it opens nothing",
    ("tests/sources/test_decode.py", "storage/files/file_"): "an address from the API's documentation",
    ("worker/store/engine.py", "user:password@"): "the form of an address, for people",
}
"""File and part of the text that looks like a secret, with the reason why it is none."""

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def looks_like_secrets() -> list[tuple[str, str, str]]:
    found = []
    for path in files_of_the_project():
        name = str(path.relative_to(ROOT))
        text = HASH.sub("", text_of(path)) if path.suffix == ".lock" else text_of(path)
        found += [(name, one.kind, one.text) for one in find(text)]
    return found


def test_no_file_holds_what_looks_like_a_secret() -> None:
    found = looks_like_secrets()
    unknown = [
        (name, kind, f"{text[:8]}…")
        for name, kind, text in found
        if not any(name == file and part in text for file, part in KNOWN)
    ]
    assert unknown == [], "take it out and make it worthless, or give the reason in KNOWN"


def test_every_known_one_is_still_there() -> None:
    found = looks_like_secrets()
    left = [(file, part) for file, part in KNOWN if not any(name == file and part in text for name, _, text in found)]
    assert left == []


def test_no_file_for_secrets_is_part_of_the_repository() -> None:
    names = [path.name for path in files_of_the_project()]
    assert [
        n for n in names if re.search(r"(?i)\.(pem|key|p12|pfx|jks|kdbx)$|^\.env|^id_(rsa|ed25519)|keyring$", n)
    ] == []


# Put together here, so that this file holds none.
SAMPLES = {
    "private key": "-----BEGIN EC " + "PRIVATE KEY-----",
    "cloud access key": "AKIA" + "Q3EGRN4TZB2LWV7X",
    "code host token": "ghp_" + "a1B2" * 9,
    "chat token": "xoxb-" + "2345678901-abc",
    "API key": "AIza" + "Sy0aB-_" * 5,
    "web token": "eyJhbGciOiJIUzI1" + ".eyJzdWIiOiIxMjM0" + ".abc-_1",
    "bearer token": "Authorization: Bearer " + "k7Hs92mQzX81vLp0" * 2,
    "password in an address": "redis://:" + "s3cr3tpassw0rd@host",
    "key ring": "k1:" + base64.b64encode(bytes(range(32))).decode(),
    "value of a secret": 'api_key = "' + "a9" * 12 + '"',
    "random string": secrets.token_hex(32),
    "random string, base64": base64.b64encode(secrets.token_bytes(48)).decode(),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_form_is_found(kind: str) -> None:
    assert kind.partition(",")[0] in {found.kind for found in find(f"x = 1\n{SAMPLES[kind]}\n")}


def test_words_and_paths_are_no_secrets() -> None:
    text = """
    test_a_redirect_that_only_adds_the_slash_is_followed
    tests/integration/store/test_credentials.py/and/a/long/path/of/words
    token = credentials.load_token(self.engine, self.keys, account.id)
    postgresql://user@127.0.0.1:5432/mailmirror  redis://:$(cat secrets/redis)@redis:6379/0  Bearer ***
    ThisIsAVeryLongNameOfAClassThatNobodyWouldWrite
    """
    assert list(find(text)) == []
