"""Distributions: the flow, and bases for it."""

from .base import register_base as register_base
from .box import BoxUniform as BoxUniform
from .circle import UniformCircle as UniformCircle
from .circle import VonMises as VonMises
from .flow import Flow as Flow
from .mixture import GaussianMixture as GaussianMixture
from .mixture_of_flows import MixtureOfFlows as MixtureOfFlows
from .module import ModuleDistribution as ModuleDistribution
from .module import ModuleView as ModuleView
from .multivariate import MultivariateNormal as MultivariateNormal
from .multivariate import MultivariateStudentT as MultivariateStudentT
from .normal import ConditionalNormal as ConditionalNormal
from .normal import DiagNormal as DiagNormal
from .product import Product as Product
from .resampled import ResampledBase as ResampledBase
from .saving import load as load
from .student import StudentT as StudentT
from .truncated import Truncated as Truncated
from .view import FlowView as FlowView

__all__ = [
    "BoxUniform",
    "ConditionalNormal",
    "DiagNormal",
    "Flow",
    "FlowView",
    "GaussianMixture",
    "MixtureOfFlows",
    "ModuleDistribution",
    "ModuleView",
    "MultivariateNormal",
    "MultivariateStudentT",
    "Product",
    "ResampledBase",
    "StudentT",
    "Truncated",
    "UniformCircle",
    "VonMises",
    "load",
    "register_base",
]
