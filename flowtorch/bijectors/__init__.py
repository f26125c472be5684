"""Bijectors: shape-free plans, and the modules they are bound to."""

from .affine import Affine as Affine
from .affine import Scale as Scale
from .affine import Shift as Shift
from .affine_fixed import AffineFixed as AffineFixed
from .affine_fixed import Standardize as Standardize
from .autoregressive import Autoregressive as Autoregressive
from .autoregressive import AutoregressiveFamily as AutoregressiveFamily
from .autoregressive import BoundAutoregressive as BoundAutoregressive
from .base import Bijector as Bijector
from .bernstein import Bernstein as Bernstein
from .bound import BoundBijector as BoundBijector
from .bounded import ArcSin as ArcSin
from .bounded import SigmoidTo as SigmoidTo
from .bounded import Sin as Sin
from .bounded import Softclip as Softclip
from .bounded import Softsign as Softsign
from .cdf import CDF as CDF
from .cdf import CauchyCDF as CauchyCDF
from .circular import CircularShift as CircularShift
from .compose import BoundCompose as BoundCompose
from .compose import Compose as Compose
from .coupling import BoundCoupling as BoundCoupling
from .coupling import Coupling as Coupling
from .coupling import CouplingFamily as CouplingFamily
from .deep_sigmoid import DeepSigmoid as DeepSigmoid
from .elementwise import BoundElementwise as BoundElementwise
from .elementwise import Elementwise as Elementwise
from .fixed import ELU as ELU
from .fixed import Exp as Exp
from .fixed import LeakyReLU as LeakyReLU
from .fixed import Power as Power
from .fixed import Sigmoid as Sigmoid
from .fixed import Softplus as Softplus
from .fixed import Tanh as Tanh
from .gaussian_mixture_cdf import GaussianMixtureCDF as GaussianMixtureCDF
from .invert import BoundInvert as BoundInvert
from .invert import Invert as Invert
from .logarithms import Expm1 as Expm1
from .logarithms import Log as Log
from .logarithms import Logit as Logit
from .logistic_mixture_cdf import LogisticMixtureCDF as LogisticMixtureCDF
from .named import AdditiveCoupling as AdditiveCoupling
from .named import AffineAutoregressive as AffineAutoregressive
from .named import AffineCoupling as AffineCoupling
from .named import SplineAutoregressive as SplineAutoregressive
from .named import SplineCoupling as SplineCoupling
from .numerical import NumericallyInverted as NumericallyInverted
from .permute import Permute as Permute
from .permute import Reverse as Reverse
from .spline import Spline as Spline
from .sum_of_squares import SumOfSquares as SumOfSquares
from .tails import LearnableLeakyReLU as LearnableLeakyReLU
from .tails import SignedPower as SignedPower
from .tails import SinhArcsinh as SinhArcsinh
from .tails import TailTransform as TailTransform
from .tails import TemperatureSigmoid as TemperatureSigmoid
from .unconstrained_monotonic import UnconstrainedMonotonic as UnconstrainedMonotonic
from .view import TransformView as TransformView

__all__ = [
    "CDF",
    "ELU",
    "AdditiveCoupling",
    "Affine",
    "AffineAutoregressive",
    "AffineCoupling",
    "AffineFixed",
    "ArcSin",
    "Autoregressive",
    "AutoregressiveFamily",
    "Bernstein",
    "Bijector",
    "BoundAutoregressive",
    "BoundBijector",
    "BoundCompose",
    "BoundCoupling",
    "BoundElementwise",
    "BoundInvert",
    "CauchyCDF",
    "CircularShift",
    "Compose",
    "Coupling",
    "CouplingFamily",
    "DeepSigmoid",
    "Elementwise",
    "Exp",
    "Expm1",
    "GaussianMixtureCDF",
    "Invert",
    "LeakyReLU",
    "LearnableLeakyReLU",
    "Log",
    "LogisticMixtureCDF",
    "Logit",
    "NumericallyInverted",
    "Permute",
    "Power",
    "Reverse",
    "Scale",
    "Shift",
    "Sigmoid",
    "SigmoidTo",
    "SignedPower",
    "Sin",
    "SinhArcsinh",
    "Softclip",
    "Softplus",
    "Softsign",
    "Spline",
    "SplineAutoregressive",
    "SplineCoupling",
    "Standardize",
    "SumOfSquares",
    "TailTransform",
    "Tanh",
    "TemperatureSigmoid",
    "TransformView",
    "UnconstrainedMonotonic",
]
