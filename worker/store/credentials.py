"""Tokens at rest: AES-256-GCM under a key ring that is kept outside the database.

What a token belongs to (account, purpose, key name) is bound to the ciphertext as associated data: a ciphertext
copied to another account's row cannot be opened. A Fernet token would open there.
"""

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct
from sqlalchemy.engine import Connection, Engine

from worker.config import Settings
from worker.errors import UsageError
from worker.store.engine import retry_transaction, translated

KEY_BYTES = 32
NONCE_BYTES = 12
TOKEN = "token"  # noqa: S105  # the purpose's name, not a token

INLINE = re.compile(r"\s*[\w.-]+:[\w+/=-]+\s*(,\s*[\w.-]+:[\w+/=-]+\s*)*,?\s*")


class Sealed(Struct, frozen=True):
    """A secret as the database holds it."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


class KeyRing:
    """Named 32-byte keys; the first one seals, all of them open."""

    def __init__(
        self,
        keys: Mapping[str, bytes] | None = None,
        created_at_path: Path | None = None,
        file: Path | None = None,
    ) -> None:
        self._keys = dict(keys or {})
        self.created_at_path = created_at_path
        """Where a new key file was just made, so that a person can be told; else None."""
        self.file = file
        """The file the keys are read from, read again when a key is missing; None for keys in the environment."""

    @property
    def absent(self) -> str | None:
        """Say that there is no key file where one is looked for, and what to do; None where there are keys."""
        if self._keys or self.file is None:
            return None
        return (
            f"There is no key file at {self.file.absolute()}. Put it back, or set MAILMIRROR_DATA or "
            "MAILMIRROR_KEYRING."
        )

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(f'{name}=***' for name in self._keys)})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keys, the sealing one first."""
        return tuple(self._keys)

    def seal(self, account_id: int, purpose: str, secret: str) -> Sealed:
        """Seal `secret` for one account and purpose; raises UsageError for an empty ring."""
        if not self._keys:
            raise UsageError("There is no key to seal the token with. Set MAILMIRROR_KEYRING.")
        name, key = next(iter(self._keys.items()))
        nonce = os.urandom(NONCE_BYTES)
        bound = _bound(account_id, purpose, name)
        return Sealed(name, nonce, AESGCM(key).encrypt(nonce, secret.encode(), bound))

    def open(self, account_id: int, purpose: str, sealed: Sealed) -> str:
        """Open what was sealed for this account and purpose; raises UsageError saying what to do."""
        again = f"or set the token again: mailmirror accounts token {account_id} --token-stdin"
        if sealed.key_id not in self._keys:
            self._read_again()
        key = self._keys.get(sealed.key_id)
        if key is None and self.absent:
            raise UsageError(self.absent)
        if key is None:
            raise UsageError(
                f"The token of account {account_id} is sealed with the key {sealed.key_id}, "
                f"which is not in the key ring. Add it to MAILMIRROR_KEYRING, {again}"
            )
        try:
            bound = _bound(account_id, purpose, sealed.key_id)
            return AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, bound).decode()
        except InvalidTag:
            raise UsageError(
                f"The token of account {account_id} cannot be opened: it was altered, or the key "
                f"{sealed.key_id} is not the one that sealed it. Put the right key into MAILMIRROR_KEYRING, {again}"
            ) from None

    def _read_again(self) -> None:
        """Take in what was added to the key file since: a running worker goes on when the keys are rotated."""
        if self.file is not None:
            try:
                self._keys = _parse(self.file.read_text(encoding="utf-8"), "The key file")
            except (OSError, ValueError, UsageError):
                return  # the caller says which key is missing; the ring stays as it was


def new_key() -> str:
    """Make a key as the key ring holds it: `name:key`, the name telling keys apart and nothing else."""
    name = f"key-{secrets.token_hex(4)}"
    return f"{name}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def load_keys(settings: Settings, *, make: bool = False) -> KeyRing:
    """Read the key ring of the settings, else the key file beside the data, which `make` creates (mode 0600).

    Without both, the ring is empty: it opens and seals nothing. Raises UsageError for keys that cannot be used.
    """
    if settings.keyring:
        if INLINE.fullmatch(settings.keyring):
            return KeyRing(_parse(settings.keyring, "MAILMIRROR_KEYRING"))
        return _read(Path(settings.keyring).expanduser(), "The file named by MAILMIRROR_KEYRING")
    path = settings.data / "keyring"
    if path.exists():
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"Others can read the key file {path}. Close it: chmod 600 {path}")
        return _read(path, f"The key file {path}")
    return _make(path) if make else KeyRing(file=path)


def store_token(where: Engine | Connection, keys: KeyRing, account_id: int, token: str, purpose: str = TOKEN) -> None:
    """Seal and write a token, replacing the one of the same purpose; on a connection, in its transaction.

    Raises UsageError for a token that no HTTP header can carry.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("The token is empty or holds spaces, line ends or other characters no token has.")
    sealed = keys.seal(account_id, purpose, token)
    parameters = {
        "id": account_id,
        "purpose": purpose,
        "key_id": sealed.key_id,
        "nonce": sealed.nonce,
        "ciphertext": sealed.ciphertext,
    }
    if isinstance(where, Connection):
        where.execute(STORE, parameters)
    else:
        retry_transaction(where, lambda connection: connection.execute(STORE, parameters).close())


def load_token(where: Engine | Connection, keys: KeyRing, account_id: int, purpose: str = TOKEN) -> str | None:
    """Read and open an account's token; None when it has none. Raises UsageError for a key that is missing."""
    if isinstance(where, Engine):
        with translated(), where.connect() as connection:
            return load_token(connection, keys, account_id, purpose)
    row = where.execute(LOAD, {"id": account_id, "purpose": purpose}).one_or_none()
    return token_of(keys, account_id, Sealed(*row) if row else None, purpose)


def token_of(keys: KeyRing, account_id: int, sealed: Sealed | None, purpose: str = TOKEN) -> str | None:
    """Open a token as it was read; None where there is none. Raises UsageError for a key that is missing."""
    return None if sealed is None else keys.open(account_id, purpose, sealed)


STORE = sa.text(
    """
    INSERT INTO sync.credentials (account_id, purpose, key_id, nonce, ciphertext)
    VALUES (:id, :purpose, :key_id, :nonce, :ciphertext)
    ON CONFLICT (account_id, purpose) DO UPDATE
    SET key_id = excluded.key_id, nonce = excluded.nonce, ciphertext = excluded.ciphertext, changed_at = sync.now()
    """
)

LOAD = sa.text("SELECT key_id, nonce, ciphertext FROM sync.credentials WHERE account_id = :id AND purpose = :purpose")


def _bound(account_id: int, purpose: str, key_id: str) -> bytes:
    return f"mailmirror|account:{account_id}|purpose:{purpose}|key:{key_id}".encode()


def _parse(text: str, origin: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for entry in re.split(r"[,\s]+", text.strip().rstrip(",")):
        name, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            key = b""
        if not re.fullmatch(r"[\w.-]{1,64}", name) or len(key) != KEY_BYTES:
            raise UsageError(
                f"{origin} must hold name:key pairs, each key 32 bytes in base64. Make one with: mailmirror keys make"
            )
        if name in keys:
            raise UsageError(f"{origin} holds two keys named {name}. Give each key a name of its own.")
        keys[name] = key
    return keys


def _read(path: Path, origin: str) -> KeyRing:
    """Read a key file; `origin` never repeats the setting, which may be a key given the wrong way."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise UsageError(
            f"{origin} cannot be read: {reason}. Give a key file, or keys as name:base64,name:base64."
        ) from None
    return KeyRing(_parse(text, origin), file=path)


def _make(path: Path) -> KeyRing:
    """Make a key file that appears whole or not at all; of two makers at a time, one wins and both read its key."""
    line = f"{new_key()}\n"
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return _read(path, f"The key file {path}")
        finally:
            draft.unlink()
    except OSError as error:
        raise UsageError(f"No key file can be made at {path} ({error.strerror}). Set MAILMIRROR_KEYRING.") from error
    return KeyRing(_parse(line, "The new key"), created_at_path=path, file=path)
