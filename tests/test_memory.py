"""How large batches are: by what a device has, and remembered in a run."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from hardprompt import runs
from hardprompt.__main__ import main
from hardprompt.config import RunConfig
from hardprompt.ledger import Ledger
from hardprompt.models.causal import CACHED_TOKENS
from hardprompt.models.load import load_model, screening_model
from hardprompt.models.memory import (
    KEPT_BYTES,
    ROWS,
    WIDTH,
    bytes_to_keep,
    gathered,
    keep_freed_memory,
    tokens_that_fit,
)
from hardprompt.scoring.batching import CPU_TOKENS, GPU_TOKENS, NO_MEMORY
from hardprompt.scoring.plan import Row
from hardprompt.search import BATCHES, Search
from hardprompt.session import Session


class FakeCuda:
    """Memory as CUDA reports it: a forward pass takes so many bytes a token."""

    def __init__(self, free, each):
        self.free, self.each, self.peak = free, each, 10**6

    def mem_get_info(self, place):
        return self.free, 2 * self.free

    def memory_allocated(self, place):
        return 10**6

    def max_memory_allocated(self, place):
        return self.peak

    def reset_peak_memory_stats(self, place):
        self.peak = 10**6

    def base_model(self, input_ids):
        self.peak += self.each * input_ids.numel()


@pytest.mark.parametrize(
    ("free", "each", "tokens"),
    [(10**9, 10**5, 5000), (10**12, 10**3, GPU_TOKENS), (10, 10**6, 1), (10**9, 0, GPU_TOKENS)],
)
def test_a_probe_says_how_many_tokens_fit(monkeypatch, free, each, tokens):
    cuda, zeros = FakeCuda(free, each), torch.zeros
    for name in ("mem_get_info", "memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", cuda.reset_peak_memory_stats)
    monkeypatch.setattr(torch, "zeros", lambda *shape, dtype, device: zeros(*shape, dtype=dtype))
    model = SimpleNamespace(base_model=cuda.base_model)
    assert tokens_that_fit(model, torch.device("cuda")) == tokens
    assert each == 0 or cuda.peak == 10**6 + each * ROWS * WIDTH


@pytest.mark.parametrize(("free", "kept"), [(2**30, 2**28), (2**40, KEPT_BYTES)])
def test_no_more_is_kept_than_a_gpu_can_spare(monkeypatch, free, kept):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (free, 2 * free))
    assert bytes_to_keep(torch.device("cuda")) == kept
    assert bytes_to_keep(torch.device("cpu")) == KEPT_BYTES


def test_pieces_are_laid_where_they_belong():
    whole = torch.arange(14).view(7, 2)
    pieces = [(low, high, [whole[low:high], -whole[low:high]]) for low, high in [(0, 3), (3, 7)]]
    found = gathered(iter(pieces), 7)
    assert torch.equal(found[0], whole)
    assert torch.equal(found[1], -whole)


def test_a_beginning_for_which_there_is_no_room_is_read_in_every_row(make_model):
    _, model = make_model("gpt2", plain=True)
    rows = [Row((tuple(range(9, 9 + CACHED_TOKENS)), (5,)))]
    (group,) = model.groups(rows, [0])
    model._kept_bytes = 1
    assert model._head(group) is None
    model._heads.clear()
    model._kept_bytes = KEPT_BYTES
    assert len(model._head(group)) == 2


def test_running_out_of_memory_anywhere_is_one_line(monkeypatch, capsys):
    def full(**_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate")

    monkeypatch.setattr("hardprompt.__main__.group.main", full)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert capsys.readouterr().err == f"error: {NO_MEMORY}\n"


def test_other_faults_are_not_taken_for_it(monkeypatch):
    def broken(**_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("hardprompt.__main__.group.main", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main()


@pytest.mark.parametrize(
    ("dtype", "tokens"), [(torch.float32, CPU_TOKENS), (torch.bfloat16, 2 * CPU_TOKENS)]
)
def test_a_cpu_needs_no_probe(dtype, tokens):
    assert tokens_that_fit(SimpleNamespace(dtype=dtype), torch.device("cpu")) == tokens


def test_the_copy_that_searches_reads_as_many_bytes_together():
    model = load_model("mini", device="cpu", batch_size=500)
    screen = screening_model(model)
    assert (model.batch_tokens, screen.batch_tokens) == (CPU_TOKENS, 2 * CPU_TOKENS)
    assert screen._batcher.rows == 500


GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
FAULTS = """
import resource, torch
from hardprompt.models.memory import keep_freed_memory
torch.set_num_threads(1)
kept = keep_freed_memory(torch.device("cpu"))
def run():
    several = [torch.ones(1_000_000) for _ in range(8)]
for _ in range(5):
    run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    run()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@GLIBC
@pytest.mark.parametrize(
    ("told", "kept"), [({}, True), ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=100"}, False)]
)
def test_what_a_batch_frees_is_kept_for_the_next_one(told, kept):
    known = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=known | told
    )
    did, faults = done.stdout.split()
    assert did == str(kept)
    assert (int(faults) < 1000) is kept  # of 80,000 pages of 4 KiB


@pytest.mark.parametrize(
    ("place", "name"),
    [("cuda", "OTHER"), ("cpu", "MALLOC_TRIM_THRESHOLD_"), ("cpu", "MALLOC_MMAP_THRESHOLD_")],
)
def test_memory_is_left_to_the_users_settings_and_to_devices(monkeypatch, place, name):
    monkeypatch.setenv(name, "4000000000")
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("was set"))
    assert not keep_freed_memory(torch.device(place))


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("was set"))
    assert not keep_freed_memory(torch.device("cpu"))


def test_what_fitted_is_remembered_in_the_run(tmp_path, monkeypatch):
    def session():
        config = RunConfig(budget=4, strategy="random", search_rows=4, length=2, dtype="float32")
        return Session.prepare(config)

    first = session()
    measure = first.objective.measure

    def short(batch):
        first.model.batch_tokens = 100  # as after an out-of-memory error
        return measure(batch)

    monkeypatch.setattr(first.objective, "measure", short)
    Search(first, tmp_path).run()
    with Ledger.read(tmp_path / runs.LEDGER) as ledger:
        assert ledger.get_json(BATCHES, "float32 on cpu") == 100
    again = session()
    assert again.model.batch_tokens == CPU_TOKENS
    Search(again, tmp_path).run(resume=True)
    assert again.model.batch_tokens == 100
