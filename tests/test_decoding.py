"""How texts are written: beams, and nothing that a model brings of its own."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from hardprompt.models.writer import Decoding, _ends

TEXTS = ["The old mill", "It rains. The boats lie on the meadows of the lake, and", "A"]


@pytest.fixture(scope="module")
def loaded():
    from hardprompt.models.load import load_model

    return load_model("mini")


def rows(model):
    return [np.array(model.codec.encode(text), dtype=np.int64) for text in TEXTS]


def by_hand(model, row, beams, limit):
    """transformers' own `generate` of one row, without padding."""
    ends = _ends(model.codec)
    given = torch.tensor(row)[None]
    out = model._model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        generation_config=GenerationConfig(
            max_new_tokens=limit, num_beams=beams, do_sample=False, eos_token_id=ends,
            pad_token_id=ends[0],
        ),
    )  # fmt: skip
    ids = [token for token in out[0, given.shape[1] :].tolist() if token not in ends]
    return model.codec.piece(ids).strip().split("\n")[0].strip()


@pytest.mark.parametrize("beams", [1, 3])
def test_rows_written_together_are_what_each_is_alone(make_model, beams):
    _, model = make_model("llama", plain=True)
    written = model.write(rows(model), Decoding(6, beams))
    assert written == [by_hand(model, row, beams, 6) for row in rows(model)]


def total(model, row, text):
    """Log-probability of a text after a row."""
    end = model.codec.following([text])[0]
    with torch.no_grad():
        logits = model._model(input_ids=torch.tensor([[*row, *end]])).logits[0]
    told = logits.log_softmax(-1)[len(row) - 1 : -1]
    return float(told[torch.arange(len(end)), torch.tensor(end)].sum()), len(end)


def test_of_two_tokens_beams_find_no_less_likely_ones(loaded):
    """The first token of the greedy text is the best beam, so that its second is weighed too."""
    greedy, beamed = (loaded.write(rows(loaded), Decoding(2, beams)) for beams in (1, 4))
    compared = 0
    for row, one, other in zip(rows(loaded), greedy, beamed, strict=True):
        (first, n), (second, m) = (total(loaded, row, f" {text}") for text in (one, other))
        if n == m == 2:  # neither ended early, nor is read in another way
            assert second >= first - 1e-5  # float32
            compared += 1
    assert compared


def test_beams_of_points_are_those_of_their_words(make_model):
    _, model = make_model("llama", plain=True)
    points = [model.embeddings[row] for row in rows(model)]
    assert model.write(points, Decoding(5, 3)) == model.write(rows(model), Decoding(5, 3))


def test_penalties_of_the_models_own_config_change_nothing(make_model):
    _, model = make_model("llama", plain=True)
    plain = model.write(rows(model), Decoding(8))
    own = GenerationConfig(repetition_penalty=5.0, no_repeat_ngram_size=1, min_new_tokens=8)
    model._model.generation_config = own
    assert model.write(rows(model), Decoding(8)) == plain
    assert model._model.generation_config is own
