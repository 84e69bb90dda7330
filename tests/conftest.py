"""Small random models of many families around the embedded tokenizer; nothing is downloaded."""

import copy
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
NEEDS_PEFT = ("lora", "llama-adapter")  # methods of a comparison
HAS_PEFT = find_spec("peft") is not None
SHARED = Path(__file__).parents[2] / "shared"
WIDTH = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def shared(part: str) -> Path:
    """A path of the data beside the checkout; the test is skipped where it is absent."""
    path = SHARED / part
    if not path.exists():
        pytest.skip(f"needs {part} beside the checkout")
    return path


def call(*args, **options):
    """Runs a command in this process; errors come through as they are."""
    from click.testing import CliRunner

    from hardprompt.cli import main

    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=True, **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def configs(vocabulary: int) -> dict:
    import transformers as t

    common = {"vocab_size": vocabulary, "max_position_embeddings": 256, **WIDTH}
    llama_like = {**common, "intermediate_size": 96, "num_key_value_heads": 2}
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    return {
        "gpt2": t.GPT2Config(
            vocab_size=vocabulary, n_embd=64, n_layer=2, n_head=4, n_positions=256,
            bos_token_id=0, eos_token_id=0,
        ),
        "llama": t.LlamaConfig(**llama_like, **special),
        "qwen2": t.Qwen2Config(**llama_like, **special),
        "gemma": t.GemmaConfig(**llama_like, head_dim=16, **special),
        "gemma2": t.Gemma2Config(**llama_like, head_dim=16, sliding_window=8, **special),
        "opt": t.OPTConfig(**common, word_embed_proj_dim=64, ffn_dim=96, **special),
        "gpt_neox": t.GPTNeoXConfig(**common, intermediate_size=96, **special),
    }  # fmt: skip


FAMILIES = ["gpt2", "llama", "qwen2", "gemma", "gemma2", "opt", "gpt_neox"]


@pytest.fixture(scope="session")
def tokenizer():
    from transformers import AutoTokenizer

    from hardprompt.models.mini import FOLDER

    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="session")
def make_model(tokenizer):
    """`make_model(family)` -> (transformers model, CausalModel) with large random weights."""
    import torch
    from transformers import AutoModelForCausalLM

    from hardprompt.models.causal import CausalModel
    from hardprompt.models.choose import causal_model
    from hardprompt.models.codec import Codec
    from hardprompt.models.load import _info
    from hardprompt.scoring.batching import Batcher

    def make(family, codec=None, tokens=2048, rows=None, plain=False):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(configs(len(tokenizer))[family]).eval()
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data.mul_(4)  # random models of the usual scale hardly react to a prompt
        codec = codec or Codec(tokenizer)
        info = _info(family, model, tokenizer)
        if plain:
            return model, CausalModel(model, codec, info, Batcher(tokens, rows))
        twin = copy.deepcopy(model)  # whose attention is another one from now on
        return model, causal_model(twin, codec, info, Batcher(tokens, rows))

    return make


@pytest.fixture(scope="session")
def tiny_folder(make_model, tokenizer, tmp_path_factory):
    """A saved model folder, small enough for whole searches in tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model, _ = make_model("llama")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_moods(folder):
    """A folder task of 24 + 12 + 12 short rows."""
    folder.mkdir()
    good, bad = ("lovely warm day", "what fun we had"), ("cold wet night", "we lost it all")
    for split, n in (("train", 6), ("dev", 3), ("test", 3)):
        rows = [
            {"text": f"{text} number {i} of {split}", "label": label}
            for i in range(n)
            for label, texts in (("good", good), ("bad", bad))
            for text in texts
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf8")
    return folder


@pytest.fixture
def task_folder(tmp_path):
    return write_moods(tmp_path / "moods")


@pytest.fixture(scope="session")
def found_run(tiny_folder, tmp_path_factory):
    """The folder of a finished search of a second on the moods."""
    root = tmp_path_factory.mktemp("found")
    args = ["--model", tiny_folder, "--len", 2, "--budget", 20, "--vocab-top", 200, "--strategy",
            "random", "--output-dir", root / "runs"]  # fmt: skip
    result = call("search", "--task", write_moods(root / "moods"), *args, "--json")
    return Path(json.loads(result.stdout)["run"])
