"""What the ledger promises: nothing that was acknowledged is lost, nothing wrong is read."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hardprompt.errors import HardpromptError
from hardprompt.ledger import Ledger, Piece, _make
from hardprompt.records import seal, unseal
from hardprompt.types import Batch, Feedback, Proposals

HEADER = {"seed": 0, "strategy": "beam", "words": ["a", "b"], "top": None}

# Appends pieces and says each number once `append_piece` has returned.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from hardprompt.ledger import Ledger
from hardprompt.types import Batch, Feedback
with Ledger.open(Path(sys.argv[1])) as ledger:
    print("open", flush=True)
    while True:
        n = ledger.n_pieces()
        rows = Batch(ids=np.full((3, 2), n))
        ledger.append_piece(rows, Feedback(np.full(3, float(n)), np.ones(3, dtype=bool)))
        print(n, flush=True)
"""


def some_piece(rng: np.random.Generator, n: int = 5) -> tuple[Batch, Feedback]:
    batch = Batch(
        ids=rng.integers(0, 99, size=(n, 4)),
        wants_gradient=True,
        wants_proposals=2,
        examples=np.array([3, 1]),
    )
    loss = rng.normal(size=n)
    loss[0] = np.nan
    proposals = Proposals(rng.integers(0, 99, size=(n, 2)), rng.normal(size=(n, 2)))
    gradient = rng.normal(size=(n, 4, 8)).astype(np.float32)
    return batch, Feedback(loss, loss < 1, gradient, proposals)


def filled(path: Path, pieces: int = 8) -> Path:
    rng = np.random.default_rng(0)
    with Ledger.create(path, HEADER) as ledger:
        for number in range(pieces):
            ledger.append_piece(*some_piece(rng))
            ledger.put("scores", str(number), {"log_probs": rng.normal(size=(6, 2))})
    return path


def content(ledger: Ledger) -> list[bytes]:
    """All that a reader sees, comparable."""
    seen = [repr(sorted(ledger.header.items())).encode()]
    seen += [repr_piece(piece) for piece in ledger.pieces()]
    return seen + [key.encode() + a["log_probs"].tobytes() for key, a in ledger.items("scores")]


def repr_piece(piece: Piece) -> bytes:
    told = piece.feedback
    assert piece.ids is not None
    assert piece.examples is not None
    assert told.gradient is not None
    assert told.proposals is not None
    arrays = (piece.ids, piece.examples, told.loss, told.exact, told.gradient)
    more = (told.proposals.ids, told.proposals.log_probs)
    return repr((piece.number, piece.shape)).encode() + b"".join(
        a.tobytes() for a in (*arrays, *more)
    )


def test_reads_what_was_written(tmp_path: Path) -> None:
    batch, told = some_piece(np.random.default_rng(1))
    with Ledger.create(tmp_path / "l.db", HEADER) as ledger:
        given = ledger.append_piece(batch, told)
    with Ledger.read(tmp_path / "l.db") as ledger:
        (piece,) = ledger.pieces()
        assert ledger.header == HEADER
    assert repr_piece(piece) == repr_piece(given)
    np.testing.assert_array_equal(piece.ids, batch.ids)
    assert (piece.wants_gradient, piece.wants_proposals, len(piece)) == (True, 2, 5)
    assert piece.feedback.loss.tobytes() == told.loss.tobytes()  # NaN included


def test_points_are_kept_as_their_digest(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    told = Feedback(np.zeros(2), np.ones(2, dtype=bool))
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        same = [ledger.append_piece(Batch(embeds=points), told).embeds for _ in range(2)]
        other = ledger.append_piece(Batch(embeds=points + 1), told)
    assert same[0] == same[1] != other.embeds
    assert (other.shape, other.ids) == ((2, 3, 4), None)


@pytest.mark.parametrize(
    "value",
    [
        {"a": np.array(2.5)},
        {"a": np.zeros((0, 3)), "b": np.array([True, False])},
        {"a": np.array([[1, -2]], dtype=np.int16), "b": np.array([np.nan, np.inf])},
        {"words": np.array(["é", "long word"])},
    ],
)
def test_notes_keep_type_shape_and_bits(tmp_path: Path, value: dict[str, np.ndarray]) -> None:
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        ledger.put("kind", "key", {"other": np.arange(3)})
        ledger.put("kind", "key", value)  # the same key is overwritten
        found = ledger.get("kind", "key")
        assert found is not None
        assert found.keys() == value.keys()
        for name, array in value.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].tobytes() == array.tobytes()
        assert (ledger.get("kind", "none"), ledger.get("none", "key")) == (None, None)
        assert [key for key, _ in ledger.items("kind")] == ["key"]


def test_notes_hold_json(tmp_path: Path) -> None:
    value = {"é": [1, 2.5, None, True], "nested": {"a": "b"}}
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        ledger.put_json("kind", "key", value)
        assert ledger.get_json("kind", "key") == value
        assert ledger.get_json("kind", "other") is None


def test_python_objects_are_refused(tmp_path: Path) -> None:
    # Their bytes would be addresses in memory.
    with Ledger.create(tmp_path / "l.db", {}) as ledger, pytest.raises(TypeError, match="objects"):
        ledger.put("kind", "key", {"a": np.array([{}])})


def test_another_search_is_refused_by_name_and_both_values(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "l.db", HEADER) as ledger:
        ledger.check({**HEADER, "words": ("a", "b")})  # as JSON they are the same
        with pytest.raises(HardpromptError) as caught:
            ledger.check({**HEADER, "seed": 1, "strategy": "swap"})
        assert "seed (was 0, is 1); strategy (was 'beam', is 'swap')" in str(caught.value)
        with pytest.raises(HardpromptError, match=r"top \(was None, is 'nothing'\)"):
            ledger.check({key: HEADER[key] for key in HEADER if key != "top"})


def test_an_existing_or_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db", 1)
    with pytest.raises(HardpromptError, match="exists"):
        Ledger.create(path, HEADER)
    for way in (Ledger.open, Ledger.read):
        with pytest.raises(HardpromptError, match="does not exist"):
            way(tmp_path / "none.db")
    assert not list(tmp_path.glob("none.*"))
    with pytest.raises(HardpromptError, match="cannot write"):
        Ledger.create(tmp_path / "no" / "folder" / "l.db", HEADER)
    with Ledger.read(path) as ledger, pytest.raises(HardpromptError, match="cannot write"):
        ledger.put("kind", "key", {"a": np.zeros(1)})


def test_a_crash_while_making_it_leaves_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        Ledger.create(tmp_path / "l.db", HEADER)
    monkeypatch.undo()
    assert not (tmp_path / "l.db").exists()
    Ledger.create(tmp_path / "l.db", HEADER).close()  # neither file nor lock is in the way


def test_a_new_ledger_needs_no_switch_of_its_journal(tmp_path: Path) -> None:
    _make(tmp_path / "ledger.db", HEADER)
    # A database's header, bytes 18 and 19: 2 is WAL (SQLite, file format, section 1.3.3).
    assert (tmp_path / "ledger.db").read_bytes()[18:20] == b"\x02\x02"


def mode_of(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("when", ["made", "opened"])
def test_where_wal_fails_a_rollback_journal_keeps_the_same(tmp_path: Path, when: str) -> None:
    path, rng = tmp_path / "l.db", np.random.default_rng(0)
    if when == "opened":
        Ledger.create(path, HEADER).close()
        assert mode_of(path) == "wal"
    # No shared memory can be had where its file should be: as on a network file system, WAL is
    # said to be on, and the first write fails.
    (tmp_path / ("l.part-shm" if when == "made" else "l.db-shm")).mkdir()
    ledger = Ledger.create(path, HEADER) if when == "made" else Ledger.open(path)
    with ledger:
        for _ in range(3):
            ledger.append_piece(*some_piece(rng))
        with Ledger.read(path) as beside:
            assert beside.n_pieces() == 3
    assert mode_of(path) == "delete"
    with Ledger.open(path) as again:
        assert again.header == HEADER
        again.append_piece(*some_piece(rng))
        assert len(list(again.pieces())) == 4


def test_a_newer_format_and_a_foreign_file_say_so(tmp_path: Path) -> None:
    newer, foreign, text = filled(tmp_path / "l.db", 1), tmp_path / "f.db", tmp_path / "t.db"
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE pieces (number)")
    connection.close()
    text.write_text("not a database, but long enough to look at" * 100)
    for path, words in ((newer, "format 99.*upgrade"), (foreign, "not made by"), (text, "damaged")):
        for way in (Ledger.open, Ledger.read):
            with pytest.raises(HardpromptError, match=words):
                way(path)


def test_a_second_opener_gets_one_clear_error_until_the_first_ends(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db", 1)
    with Ledger.open(path):
        for way in (Ledger.open, lambda p: Ledger.create(p, HEADER)):
            with pytest.raises(HardpromptError, match=rf"already running \(process {os.getpid()}"):
                way(path)
    Ledger.open(path).close()


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", refuse)
    Ledger.create(tmp_path / "a.db", HEADER).close()
    monkeypatch.setattr("hardprompt.ledger.fcntl", None)
    Ledger.create(tmp_path / "b.db", HEADER).close()


def test_a_killed_writer_loses_nothing_acknowledged_and_holds_no_lock(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db", 0)
    acknowledged = -1
    for pause in np.random.default_rng(0).uniform(0.0, 0.05, size=5):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            time.sleep(pause)
            with Ledger.read(path) as ledger:  # reading goes on beside it
                assert len(list(ledger.pieces())) > acknowledged
            writer.send_signal(signal.SIGKILL)
            said = writer.stdout.read().split("\n")[:-1]  # a torn last line was never said
        acknowledged = int(said[-1]) if said else acknowledged
        with Ledger.open(path) as ledger:
            pieces = list(ledger.pieces())
        assert len(pieces) > acknowledged
        assert all((piece.feedback.loss == piece.number).all() for piece in pieces)
    assert acknowledged > 0


def damaged_copy(path: Path, data: bytes) -> Path:
    for old in path.parent.glob("copy.*"):
        old.unlink()
    copy = path.with_name("copy.db")
    copy.write_bytes(data)
    return copy


def reads_the_same_or_refuses(copy: Path, whole: list[bytes]) -> bool:
    try:
        with Ledger.open(copy) as ledger:
            seen = content(ledger)
    except HardpromptError:
        return False
    # A note whose key was hit is not found, and then measured again; nothing else may differ.
    assert set(seen) <= set(whole)
    assert seen[:9] == whole[:9]
    return True


def test_a_truncated_file_never_tells_something_wrong(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db")
    data = path.read_bytes()
    with Ledger.read(path) as ledger:
        whole = content(ledger)
    # Every page boundary, and one byte to either side.
    sizes = {size + by for size in range(0, len(data), 4096) for by in (-1, 0, 1)}
    for size in sorted(size for size in sizes if 0 <= size < len(data)):
        assert not reads_the_same_or_refuses(damaged_copy(path, data[:size]), whole)


def test_a_flipped_byte_never_tells_something_wrong(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db")
    data = path.read_bytes()
    with Ledger.read(path) as ledger:
        whole = content(ledger)
    rng = np.random.default_rng(0)
    places = [*range(100), *rng.integers(0, len(data), size=200)]  # the header's bytes, and any
    refused = 0
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= int(rng.integers(1, 256))
        refused += not reads_the_same_or_refuses(damaged_copy(path, bytes(flipped)), whole)
    # More than half of the file is records; where none were noticed, nothing was looked at.
    assert refused > 100


def test_a_torn_log_loses_its_end_only(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    ledger = Ledger.create(path, HEADER)
    rng = np.random.default_rng(0)
    for _ in range(4):
        ledger.append_piece(*some_piece(rng))
    whole = content(ledger)
    log = path.with_name("l.db-wal").read_bytes()
    for size in rng.integers(0, len(log), size=20):
        damaged_copy(path, path.read_bytes()).with_name("copy.db-wal").write_bytes(log[:size])
        with Ledger.open(path.with_name("copy.db")) as torn:
            seen = content(torn)
        assert seen == whole[: len(seen)]
    ledger.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM pieces WHERE number = 2",
        "UPDATE pieces SET number = 99 - number",
        "UPDATE pieces SET record = (SELECT record FROM pieces WHERE number = 1) WHERE number = 3",
        "UPDATE pieces SET record = 'text'",
        "UPDATE pieces SET record = x''",
        "DROP TABLE pieces",
    ],
)
def test_lost_and_moved_pieces_are_noticed(tmp_path: Path, sql: str) -> None:
    path = filled(tmp_path / "l.db")
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    with Ledger.open(path) as ledger, pytest.raises(HardpromptError, match="damaged"):
        list(ledger.pieces())


def test_a_lost_header_is_noticed(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM notes WHERE kind = 'ledger'")
    connection.commit()
    connection.close()
    with Ledger.open(path) as ledger, pytest.raises(HardpromptError, match="header"):
        ledger.check(HEADER)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db", 2)
    ledger = Ledger.open(path)
    ledger._connection.execute("PRAGMA max_page_count = 1")  # SQLite's own way to be full
    large = some_piece(np.random.default_rng(0), n=1000)
    with pytest.raises(HardpromptError, match=r"cannot write.*full.*resume"):
        ledger.append_piece(*large)
    ledger.close()
    with Ledger.open(path) as again:
        assert len(list(again.pieces())) == again.n_pieces() == 2


def test_a_finished_ledger_can_be_copied_as_one_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "l.db")
    shutil.copy(path, tmp_path / "alone.db")
    with Ledger.read(path) as one, Ledger.read(tmp_path / "alone.db") as other:
        assert content(one) == content(other)


def test_a_record_fits_only_its_own_place() -> None:
    record = seal("piece 1", {"a": np.arange(3)})
    assert unseal("piece 1", record)["a"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="piece 2"):
        unseal("piece 2", record)
