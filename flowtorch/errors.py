"""The errors flowtorch raises.

Every one is a :class:`FlowTorchError` and also the builtin exception that one would catch without knowing the library.
Messages read ``Who: what is expected; got what came.``
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class FlowTorchError(Exception):
    """Anything flowtorch refuses."""


class ShapeError(FlowTorchError, ValueError):
    """A tensor or an event shape does not fit a layer."""


class ContextError(FlowTorchError, ValueError):
    """A context is missing, unexpected or of the wrong shape."""


class DomainError(FlowTorchError, ValueError):
    """A support, domain and codomain do not fit together, or a value lies outside."""


class OptionError(FlowTorchError, ValueError):
    """An option of a plan is out of its range."""


class OptionTypeError(FlowTorchError, TypeError):
    """An option of a plan is of the wrong type."""


class NotBoundError(FlowTorchError, TypeError, AttributeError):
    """A plan was used where a bound bijector is needed: bind it, or build a ``Flow``."""


class AlreadyBoundError(FlowTorchError, TypeError):
    """A bound bijector was used where a plan is needed: pass its ``.plan``."""


class BaseError(FlowTorchError, ValueError):
    """A base distribution cannot be carried by a flow."""


class NotSupportedError(FlowTorchError, NotImplementedError):
    """A quantity that has no exact form for this flow, such as the cdf of a multivariate one."""


class SpecificationError(FlowTorchError, ValueError):
    """A plan cannot be written as, or made from, a plain specification."""


class FileError(FlowTorchError, ValueError):
    """A file is no saved flow, or damaged, or of an unknown version."""


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Puts the name of a part before the messages of what is refused within.

    Args:
        part: what to call it, such as ``"Compose part 1 (Exp)"``.
    """
    try:
        yield
    except FlowTorchError as error:
        raise type(error)(f"{part}: {error}") from error
