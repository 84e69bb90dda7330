"""Puts a trained model into the package, with the sha256 of every file.

python tools/release_mini.py build/mini/model
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

TARGET = Path(__file__).parents[1] / "hardprompt" / "models" / "mini"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
MOST_BYTES = 15 * 1024**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    source = parser.parse_args().source
    sums = {}
    for name in FILES:
        content = (source / name).read_bytes()
        sums[name] = hashlib.sha256(content).hexdigest()
        shutil.copyfile(source / name, TARGET / name)
    size = sum((TARGET / name).stat().st_size for name in FILES)
    if size > MOST_BYTES:
        raise SystemExit(f"the model has {size:,} bytes; at most {MOST_BYTES:,} may be shipped")
    (TARGET / "sha256.json").write_text(json.dumps(sums, indent=1) + "\n", encoding="utf8")
    print(f"{size:,} bytes in {TARGET}")


if __name__ == "__main__":
    main()
