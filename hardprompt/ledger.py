"""One run's record on disk: a header, every measured piece, and what was measured afterwards.

SQLite in WAL mode, or with a rollback journal where WAL does not work: what was acknowledged
survives the death of the process. Records are raw arrays under a checksum that covers their place
too, so one that was damaged, lost or moved is noticed; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hardprompt.errors import HardpromptError
from hardprompt.records import Arrays, json_arrays, json_value, seal, unseal
from hardprompt.types import Batch, Feedback, IntArray, Proposals

try:
    import fcntl
except ImportError:  # not on Windows; there two processes on one run are the user's care
    fcntl = None  # type: ignore[assignment]

APPLICATION = 0x48505254  # "HPRT", where SQLite looks for whose file it is
VERSION = 1
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE pieces (number INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE notes (kind TEXT, key TEXT, record BLOB NOT NULL, PRIMARY KEY (kind, key))
    WITHOUT ROWID;
"""
# Who is alone needs no shared memory.
ROLLBACK = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE; PRAGMA locking_mode=NORMAL"
HEADER = ("ledger", "header")


@dataclass(frozen=True)
class Piece:
    """A piece of a batch as it was asked, permissions aside, and what was measured."""

    number: int
    ids: IntArray | None  # (n, k) as asked
    embeds: str | None  # sha256 of the points: a strategy can make them again
    shape: tuple[int, ...]  # of ids or embeds
    examples: IntArray | None
    wants_gradient: bool
    wants_proposals: int
    wants_fluency: bool
    feedback: Feedback

    def __len__(self) -> int:
        return self.shape[0]


class Ledger:
    """Made by `create`, `open` (to write; one process at a time) or `read`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: IO[str] | None) -> None:
        self.path, self._connection, self._lock = path, connection, lock
        self._written: int | None = None  # pieces, once this process has written one

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> Ledger:
        """A new ledger with its header; the file must not exist."""
        with _locked(path) as lock:
            if path.exists():
                raise HardpromptError(f"'{path}' exists; resume that run or choose another folder")
            with _writing(path):
                _make(path, header)
            return cls(path, _existing(path, "rw"), lock)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """An existing ledger, to go on with; refused while another process holds it."""
        _must_exist(path)
        with _locked(path) as lock:
            return cls(path, _existing(path, "rw"), lock)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """An existing ledger, only to look at, even while its run goes on."""
        _must_exist(path)
        return cls(path, _existing(path, "ro"), None)

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
        header = self.get_json(*HEADER)
        if not isinstance(header, dict):
            raise _damaged(self.path, "its header is missing")
        return header

    def check(self, header: Mapping[str, Any]) -> None:
        """Refuses to go on with another search than the one that is recorded."""
        if differing := differences(self.header, header):
            raise HardpromptError(
                f"'{self.path.parent}' cannot be resumed, because these differ: "
                f"{'; '.join(differing)}"
            )

    def append_piece(self, batch: Batch, feedback: Feedback) -> Piece:
        """Records a piece, committed on return, and gives it back as it will be read."""
        number = self.n_pieces() if self._written is None else self._written
        record = seal(f"piece {number}", _piece_arrays(batch, feedback))
        with _writing(self.path):
            self._connection.execute("INSERT INTO pieces VALUES (?, ?)", (number, record))
        self._written = number + 1  # nobody else writes: counting takes longer with every piece
        return _piece(number, unseal(f"piece {number}", record))

    def pieces(self) -> Iterator[Piece]:
        """Every piece recorded by now, in order."""
        # One at a time: gradients can fill the memory, and no read stays open between them.
        for number in range(self.n_pieces()):
            with _reading(self.path):
                (record,) = self._connection.execute(
                    "SELECT record FROM pieces WHERE number = ?", (number,)
                ).fetchone()
                piece = _piece(number, unseal(f"piece {number}", record))
            yield piece

    def n_pieces(self) -> int:
        with _reading(self.path):
            count, last = self._connection.execute(
                "SELECT COUNT(*), MAX(number) FROM pieces"
            ).fetchone()
            if count != (0 if last is None else last + 1):
                raise ValueError("a piece is missing")
            return int(count)

    def put(self, kind: str, key: str, value: Mapping[str, NDArray[Any]]) -> None:
        """Stores named arrays under a kind and a key; the same key is overwritten."""
        record = seal(f"note {kind} {key}", value)
        with _writing(self.path):
            self._connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (kind, key, record)
            )

    def get(self, kind: str, key: str) -> Arrays | None:
        """What was stored under a kind and a key; None where nothing was."""
        with _reading(self.path):
            row = self._connection.execute(
                "SELECT record FROM notes WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
            return None if row is None else unseal(f"note {kind} {key}", row[0])

    def put_json(self, kind: str, key: str, value: Any) -> None:
        """`put` for what JSON can hold."""
        self.put(kind, key, json_arrays(value))

    def get_json(self, kind: str, key: str) -> Any:
        """`get` for what `put_json` stored."""
        arrays = self.get(kind, key)
        with _reading(self.path):
            return None if arrays is None else json_value(arrays)

    def items(self, kind: str) -> list[tuple[str, Arrays]]:
        """Every key of a kind with its arrays, by key."""
        with _reading(self.path):
            rows = self._connection.execute(
                "SELECT key, record FROM notes WHERE kind = ? ORDER BY key", (kind,)
            ).fetchall()
            return [(key, unseal(f"note {kind} {key}", record)) for key, record in rows]


def differences(stored: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """In what a header is not the one that was stored, a few words for each key."""
    fresh = json.loads(json.dumps(dict(header)))
    return [
        f"{key} (was {was!r}, is {now!r})"
        for key in sorted(stored.keys() | fresh.keys())
        if (was := stored.get(key, "nothing")) != (now := fresh.get(key, "nothing"))
    ]


def points_digest(batch: Batch) -> str | None:
    """What stands for a batch's points in the ledger; None for ids."""
    if batch.embeds is None:
        return None
    return hashlib.sha256(np.asarray(batch.embeds, dtype="<f4").tobytes()).hexdigest()


def _piece_arrays(batch: Batch, feedback: Feedback) -> Arrays:
    rows = batch.ids if batch.ids is not None else batch.embeds
    assert rows is not None
    about = {
        "embeds": points_digest(batch),
        "shape": list(rows.shape),
        "gradient": batch.wants_gradient,
        "proposals": batch.wants_proposals,
        "fluency": batch.wants_fluency,
        "pairs": [feedback.pairs, feedback.pairs_saved],
    }
    arrays = {
        **json_arrays(about),
        "loss": np.asarray(feedback.loss, dtype="<f8"),
        "exact": np.asarray(feedback.exact, dtype=bool),
    }
    if batch.ids is not None:
        arrays["ids"] = np.asarray(batch.ids, dtype="<i8")
    if batch.examples is not None:
        arrays["examples"] = np.asarray(batch.examples, dtype="<i8")
    if feedback.gradient is not None:
        # Half the size; a gradient's later digits are noise of the arithmetic anyway.
        arrays["gradient"] = np.asarray(feedback.gradient, dtype="<f4")
    if feedback.proposals is not None:
        arrays["proposed"] = np.asarray(feedback.proposals.ids, dtype="<i8")
        arrays["log_probs"] = np.asarray(feedback.proposals.log_probs, dtype="<f8")
    if feedback.fluency is not None:
        arrays["fluency"] = np.asarray(feedback.fluency, dtype="<f8")
    return arrays


def _piece(number: int, arrays: Arrays) -> Piece:
    about = json_value(arrays)
    proposals = None
    if "proposed" in arrays:
        proposals = Proposals(arrays["proposed"], arrays["log_probs"])
    pairs, saved = about.get("pairs", (0, 0))  # not in the first ledgers
    return Piece(
        number,
        ids=arrays.get("ids"),
        embeds=about["embeds"],
        shape=tuple(about["shape"]),
        examples=arrays.get("examples"),
        wants_gradient=about["gradient"],
        wants_proposals=about["proposals"],
        wants_fluency=about.get("fluency", False),
        feedback=Feedback(
            arrays["loss"],
            arrays["exact"],
            arrays.get("gradient"),
            proposals,
            pairs,
            saved,
            fluency=arrays.get("fluency"),
        ),
    )


def _make(path: Path, header: Mapping[str, Any]) -> None:
    """Writes an empty ledger whole or not at all: a crash here leaves no half-made run."""
    part = path.with_suffix(".part")
    try:
        _write_empty(part, header, "WAL")
    except sqlite3.OperationalError:
        # A network file system has no shared memory for WAL: it fails, at the first write at last.
        _write_empty(part, header, "DELETE")
    part.replace(path)


def _write_empty(part: Path, header: Mapping[str, Any], journal: str) -> None:
    for old in filter(Path.is_file, part.parent.glob(f"{part.name}*")):  # journals among them
        old.unlink()
    connection = sqlite3.connect(part, isolation_level=None)
    try:
        # Now, not when it is opened: a process killed in the switch leaves a journal that only a
        # writer may roll back.
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.executescript(SCHEMA)
        record = seal(f"note {HEADER[0]} {HEADER[1]}", json_arrays(dict(header)))
        connection.execute("INSERT INTO notes VALUES (?, ?, ?)", (*HEADER, record))
    finally:
        connection.close()


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise HardpromptError(f"no run here: '{path}' does not exist")


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    # Not the plain path: SQLite would make a new file where one has just gone.
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, timeout=60, isolation_level=None, uri=True)


def _existing(path: Path, mode: str) -> sqlite3.Connection:
    with _reading(path):
        connection = _connected(path, mode)
        try:
            _must_be_ours(path, connection)
            if mode == "rw" and connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
                connection = _logging(path, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _logging(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    """A connection to write with; where WAL no longer works, the file gets a rollback journal."""
    try:
        connection.executescript("BEGIN IMMEDIATE; ROLLBACK; PRAGMA synchronous = NORMAL")
    except sqlite3.OperationalError:
        connection.close()
        with _writing(path):
            connection = _connected(path, "rw")
            connection.executescript(ROLLBACK)
    return connection


def _must_be_ours(path: Path, connection: sqlite3.Connection) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION:
        raise ValueError("it was not made by hardprompt")
    if version > VERSION:
        raise HardpromptError(
            f"'{path}' has format {version}, this hardprompt reads up to {VERSION}; upgrade it"
        )


def _damaged(path: Path, reason: object) -> HardpromptError:
    return HardpromptError(
        f"the ledger '{path}' is damaged ({reason}); start the search again in another folder"
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what a damaged file can cause into one clear line."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a mistake of the caller, such as a closed ledger
        raise
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_CANTOPEN")):
            raise HardpromptError(f"cannot read the ledger '{path}': {error}") from error
        raise _damaged(path, error) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns a full disk and its like into one clear line."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, sqlite3.ProgrammingError):
            raise
        raise HardpromptError(
            f"cannot write the ledger '{path}': {error}; what it holds is safe: resume the run "
            "once there is room and permission"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """A lock that the kernel releases when the process dies, however it dies; kept on success."""
    with _writing(path):
        lock = path.with_suffix(".lock").open("a+", encoding="utf8")
    try:
        _take(lock, path)
        yield lock
    except BaseException:
        lock.close()
        raise


def _take(lock: IO[str], path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "its process is not known"
            raise HardpromptError(
                f"'{path.parent}' is already running ({holder}); wait for it or stop it"
            ) from None
        except OSError:  # a file system without locks; there it is the user's care too
            return
    with suppress(OSError):
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
