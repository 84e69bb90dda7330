"""Prefix, LoRA and LLaMA-Adapter as methods of a comparison."""

import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hardprompt.adapt.prefix import read_prefix
from hardprompt.baselines.base import Unfit
from hardprompt.baselines.table import make_method
from tests.conftest import NEEDS_PEFT
from tests.test_baselines import bench_of, prepare  # noqa: F401
from tests.test_scoring import TOLERANCE

NAMES = pytest.mark.parametrize("name", ["prefix", *NEEDS_PEFT])


@pytest.fixture
def fit(prepare, task_folder, tmp_path):  # noqa: F811
    """`fit(name, **options)` -> the session and what the method made of it."""

    def fitted(name, **options):
        session = prepare(task_folder, **({"budget": 160.0} | options))
        return session, make_method(name).fit(bench_of(session, tmp_path))

    return fitted


@NAMES
def test_what_is_trained_does_better_than_no_prompt(fit, name):
    if name in NEEDS_PEFT:
        pytest.importorskip("peft", reason="peft makes it: pip install '.[compare]'")
    session, fitted = fit(name)
    gold = session.gold("search")
    rows = np.arange(len(gold))
    trained = -fitted.predict("search")[rows, gold].mean()
    assert trained < -session.scorers["search"].by_text(("",))[rows, gold].mean()
    assert fitted.n_bytes == 4 * fitted.stored
    assert len({trial["rate"] for trial in fitted.details["trials"]}) > 1


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")  # peft to transformers
@NAMES
def test_plain_peft_reads_what_the_method_keeps(fit, name, tiny_folder, tmp_path):
    peft = pytest.importorskip("peft", reason="peft, the oracle: pip install '.[compare]'")
    session, fitted = fit(name)
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    model = peft.PeftModel.from_pretrained(base, tmp_path / "weights").eval()
    scorer = session.scorers["test"]
    assert all(len(label) == 1 for label in scorer.labels)
    logits = []
    for row in scorer.without_prompt([""] * len(scorer.texts)):
        (ids,) = row.segments
        with torch.no_grad():
            logits.append(model(input_ids=torch.tensor([ids])).logits[0, -1])
    columns = [label[0] for label in scorer.labels]
    theirs = torch.stack(logits)[:, columns].log_softmax(-1)
    np.testing.assert_allclose(fitted.predict("test"), theirs, atol=TOLERANCE)


@pytest.mark.parametrize("name", NEEDS_PEFT)
def test_without_peft_the_table_says_what_to_install(fit, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(Unfit, match=rf"^{name} needs peft: pip install"):
        fit(name)


def test_a_prefix_is_as_long_as_the_prompt(fit, tiny_folder, tmp_path):
    session, fitted = fit("prefix", length=3)
    kept = read_prefix(tmp_path / "weights", AutoModelForCausalLM.from_pretrained(tiny_folder))
    assert kept.shape[0] == session.space.length == 3
    assert fitted.stored == kept.numel()
