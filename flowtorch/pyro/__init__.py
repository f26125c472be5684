"""Flows in Pyro (extra ``pyro``): as distributions of models and guides, and as a guide of any model."""

from .auto_flow import AutoFlow as AutoFlow
from .distribution import PyroDistribution as PyroDistribution
from .distribution import to_pyro as to_pyro

__all__ = [
    "AutoFlow",
    "PyroDistribution",
    "to_pyro",
]
