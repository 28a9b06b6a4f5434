"""Environment variables and secrets at rest: sealed in the log, opened only to be sent to a replica."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class Sealed(NamedTuple):
    """What was sealed together."""

    env: Mapping[str, str]
    secrets: Mapping[str, str]


class BrokenSeal(ValueError):
    """Sealed bytes that this hub's key does not open: the key file was replaced, or the log is another hub's."""


class Vault:
    """Seals with AES-GCM under a key that lies beside the log, readable by its owner alone.

    The nonce is derived from what is sealed (HMAC under a second key), so that equal environments seal to equal bytes
    and replicas need not be sent the same definition twice; nothing but equality shows from that.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hashlib.sha256(b"seal" + key).digest())
        self._nonce_key = hashlib.sha256(b"nonce" + key).digest()
        self._opened: dict[bytes, Sealed] = {}
        self._last: tuple[Sealed, bytes] = Sealed({}, {}), b""
        """What was sealed last: a person's submissions come from one shell, one after the other."""

    @classmethod
    def at(cls, path: Path) -> Vault:
        """Read the key file, or make one (mode 0600)."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(descriptor, "wb") as file:
            key = os.urandom(32)
            file.write(key)
        return cls(key)

    def seal(self, env: Mapping[str, str], secrets: Mapping[str, str]) -> bytes:
        """Encrypt both; empty for nothing."""
        known, sealed = self._last
        if env == known.env and secrets == known.secrets:
            return sealed
        told = msgpack.packb([sorted(env.items()), sorted(secrets.items())], unicode_errors="surrogatepass")
        nonce = hmac.digest(self._nonce_key, told, "sha256")[:_NONCE]
        sealed = nonce + self._cipher.encrypt(nonce, told, None)
        self._last = Sealed(dict(env), dict(secrets)), sealed
        return sealed

    def open(self, sealed: bytes) -> Sealed:
        """Decrypt what `seal` gave.

        Raises:
            BrokenSeal: Another key sealed it, or the bytes were changed.
        """
        if not sealed:
            return Sealed({}, {})
        opened = self._opened.get(sealed)
        if opened is None:
            try:
                told = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
            except InvalidTag as fault:
                raise BrokenSeal("environment variables in the log were sealed with another key") from fault
            env, secrets = msgpack.unpackb(told, unicode_errors="surrogatepass")
            opened = Sealed(dict(env), dict(secrets))
            if len(self._opened) >= 64:
                self._opened.clear()
            self._opened[sealed] = opened
        return opened
