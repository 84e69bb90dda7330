"""BERTScore with an encoder of one's own; its matching is compared in test_oracle.py."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.metrics import text_metric_named
from hardprompt.models.encoder import load_encoder
from tests.families import save_causal, save_masked

TEXTS = ["a film of great warmth", "it was terrible , and long", "great"]
OTHERS = [["a warm film", "a great film"], ["terrible and so long"], ["not good"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_masked("bert", tmp_path_factory.mktemp("encoders") / "bert")


@pytest.fixture(scope="module")
def encoder(folder):
    return load_encoder(str(folder))


def by_hand(folder, hypothesis, references, layer):
    """Equations of the paper, one pair of texts at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    def states(text):
        read = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            found = model(**read, output_hidden_states=True).hidden_states[layer][0]
        return torch.nn.functional.normalize(found.double(), dim=1)

    scores = []
    for reference in references:
        cosines = states(hypothesis) @ states(reference).T
        precision = cosines.max(1).values[1:-1].mean()
        recall = cosines.max(0).values[1:-1].mean()
        scores.append(float(2 * precision * recall / (precision + recall)))
    return 100 * max(scores)


@pytest.mark.parametrize("layer", [None, 1])
def test_it_is_the_paper_s_figure_of_the_encoder_s_layer(folder, layer):
    metric = text_metric_named("bertscore", load_encoder(str(folder), layer=layer))
    stats = metric.stats(TEXTS, OTHERS)
    expected = [
        by_hand(folder, text, others, 2 if layer is None else layer)
        for text, others in zip(TEXTS, OTHERS, strict=True)
    ]
    # float32, in batches of another size.
    assert stats[:, 0] == pytest.approx(expected, abs=1e-3)
    assert metric.figure(stats) == pytest.approx(np.mean(expected), abs=1e-3)


def test_the_same_text_comes_to_100_and_no_text_to_0(encoder):
    metric = text_metric_named("bertscore", encoder)
    stats = metric.stats([*TEXTS, "", "a film"], [[text] for text in [*TEXTS, "a film", ""]])
    assert stats[:, 0] == pytest.approx([100, 100, 100, 0, 0], abs=1e-3)


def test_rare_tokens_weigh_more_with_idf(encoder):
    texts, references = ["a film", "a day"], [["a film"], ["a great film"]]
    plain = text_metric_named("bertscore", encoder).stats(texts, references)
    weighed = text_metric_named("bertscore", encoder, idf=True).stats(texts, references)
    # All that the first reference is made of stands in every reference: nothing in it counts.
    assert weighed[0, 0] == 0 < plain[0, 0]
    assert 0 < weighed[1, 0] != plain[1, 0]


def test_figures_do_not_hang_on_what_is_encoded_together(encoder):
    metric = text_metric_named("bertscore", encoder)
    texts, references = TEXTS * 30, OTHERS * 30  # more than one chunk
    stats = metric.stats(texts, references)
    assert stats == pytest.approx(np.tile(metric.stats(TEXTS, OTHERS), (30, 1)), abs=1e-3)


def test_a_causal_model_without_special_tokens_is_an_encoder_too(tmp_path):
    folder = save_causal("byte-level", tmp_path / "gpt2", bare=True)
    metric = text_metric_named("bertscore", load_encoder(str(folder)))
    stats = metric.stats(["a great film", ""], [["a great film"], ["a film"]])
    assert stats[:, 0] == pytest.approx([100, 0], abs=1e-3)


def test_a_text_beyond_the_context_is_cut(encoder):
    metric = text_metric_named("bertscore", encoder)
    assert np.isfinite(metric.stats(["film " * 500], [["a film"]])).all()


def test_the_signature_names_the_encoder(encoder, folder):
    signature = text_metric_named("bertscore", encoder, idf=True).signature
    assert f"model:{folder}" in signature
    assert "layer:2" in signature
    assert "idf:yes" in signature


def test_without_an_encoder_or_with_none_such_there_is_one_line(folder, tmp_path):
    with pytest.raises(UsageError, match="bertscore needs an encoder"):
        text_metric_named("bertscore")
    with pytest.raises(UsageError, match="no layer 3; give one from 0 to 2"):
        load_encoder(str(folder), layer=3)
    with pytest.raises(HardpromptError, match="no model folder"):
        load_encoder(str(tmp_path / "nowhere"))
