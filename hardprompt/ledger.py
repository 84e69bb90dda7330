"""One run's record on disk: a header, every told piece, and what was measured afterwards.

SQLite in WAL mode: what `append_piece` or `put` has returned from survives the death of the
process. Arrays are raw bytes with dtype, shape and checksum; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hardprompt.errors import HardpromptError
from hardprompt.types import Feedback, Proposals

try:
    import fcntl
except ImportError:  # not on Windows; there two processes on one run are the user's care
    fcntl = None  # type: ignore[assignment]

VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE pieces (number INTEGER PRIMARY KEY, question TEXT NOT NULL, answer BLOB NOT NULL);
CREATE TABLE notes (kind TEXT, key TEXT, value BLOB NOT NULL, PRIMARY KEY (kind, key));
"""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Piece:
    """What was asked, as JSON that replay compares, and what was told."""

    question: dict[str, Any]
    feedback: Feedback


class Ledger:
    """Made by `create`, `open` (to write; one process at a time) or `read`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: IO[str] | None) -> None:
        self.path, self._connection, self._lock = path, connection, lock

    @classmethod
    def create(cls, path: Path, header: dict[str, Any]) -> Ledger:
        """A new ledger with its header; the file must not exist."""
        if path.exists():
            raise HardpromptError(f"'{path}' exists already; resume that run or choose another one")
        lock = _take_lock(path)
        connection = _connect(path)
        with connection:
            connection.executescript(SCHEMA)
            rows = (("version", VERSION), ("header", header))
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in rows]
            )
        return cls(path, connection, lock)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """An existing ledger, to go on with; refused while another process holds it."""
        return cls(path, _existing(path), _take_lock(path))

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """An existing ledger, only to look at, even while its run goes on."""
        return cls(path, _existing(path), None)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def header(self) -> dict[str, Any]:
        with _readable(self.path):
            (text,) = self._connection.execute(
                "SELECT value FROM meta WHERE key = 'header'"
            ).fetchone()
            header: dict[str, Any] = json.loads(text)
            return header

    def check(self, header: dict[str, Any]) -> None:
        """Refuses to go on with another search than the one that is recorded."""
        stored = self.header
        fresh = json.loads(json.dumps(header))
        differing = [
            f"{key} (was {stored.get(key)!r}, is {fresh.get(key)!r})"
            for key in sorted(stored.keys() | fresh.keys())
            if stored.get(key) != fresh.get(key)
        ]
        if differing:
            raise HardpromptError(
                f"'{self.path.parent}' cannot be resumed, because these differ: "
                f"{'; '.join(differing)}"
            )

    def append_piece(self, question: dict[str, Any], feedback: Feedback) -> None:
        """Records a piece; committed on return."""
        arrays: Arrays = {"loss": feedback.loss, "exact": feedback.exact}
        if feedback.gradient is not None:
            arrays["gradient"] = feedback.gradient
        if feedback.proposals is not None:
            arrays["proposed"] = feedback.proposals.ids
            arrays["log_probs"] = feedback.proposals.log_probs
        with self._connection:
            self._connection.execute(
                "INSERT INTO pieces (question, answer) VALUES (?, ?)",
                (json.dumps(question), pack(arrays)),
            )

    def pieces(self) -> Iterator[Piece]:
        """Every recorded piece in order."""
        with _readable(self.path):
            rows = self._connection.execute("SELECT question, answer FROM pieces ORDER BY number")
            for question, answer in rows.fetchall():
                yield Piece(json.loads(question), _feedback(unpack(answer)))

    def put(self, kind: str, key: str, value: Arrays) -> None:
        """Stores arrays under a kind and a key; the same key is overwritten."""
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (kind, key, pack(value))
            )

    def get(self, kind: str, key: str) -> Arrays | None:
        with _readable(self.path):
            row = self._connection.execute(
                "SELECT value FROM notes WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
            return None if row is None else unpack(row[0])

    def n_pieces(self) -> int:
        with _readable(self.path):
            (count,) = self._connection.execute("SELECT COUNT(*) FROM pieces").fetchone()
            return int(count)


def pack(arrays: Arrays) -> bytes:
    """Arrays as bytes: a checksum, the length of a JSON description, that, and the raw data."""
    data = [np.asarray(array) for array in arrays.values()]
    shapes = [
        [name, array.dtype.str, list(array.shape)] for name, array in zip(arrays, data, strict=True)
    ]
    description = json.dumps(shapes).encode()
    body = len(description).to_bytes(4, "little") + description
    body += b"".join(array.tobytes() for array in data)
    return zlib.crc32(body).to_bytes(4, "little") + body


def unpack(blob: bytes) -> Arrays:
    """Raises `ValueError` when the checksum does not fit."""
    body = blob[4:]
    if zlib.crc32(body) != int.from_bytes(blob[:4], "little"):
        raise ValueError("a record is damaged")
    at = 4 + int.from_bytes(body[:4], "little")
    arrays: Arrays = {}
    for name, dtype, shape in json.loads(body[4:at]):
        count = int(np.prod(shape))
        array = np.frombuffer(body, np.dtype(dtype), count, at).reshape(shape).copy()
        arrays[name] = array
        at += array.nbytes
    return arrays


def _feedback(arrays: Arrays) -> Feedback:
    proposals = None
    if "proposed" in arrays:
        proposals = Proposals(arrays["proposed"], arrays["log_probs"])
    return Feedback(arrays["loss"], arrays["exact"], arrays.get("gradient"), proposals)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _existing(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise HardpromptError(f"no run here: '{path}' does not exist")
    with _readable(path):
        connection = _connect(path)
        row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        version = json.loads(row[0])
    if version > VERSION:
        raise HardpromptError(f"'{path}' was made by a newer hardprompt; upgrade to read it")
    return connection


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what a damaged file can cause into one clear line."""
    try:
        yield
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
        raise HardpromptError(
            f"the ledger '{path}' is damaged ({error}); start the search again in another folder"
        ) from error


def _take_lock(path: Path) -> IO[str] | None:
    """A lock that the kernel releases when the process dies, however it dies."""
    lock = path.with_suffix(".lock").open("a+", encoding="utf8")
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise HardpromptError(
                f"'{path.parent}' is already running (process {holder}); wait for it or stop it"
            ) from None
    with suppress(OSError):
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    return lock
