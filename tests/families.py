"""Tiny tokenizers of every family, trained on the built-in task; models around them."""

import json

import torch
import transformers as t
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from hardprompt.tasks.load import load_task

SIZE = 1500
WIDTH = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def _corpus():
    task = load_task("sentiment", search_rows=None)
    texts = [example.text for split in (task.search, task.dev) for example in split]
    # So that the label words of the tests are one token each, whatever the family.
    return texts + ["it was not good , so terrible and so great ."] * 40


def _framed(tokenizer, start, end):
    special = [(name, tokenizer.token_to_id(name)) for name in {start, end} - {None}]
    pattern = " ".join(part for part in (start, "$A", end) if part)
    tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=special)


def byte_level(start="<s>", end="</s>"):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)]
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=SIZE,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    _framed(tokenizer, start, end)
    return tokenizer, {**ROBERTA, "mask_token": AddedToken("<mask>", lstrip=True)}


def metaspace(start="<s>", end=None):
    """As Llama's: the spaces are made by the normaliser, there is no pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<unk>", "<s>", "</s>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_corpus(), trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:4]  # the bytes are ordinary tokens
    content["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    _framed(tokenizer, start, end)
    return tokenizer, ROBERTA


def unigram(start="[CLS]", end="[SEP]"):
    """As ALBERT's: lower case, no accents."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "[UNK]", "[CLS]", "[SEP]", AddedToken("[MASK]", lstrip=True)]
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.UnigramTrainer(
            vocab_size=SIZE, special_tokens=special, unk_token="[UNK]", show_progress=False
        ),
    )
    _framed(tokenizer, start, end)
    return tokenizer, {
        **BERT, "pad_token": "<pad>", "mask_token": AddedToken("[MASK]", lstrip=True)
    }  # fmt: skip


def wordpiece(start="[CLS]", end="[SEP]"):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=SIZE, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    _framed(tokenizer, start, end)
    return tokenizer, {**BERT, "mask_token": "[MASK]"}


FAMILIES = {
    "byte-level": byte_level,
    "metaspace": metaspace,
    "unigram": unigram,
    "wordpiece": wordpiece,
}


def wrapped(family, bare=False):
    """A tokenizer of the family as transformers hands it out; `bare` has no special tokens."""
    if bare:
        tokenizer, _ = FAMILIES[family](start=None, end=None)
        return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    tokenizer, special = FAMILIES[family]()
    return t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def masked_configs(size):
    common = {"vocab_size": size, "max_position_embeddings": 130}
    bert_like = {**common, **WIDTH, "intermediate_size": 96}
    return {
        "bert": ("wordpiece", t.BertConfig(**bert_like)),
        "roberta": (
            "byte-level",
            t.RobertaConfig(**bert_like, pad_token_id=1, bos_token_id=0, eos_token_id=2),
        ),
        "distilbert": (
            "wordpiece",
            t.DistilBertConfig(**common, dim=64, n_layers=2, n_heads=4, hidden_dim=96),
        ),
        "albert": ("unigram", t.AlbertConfig(**bert_like, embedding_size=32)),
        "electra": ("wordpiece", t.ElectraConfig(**bert_like, embedding_size=32)),
    }


MASKED = ("bert", "roberta", "distilbert", "albert", "electra")


def louder(model, by):
    """Random models of the usual scale hardly react to a prompt; much louder than needed, and
    float32 itself is no longer exact to a test's tolerance."""
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.mul_(by)
    return model.eval()


def save_masked(kind, folder):
    """A folder with a random masked model and its tokenizer."""
    family, config = masked_configs(SIZE)[kind]
    tokenizer = wrapped(family)
    torch.manual_seed(0)
    config.vocab_size = len(tokenizer)
    louder(t.AutoModelForMaskedLM.from_config(config), 6).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_causal(family, folder, bare=False):
    """A folder with a random GPT-2 and a tokenizer of that family."""
    tokenizer = wrapped(family, bare)
    torch.manual_seed(0)
    config = t.GPT2Config(
        vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4, n_positions=256,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    louder(t.AutoModelForCausalLM.from_config(config), 8).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
