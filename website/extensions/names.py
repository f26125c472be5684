"""The directive ``names`` and the check that every public name has its place in the reference.

::

    .. names:: flowtorch.bijectors

       Spline LinearSpline

lists them with their first sentences, then documents each: a class with what it adds to public classes of flowtorch.
Without names it takes all that the package exports.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import flowtorch

logger = logging.getLogger(__name__)


@cache
def packages() -> list[ModuleType]:
    """Returns every public module of flowtorch that says what it exports."""
    found = [flowtorch]
    for info in pkgutil.walk_packages(flowtorch.__path__, "flowtorch."):
        parts = info.name.split(".")
        if (info.ispkg or len(parts) == 2) and not any(part.startswith("_") for part in parts):
            try:
                module = importlib.import_module(info.name)
            except ImportError as error:  # an extra that is not installed
                logger.warning("%s is left out: %s", info.name, error)
                continue
            if exported(module):
                found.append(module)
    return found


def exported(module: ModuleType) -> list[str]:
    """Returns the names in ``__all__`` that need a place; of the module of errors, every error."""
    if module is flowtorch.errors:
        return [name for name, value in vars(module).items() if isinstance(value, type)]
    names = getattr(module, "__all__", ())
    return [name for name in names if name != "__version__" and not inspect.ismodule(getattr(module, name))]


def members(cls: type) -> list[str]:
    """Returns the methods and properties that a class adds, its own and those of private classes below it."""
    below = cls.__mro__[1:]
    public = {k for module in packages() for k in vars(module).values() if isinstance(k, type)}
    said = {name for k in below if k in public and k.__module__.startswith("flowtorch") for name in vars(k)}
    own = [k for k in below if k not in public and k.__module__.startswith("flowtorch")]
    names: dict[str, None] = {}
    for k in (cls, *own):
        for name, value in vars(k).items():
            value = getattr(value, "__func__", value)
            written = inspect.isfunction(value) or isinstance(value, property)
            asked = not name.startswith("_") or getattr(value, "__isabstractmethod__", False)  # what authors write
            if written and value.__doc__ and asked and name not in said:
                names[name] = None
    return list(names)


class Names(SphinxDirective):
    """See above."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            module = importlib.import_module(self.arguments[0])
        except ImportError as error:
            logger.warning("%s is left out: %s", self.arguments[0], error, location=self.get_location())
            return [nodes.paragraph(text=f"{self.arguments[0]} could not be imported when this page was built.")]
        names = " ".join(self.content).split() or exported(module)
        known = module.__name__ in self.env.domains.python_domain.modules
        lines = [
            f".. {'currentmodule' if known else 'module'}:: {module.__name__}",
            "",
            ".. autosummary::",
            "   :nosignatures:",
            "",
        ]
        lines += [f"   {name}" for name in names]
        for name in names:
            lines += ["", *self.entry(module, name)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=False)

    def entry(self, module: ModuleType, name: str) -> list[str]:
        value = getattr(module, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            return [f".. autoexception:: {name}", "   :show-inheritance:"]
        if isinstance(value, type) and value.__name__ != name:  # another name of a class that has its own place
            return [f".. autoclass:: {name}"]
        if isinstance(value, type):
            listed = [
                f"   .. auto{'property' if isinstance(getattr(value, m), property) else 'method'}:: {name}.{m}"
                for m in members(value)
            ]
            return [f".. autoclass:: {name}", *(line for entry in listed for line in ("", entry))]
        return [f".. autofunction:: {name}" if callable(value) else f".. autodata:: {name}"]


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warns, which fails the build, when a name that is exported has no place."""
    documented = env.domains.python_domain.objects
    values = [vars(m)[name] for m in packages() for name in vars(m) if f"{m.__name__}.{name}" in documented]
    missing = [
        f"{module.__name__}.{name}"
        for module in packages()
        for name in exported(module)
        if not any(getattr(module, name) is value for value in values)  # perhaps under another package's name
    ]
    if missing:
        logger.warning("website/reference: a place for each public name is expected; none for %s", missing)


def inherited(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Element
) -> nodes.Node | None:
    """Resolves a method that a docstring names and a public class above documents."""
    if node.get("refdomain") != "py" or not node.get("py:class"):
        # In a table of first sentences nothing says whose method it is.
        return text if node["reftarget"].startswith("_") else None
    cls = getattr(importlib.import_module(node["py:module"]), node["py:class"].split(".")[0], None)
    documented = env.domains.python_domain.objects
    for k in getattr(cls, "__mro__", ()):
        for module in packages():
            name = f"{module.__name__}.{k.__name__}.{node['reftarget']}"
            if name in documented:
                entry = documented[name]
                return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [text])
    return None


def returned(self: GoogleDocstring, preprocess_types: bool = False) -> list[tuple[str, str, list[str]]]:
    lines = self._dedent(self._consume_to_next_section())
    return [("", "", lines)] if lines else []


def setup(app: Sphinx) -> dict[str, Any]:
    # Our docstrings leave types to annotations: what precedes a colon in them is text.
    GoogleDocstring._parse_attribute_docstring = lambda self: self._consume_to_end()  # type: ignore[method-assign]
    GoogleDocstring._consume_returns_section = returned  # type: ignore[method-assign]
    app.add_directive("names", Names)
    app.connect("missing-reference", inherited)
    app.connect("env-check-consistency", lambda app, env: check(app, env))
    return {"parallel_read_safe": True}
