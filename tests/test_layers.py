"""How the package is laid out: imports go down, files are short, importing does nothing, names are documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowtorch
from flowtorch.bijectors import Bijector
from flowtorch.parameters import Parameters

PACKAGE = Path(flowtorch.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the top down: what stands in a line may import from the lines below it (and from its own part).
LAYERS = [
    {"__init__", "testing", "__main__"},
    {"cli"},
    {"yaml"},
    {"convert"},
    {"sklearn"},
    {"export", "plot", "pyro", "sbi", "train"},
    {"objectives"},
    {"flows", "distributions", "config"},
    {"bijectors"},
    {"parameters"},
    {"nn"},
    {"ops"},
    {"container"},
    {"domains", "options", "specification", "summary"},
    {"types", "_native", "_triton"},
    {"errors"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def name(path: Path) -> str:
    return ".".join(("flowtorch", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def part(module: str) -> str:
    """The part of the package that a module belongs to: ``bijectors`` for ``flowtorch.bijectors.base``."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Lines and full names of what a file imports from flowtorch, wherever the import stands."""
    package = name(path) if path.name == "__init__.py" else name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, f) for f in found if f.split(".")[0] == "flowtorch")


def test_the_reader_of_imports_reads_them() -> None:
    found = {f for _, f in imports(PACKAGE / "bijectors" / "affine.py")}
    assert {"flowtorch.ops", "flowtorch.errors.OptionError", "flowtorch.bijectors.elementwise.Elementwise"} <= found
    assert part("flowtorch.bijectors.elementwise.Elementwise") == "bijectors"
    assert part("flowtorch") == "__init__"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_down_only(path: Path) -> None:
    here = part(name(path))
    assert here in LEVEL, f"say in LAYERS where {here} belongs"
    for line, module in imports(path):
        there = part(module)
        allowed = there == here or LEVEL[there] > LEVEL[here]
        assert allowed, f"{path.name}:{line}: {here} is expected to import from below itself; got {module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_module_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=name)
def test_init_files_are_imports_and_a_literal_all(path: Path) -> None:
    docstring, *body = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    defined, public = {"__version__"}, None
    for node in body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname is not None for alias in node.names), "write `from .x import X as X`"
            # An underscore: imported for the error that it may raise, before anything else.
            defined |= {str(alias.asname) for alias in node.names if alias.asname != "_extra"}
        else:
            assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name), ast.unparse(node)
            value = ast.literal_eval(node.value)
            assert node.targets[0].id in ("__all__", "__version__")
            public = value if node.targets[0].id == "__all__" else public
    assert public is not None and len(public) == len(set(public))
    assert set(public) == {d for d in defined if not d.startswith("__") or d in public}


PUBLIC = [
    (name(path), public)
    for path in FILES
    if path.name == "__init__.py"
    for public in importlib.import_module(name(path)).__all__
]


@pytest.mark.parametrize(("module", "public"), PUBLIC, ids=[f"{m}.{p}" for m, p in PUBLIC])
def test_every_public_name_is_there_and_documented(module: str, public: str) -> None:
    found = getattr(importlib.import_module(module), public)
    if public == "__version__":
        assert found.count(".") >= 2
        return
    text = inspect.getdoc(found) or ""
    assert text.split("\n\n")[0].endswith((".", "?")), f"{public} is expected to begin with a sentence"
    is_class = isinstance(found, type)
    plan = is_class and issubclass(found, Bijector | Parameters) and not inspect.isabstract(found)
    if plan or (callable(found) and not is_class):
        assert "Example:" in text and ">>>" in text, f"{public} has no example"
    if is_class and found.__module__.startswith("flowtorch"):
        assert found.__doc__, f"{public} inherits its docstring"


IMPORTING = """
import random, sys, threading, time, warnings
import torch
before = dict(
    seed=torch.random.get_rng_state().tolist(), python=random.getstate(), dtype=torch.get_default_dtype(),
    validate=torch.distributions.Distribution._validate_args, grad=torch.is_grad_enabled(),
    threads=torch.get_num_threads(), filters=list(warnings.filters), alive=threading.active_count(),
    anomaly=torch.is_anomaly_enabled(), deterministic=torch.are_deterministic_algorithms_enabled(),
    limit=sys.getrecursionlimit(), hook=sys.excepthook,
)
names = set(vars(torch)), set(vars(torch.distributions)), set(vars(torch.nn.Module))
modules = set(sys.modules)
start = time.process_time()
import flowtorch, flowtorch.testing
seconds = time.process_time() - start
after = dict(
    seed=torch.random.get_rng_state().tolist(), python=random.getstate(), dtype=torch.get_default_dtype(),
    validate=torch.distributions.Distribution._validate_args, grad=torch.is_grad_enabled(),
    threads=torch.get_num_threads(), filters=list(warnings.filters), alive=threading.active_count(),
    anomaly=torch.is_anomaly_enabled(), deterministic=torch.are_deterministic_algorithms_enabled(),
    limit=sys.getrecursionlimit(), hook=sys.excepthook,
)
assert before == after, [k for k in before if before[k] != after[k]]
added = [sorted(set(vars(t)) - n) for t, n in zip((torch, torch.distributions, torch.nn.Module), names)]
assert added == [[], [], []], added
added = {m.split(".")[0] for m in set(sys.modules) - modules} - set(sys.stdlib_module_names)
assert added <= {"flowtorch", "torch", "typing_extensions"}, added
assert not {"torch._dynamo", "torch._inductor"} & (set(sys.modules) - modules)
print(seconds)
"""


def test_importing_computes_nothing_changes_nothing_and_is_quick() -> None:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", IMPORTING], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 1.0  # seconds of processor time: several times what it takes
