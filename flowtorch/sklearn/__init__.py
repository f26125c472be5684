"""Flows as scikit-learn estimators (extra ``sklearn``): numpy in and out, in pipelines and searches."""

from .conditional import ConditionalFlowDensity as ConditionalFlowDensity
from .density import FlowDensity as FlowDensity

__all__ = ["ConditionalFlowDensity", "FlowDensity"]
