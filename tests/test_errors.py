"""Every ``raise`` of the core has a test of its words, and every error is also the builtin that one would catch.

The tables are in ``tests/refused``; a new file there with a ``REFUSED`` of its own is found here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowtorch
from flowtorch import errors
from flowtorch.errors import FlowTorchError

PACKAGE = Path(flowtorch.__file__).parent
MODULES = [
    *(PACKAGE / f"{name}.py" for name in ("options", "types", "specification", "domains", "summary", "container")),
    *(
        path
        for folder in (
            "ops",
            "distributions",
            "distributions/targets",
            "bijectors",
            "parameters",
            "nn",
            "convert",
            "flows",
            "objectives",
            "plot",
            "sbi",
            "sklearn",
            "cli",
            "export",
            "pyro",
        )
        for path in sorted((PACKAGE / folder).glob("*.py"))
        if path.name not in ("extra.py", "parser.py")  # an ImportError, and what argparse wants
    ),
    # around.py hands on what another library raised.
    *(PACKAGE / "train" / f"{name}.py" for name in ("callbacks", "checks", "data", "diagnosis", "fit", "module")),
]
# For each class of errors, the words of a message, in this order, and what raises it.
TABLES = {
    path.stem: importlib.import_module(f"tests.refused.{path.stem}").REFUSED
    for path in sorted((Path(__file__).parent / "refused").glob("*.py"))
}
CASES: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    f"{name}: {words}": (error, words, call)
    for name, table in TABLES.items()
    for error, calls in table.items()
    for words, call in calls.items()
}


def raises(path: Path) -> Iterator[tuple[int, int, str]]:
    """The first and last line and the text of each ``raise`` that does not just hand an error on."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node.lineno, node.end_lineno or node.lineno, ast.unparse(node)


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_these_words(name: str) -> None:
    error, words, call = CASES[name]
    pattern = ".*".join(re.escape(part) for part in words.split(" ... "))
    with pytest.raises(error, match=f"(?s){pattern}") as info:
        call()
    assert type(info.value) is error


def caught(call: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as info:  # the tables' own tests say which
        call()
    return info.value


def where_raised(error: BaseException | None) -> Iterator[tuple[Path, int]]:
    """The file and line of the ``raise`` of an error, and of those that it was raised from."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            yield Path(trace.tb_frame.f_code.co_filename), trace.tb_lineno
        error = error.__cause__ or error.__context__


@pytest.fixture(scope="module")
def reached() -> set[tuple[Path, int]]:
    return {place for _, _, call in CASES.values() for place in where_raised(caught(call))}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_raise_is_reached_by_a_case_of_the_tables(path: Path, reached: set[tuple[Path, int]]) -> None:
    lines = {line for place, line in reached if place == path}
    missing = [text for first, last, text in raises(path) if lines.isdisjoint(range(first, last + 1))]
    assert not missing, f"{path.name}: no test of the words of\n" + "\n".join(missing)


def test_there_is_something_to_reach() -> None:
    assert sum(1 for path in MODULES for _ in raises(path)) > 80


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_errors_of_our_own_are_raised(path: Path) -> None:
    allowed = {f"raise {name}(" for name, _ in inspect.getmembers(errors, inspect.isclass)}
    allowed |= {"raise self.refuse(", "raise self._refuse("}  # a FileError each, of the file that is read
    foreign = [text for _, _, text in raises(path) if not text.startswith(tuple(allowed))]
    # Python's protocol for attributes that are not there.
    assert [text for text in foreign if not text.startswith("raise AttributeError(")] == []


BUILTINS = {
    errors.ShapeError: (ValueError,),
    errors.ContextError: (ValueError,),
    errors.DomainError: (ValueError,),
    errors.OptionError: (ValueError,),
    errors.OptionTypeError: (TypeError,),
    errors.NotBoundError: (TypeError, AttributeError),
    errors.AlreadyBoundError: (TypeError,),
    errors.BaseError: (ValueError,),
    errors.NotSupportedError: (NotImplementedError,),
    errors.SpecificationError: (ValueError,),
    errors.FileError: (ValueError,),
}


def test_every_error_is_also_the_builtin_that_one_would_catch() -> None:
    defined = {c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__}
    assert defined - {FlowTorchError} == set(BUILTINS)
    for error, builtins in BUILTINS.items():
        assert issubclass(error, FlowTorchError) and all(issubclass(error, b) for b in builtins)
        assert error.__doc__


@pytest.mark.parametrize("name", CASES)
def test_messages_say_who_and_what_is_expected(name: str) -> None:
    error, _, call = CASES[name]
    message = str(caught(call))
    if issubclass(error, FlowTorchError):
        who, text = message.split(": ", 1)
        assert who[0].isalpha() and text.endswith((".", "?")) and "  " not in text
        assert not re.search(r"[^.]\.\.$", text)
        assert "got" in text or error is errors.NotSupportedError or "which has none of its own" in text
