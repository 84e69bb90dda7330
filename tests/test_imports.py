"""Who may import whom, and what may never be written; read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hardprompt"
FILES = sorted(PACKAGE.rglob("*.py"))
# part of the package -> what it must not import
FORBIDDEN = {
    "strategies": {"transformers", "click", "hardprompt.models", "hardprompt.study",
                   "hardprompt.ledger", "hardprompt.session", "hardprompt.cli"},
    "report": {"torch", "transformers", "hardprompt.models", "hardprompt.study"},
    "scoring": {"hardprompt.study", "hardprompt.session", "hardprompt.cli", "hardprompt.tasks"},
    "tasks": {"torch", "transformers", "hardprompt.models", "hardprompt.session",
              "hardprompt.check", "hardprompt.report"},
    "metrics": {"torch", "transformers", "hardprompt.models", "hardprompt.session"},
    "baselines": {"click", "hardprompt.cli", "hardprompt.commands", "hardprompt.report", "peft"},
    "bank": {"click", "hardprompt.cli", "hardprompt.commands", "hardprompt.report", "peft"},
    "adapt": {"click", "hardprompt.cli", "hardprompt.commands", "hardprompt.report",
              "hardprompt.session", "hardprompt.baselines"},
    "models": {"click", "hardprompt.adapt", "hardprompt.session", "hardprompt.tasks",
               "hardprompt.study", "hardprompt.report", "hardprompt.cli"},
    "commands": {"torch", "numpy", "sklearn", "optuna", "hardprompt.cli"},
    "types.py": {"torch", "transformers", "hardprompt"},
    "space.py": {"torch", "transformers", "hardprompt.models"},
}  # fmt: skip
EVERYWHERE = {"pickle", "dill", "shelve", "marshal", "joblib"}


def imported(tree):
    """Modules imported anywhere in a file, but for those seen by type checkers only."""
    checked = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = path.relative_to(PACKAGE).parts[0]
    forbidden = FORBIDDEN.get(part, set()) | EVERYWHERE
    for module in imported(ast.parse(path.read_text(encoding="utf8"))):
        for name in forbidden:
            assert not f"{module}.".startswith(f"{name}."), f"{path}: {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_models_are_loaded_without_foreign_code(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "trust_remote_code":
                    assert ast.unparse(keyword.value) == "False"
            assert ast.unparse(node.func) not in {"eval", "exec", "torch.load"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_and_exits(path):
    if path.name in {"cli.py", "__main__.py"} or path.parent.name == "commands":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"print", "sys.exit", "exit", "click.echo"}


def test_the_package_imports_nothing_heavy():
    code = (
        "import sys, hardprompt; "
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules); "
        "assert hardprompt.__version__"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_no_file_grows_too_long():
    assert not [path for path in FILES if path.read_text(encoding="utf8").count("\n") > 400]
