"""Every family of tokenizers: exact scores, and prompts that stay what they are when pasted."""

import json

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from benchmarks.retokenise import KINDS, TEMPLATES, count
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError
from hardprompt.models.load import load_model
from hardprompt.models.tokenizer import load_tokenizer, probes
from hardprompt.scoring.scorer import Scorer
from hardprompt.session import Session
from hardprompt.types import EMPTY
from hardprompt.vocabulary import Vocabulary
from tests.families import FAMILIES, save_causal, wrapped
from tests.test_masked import scored, some_ids
from tests.test_scoring import TEXTS, TOLERANCE, WORDS, build, by_hand

# Classes whose words look alike to a tokenizer: a shared first token, a word that begins another.
HOSTILE = {
    "shared first token": ("not good", "not great"),
    "prefix of another": ("good", "good film"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {family: save_causal(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def loaded(folders):
    """`loaded[family]`: transformers' own model, and ours."""
    return {
        family: (AutoModelForCausalLM.from_pretrained(folder), load_model(str(folder)))
        for family, folder in folders.items()
    }


@pytest.mark.parametrize("words", [*WORDS.values(), *HOSTILE.values()], ids=[*WORDS, *HOSTILE])
@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_scores_equal_the_naive_ones(loaded, family, source, words):
    check_exact(*loaded[family], source, words)


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizers_without_special_tokens_are_exact_too(tmp_path, family, words):
    folder = save_causal(family, tmp_path / "bare", bare=True)
    plain, model = AutoModelForCausalLM.from_pretrained(folder), load_model(str(folder))
    assert model.codec.prefix == model.codec.suffix == ()
    check_exact(plain, model, TEMPLATES[0], words)


def check_exact(plain, model, source, words):
    scorer, space = build(model, source, words)
    ids = some_ids(space, 2)
    assert scorer.survives(ids).all()
    out = scored(scorer, ids)
    assert np.abs(out[0] - out[1]).max() > 1e3 * TOLERANCE, "the model must react to the prompt"
    for row, scores in zip(ids, out, strict=True):
        prompts = scorer.renderer.prompt_texts(row, space.slots)
        for text, got in zip(TEXTS, scores, strict=True):
            context = scorer.renderer.template.render(prompts, text)
            expected = by_hand(plain, model.codec, context, words)
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.fixture(scope="module")
def tokenizers(folders):
    return {family: load_tokenizer(str(folder), family, None) for family, folder in folders.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_prompt_changes_its_ids_when_pasted(tokenizers, family, source, kind):
    found = count(tokenizers[family], source, kind, 170)  # 510 a family over the templates
    assert found.changed == 0
    if kind == "words":  # chosen so that they never join
        assert found.refused == 0
    else:
        assert 0 < found.refused < found.tried


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_slot_does_not_let_broken_prompts_through(loaded, family):
    _, model = loaded[family]
    scorer, space = build(model, TEMPLATES[2])
    vocabulary = Vocabulary.build(model.codec, len(model.embeddings), "all")
    rng = np.random.default_rng(0)
    ids = rng.choice(vocabulary.tokens, size=(200, space.length))
    ids[:, :2] = EMPTY  # the first slot; the second stands after the text
    alive = scorer.survives(ids)
    assert alive.any()
    assert not alive.all()
    renderer, codec = scorer.renderer, model.codec
    for row in ids[alive]:
        texts = renderer.prompt_texts(row, space.slots)
        assert renderer.encode(texts, TEXTS[2:3])[0][-3:] == row[2:].tolist(), codec.piece(row[2:])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vocabulary_holds_what_the_template_lets_stand(folders, task_folder, family):
    config = RunConfig(
        task=str(task_folder), model=str(folders[family]), vocabulary="all",
        template="{text} {prompt} {label}", length=2,
    )  # fmt: skip
    session = Session.prepare(config)
    scorer: Scorer = session.scorers["search"]
    tokens = session.space.tokens
    alone = np.stack([tokens, np.full(len(tokens), EMPTY)], axis=1)
    behind = np.stack([np.full(len(tokens), scorer._probes[0]), tokens], axis=1)
    assert (scorer.survives(alone) | scorer.survives(behind)).all()
    everything = Vocabulary.build(
        session.model.codec, len(session.space.embeddings), "all", label_words=("good", "bad")
    )
    lost = len(everything.tokens) - len(tokens)
    notes = [note for note in session.vocabulary.notes if "written in this template" in note]
    assert [int(note.split()[0]) for note in notes] == ([lost] if lost else [])


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_whole_words_in_every_family(tokenizers, loaded, family):
    _, model = loaded[family]
    vocabulary = Vocabulary.build(model.codec, len(model.embeddings))
    pieces = {model.codec.piece([int(token)]) for token in vocabulary.tokens}
    assert len(pieces) == len(vocabulary.tokens) > 150
    assert {" the", " it"} <= pieces
    assert not any("#" in piece or "▁" in piece or "Ġ" in piece for piece in pieces)


def test_wordpiece_writes_what_it_reads(loaded):
    codec = loaded["wordpiece"][1].codec
    for text in ("do not go", "it was good .", "the film ' s end ?"):
        start = len(codec.encode("a"))
        assert codec.piece(codec.encode(f"a {text}")[start:]).split() == text.split()


def test_unknown_words_of_a_file_are_left_out(loaded, tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("good\nGood\n中\n", encoding="utf8")
    _, model = loaded["wordpiece"]
    vocabulary = Vocabulary.build(model.codec, len(model.embeddings), str(file))
    assert [model.codec.piece([int(token)]) for token in vocabulary.tokens] == [" good"]
    assert "1 words" in vocabulary.notes[0]


def test_a_tokenizer_that_departs_from_its_file_is_refused(tmp_path):
    assert len(set(probes())) == len(probes()) == 200
    folder = tmp_path / "changed"
    wrapped("metaspace").save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    # A class that builds a byte-level tokenizer of its own around the vocabulary: spaces vanish.
    path.write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}), encoding="utf8")
    with pytest.raises(HardpromptError, match=r"its own tokenizer\.json says") as caught:
        load_tokenizer(str(folder), "mine", None)
    assert "\n" not in str(caught.value)
    # As advised.
    path.write_text(
        json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf8"
    )
    assert load_tokenizer(str(folder), "mine", None)("the film")["input_ids"]
