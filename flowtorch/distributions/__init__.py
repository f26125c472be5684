"""Distributions: the flow, bases for it, and targets to fit it to."""

from . import targets as targets
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
from .targets import Banana as Banana
from .targets import Checkerboard as Checkerboard
from .targets import DiagNormalMixture as DiagNormalMixture
from .targets import EightGaussians as EightGaussians
from .targets import NealsFunnel as NealsFunnel
from .targets import Pinwheel as Pinwheel
from .targets import Spirals as Spirals
from .targets import TwoCircles as TwoCircles
from .targets import TwoMoons as TwoMoons
from .truncated import Truncated as Truncated
from .view import FlowView as FlowView

__all__ = [
    "Banana",
    "BoxUniform",
    "Checkerboard",
    "ConditionalNormal",
    "DiagNormal",
    "DiagNormalMixture",
    "EightGaussians",
    "Flow",
    "FlowView",
    "GaussianMixture",
    "MixtureOfFlows",
    "ModuleDistribution",
    "ModuleView",
    "MultivariateNormal",
    "MultivariateStudentT",
    "NealsFunnel",
    "Pinwheel",
    "Product",
    "ResampledBase",
    "Spirals",
    "StudentT",
    "Truncated",
    "TwoCircles",
    "TwoMoons",
    "UniformCircle",
    "VonMises",
    "load",
    "register_base",
    "targets",
]
