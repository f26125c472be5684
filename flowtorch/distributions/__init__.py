"""Distributions: the flow, and bases for it."""

from .base import register_base as register_base
from .flow import Flow as Flow
from .normal import ConditionalNormal as ConditionalNormal
from .normal import DiagNormal as DiagNormal
from .saving import load as load
from .view import FlowView as FlowView

__all__ = ["ConditionalNormal", "DiagNormal", "Flow", "FlowView", "load", "register_base"]
