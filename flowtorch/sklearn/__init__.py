"""Flows as scikit-learn estimators (extra ``sklearn``): numpy in and out, in pipelines and searches."""

from . import extra as _extra  # noqa: F401  # first: where there is no scikit-learn, there may be no NumPy either
from .conditional import ConditionalFlowDensity as ConditionalFlowDensity
from .density import FlowDensity as FlowDensity

__all__ = ["ConditionalFlowDensity", "FlowDensity"]
