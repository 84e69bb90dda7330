"""Families that transformers knows and that are unlike the usual ones: read right, or refused."""

import json

import numpy as np
import pytest
import torch
import transformers as t

from hardprompt.errors import HardpromptError
from hardprompt.models.load import load_model
from hardprompt.models.writer import Decoding
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Row
from tests.families import SIZE, louder, wrapped

WIDE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT_LIKE = {**WIDE, "intermediate_size": 96, "max_position_embeddings": 130}
MASKED = {
    "convbert": lambda: t.ConvBertConfig(**BERT_LIKE, vocab_size=SIZE, embedding_size=64),
    "nystromformer": lambda: t.NystromformerConfig(**BERT_LIKE, vocab_size=SIZE),
}
CAUSAL = {
    "mamba": lambda: t.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=SIZE),
    "openai-gpt": lambda: t.OpenAIGPTConfig(n_embd=32, n_layer=2, n_head=2, vocab_size=SIZE),
    "rwkv": lambda: t.RwkvConfig(
        hidden_size=32, num_hidden_layers=2, attention_hidden_size=32, vocab_size=SIZE,
        context_length=130,
    ),
    "gemma2": lambda: t.Gemma2Config(
        **WIDE, head_dim=16, num_key_value_heads=2, intermediate_size=96, vocab_size=SIZE,
        max_position_embeddings=130, sliding_window=8, query_pre_attn_scalar=16,
    ),
}  # fmt: skip


def saved(config, auto, family, folder):
    tokenizer = wrapped(family)
    config.vocab_size = len(tokenizer)
    torch.manual_seed(0)
    # Louder, and float32 itself would not be exact to the tolerance in all of these.
    model = louder(auto.from_config(config), 2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, folder


def refused(folder):
    with pytest.raises(HardpromptError) as caught:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", MASKED)
def test_masked_models_that_look_past_the_mask_are_refused(kind, tmp_path):
    saved(MASKED[kind](), t.AutoModelForMaskedLM, "wordpiece", tmp_path)
    message = refused(tmp_path)
    assert kind in message
    assert "rows beside it" in message


def test_a_model_that_writes_but_reads_both_ways_is_refused(tmp_path):
    config = t.XLNetConfig(d_model=32, n_layer=2, n_head=2, d_inner=64, vocab_size=SIZE)
    saved(config, t.AutoModelForCausalLM, "byte-level", tmp_path)
    assert "rows beside it" in refused(tmp_path)


def test_a_model_that_cannot_be_called_so_is_refused(tmp_path):
    config = t.XmodConfig(**BERT_LIKE, vocab_size=SIZE, languages=["en_XX", "de_DE"])
    saved(config, t.AutoModelForMaskedLM, "byte-level", tmp_path)
    assert "cannot be read here" in refused(tmp_path)


@pytest.mark.parametrize("kind", CAUSAL)
def test_causal_models_of_every_making_score_as_row_by_row(kind, tmp_path):
    plain, folder = saved(CAUSAL[kind](), t.AutoModelForCausalLM, "byte-level", tmp_path)
    model = load_model(str(folder), device="cpu")
    rng = np.random.default_rng(0)
    text, prompts = rng.integers(5, SIZE // 2, 9), rng.integers(5, SIZE // 2, (3, 2))
    rows = [Row((tuple(text[:n].tolist()), ())) for n in (9, 6)]
    labels = ((7,), (8,))
    for group in model.groups(rows, range(2)):
        found = normalise(model.label_log_probs(group, labels, [prompts]))
        for number, member in enumerate(group.examples):
            for prompt, scores in zip(prompts, found[:, number], strict=True):
                ids = [*rows[member].segments[0], *prompt.tolist()]
                with torch.no_grad():
                    logits = plain(torch.tensor([ids])).logits[0, -1, [7, 8]]
                np.testing.assert_allclose(scores, logits.log_softmax(-1).numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["gemma2", "rwkv", "mamba"])
def test_texts_are_the_same_alone_and_side_by_side(kind, tmp_path):
    """Without fused attention; without attention, where padding on the left cannot be hidden."""
    _, folder = saved(CAUSAL[kind](), t.AutoModelForCausalLM, "byte-level", tmp_path)
    model = load_model(str(folder), device="cpu")
    rows = [np.arange(20, 20 + n) for n in (7, 4)]
    together = model.write(rows, Decoding(5))
    assert together == [model.write([row], Decoding(5))[0] for row in rows]
    assert any(together)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "siluu"}, "'siluu'"),
        ({"num_attention_heads": "four"}, "num_attention_heads"),
    ],
)
def test_a_config_that_makes_no_sense(tiny_folder, tmp_path, change, said):
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    assert said in refused(tmp_path)


def test_a_device_that_holds_no_numbers_is_refused():
    with pytest.raises(HardpromptError, match="--device meta cannot be used here"):
        load_model("mini", device="meta")


@pytest.mark.parametrize("own", [False, True])
def test_a_revision_is_of_the_hub_only(own, tiny_folder):
    with pytest.raises(HardpromptError, match="--revision names a commit"):
        load_model(str(tiny_folder) if own else "mini", revision="main")
