"""Bijectors: shape-free plans, and the modules they are bound to."""

from .act_norm import ActNorm as ActNorm
from .affine import Affine as Affine
from .affine import Scale as Scale
from .affine import Shift as Shift
from .affine_fixed import AffineFixed as AffineFixed
from .affine_fixed import Standardize as Standardize
from .autoregressive import Autoregressive as Autoregressive
from .autoregressive import AutoregressiveFamily as AutoregressiveFamily
from .autoregressive import BoundAutoregressive as BoundAutoregressive
from .base import Bijector as Bijector
from .batch_norm import BatchNorm as BatchNorm
from .bernstein import Bernstein as Bernstein
from .block_autoregressive import BlockAutoregressive as BlockAutoregressive
from .bound import BoundBijector as BoundBijector
from .bounded import ArcSin as ArcSin
from .bounded import SigmoidTo as SigmoidTo
from .bounded import Sin as Sin
from .bounded import Softclip as Softclip
from .bounded import Softsign as Softsign
from .cdf import CDF as CDF
from .cdf import CauchyCDF as CauchyCDF
from .channel_permute import GeneralizedChannelPermute as GeneralizedChannelPermute
from .circular import CircularShift as CircularShift
from .circular_spline import CircularSpline as CircularSpline
from .compose import BoundCompose as BoundCompose
from .compose import Compose as Compose
from .concatenate import Concatenate as Concatenate
from .concatenate import Stack as Stack
from .constrain_to import ConstrainTo as ConstrainTo
from .coupling import BoundCoupling as BoundCoupling
from .coupling import Coupling as Coupling
from .coupling import CouplingFamily as CouplingFamily
from .cubic_spline import CubicSpline as CubicSpline
from .deep_sigmoid import DeepSigmoid as DeepSigmoid
from .dense_deep_sigmoid import DenseDeepSigmoid as DenseDeepSigmoid
from .discrete_cosine import DiscreteCosine as DiscreteCosine
from .elementwise import BoundElementwise as BoundElementwise
from .elementwise import Elementwise as Elementwise
from .family import Family as Family
from .fixed import ELU as ELU
from .fixed import Exp as Exp
from .fixed import LeakyReLU as LeakyReLU
from .fixed import Power as Power
from .fixed import Sigmoid as Sigmoid
from .fixed import Softplus as Softplus
from .fixed import Tanh as Tanh
from .from_transform import FromTransform as FromTransform
from .gaussian_mixture_cdf import GaussianMixtureCDF as GaussianMixtureCDF
from .haar import Haar as Haar
from .householder import Householder as Householder
from .indexed import Indexed as Indexed
from .indexed import Partial as Partial
from .invert import BoundInvert as BoundInvert
from .invert import Invert as Invert
from .linear import Linear as Linear
from .linear_spline import LinearSpline as LinearSpline
from .logarithms import Expm1 as Expm1
from .logarithms import Log as Log
from .logarithms import Logit as Logit
from .logistic_mixture_cdf import LogisticMixtureCDF as LogisticMixtureCDF
from .low_rank import DiagonalPlusLowRank as DiagonalPlusLowRank
from .lower_cholesky_affine import LowerCholeskyAffine as LowerCholeskyAffine
from .lu import LU as LU
from .matrix_exponential import MatrixExponential as MatrixExponential
from .monotonic_network import MonotonicNetwork as MonotonicNetwork
from .named_autoregressive import AffineAutoregressive as AffineAutoregressive
from .named_autoregressive import BernsteinAutoregressive as BernsteinAutoregressive
from .named_autoregressive import CircularSplineAutoregressive as CircularSplineAutoregressive
from .named_autoregressive import CubicSplineAutoregressive as CubicSplineAutoregressive
from .named_autoregressive import DenseNeuralAutoregressive as DenseNeuralAutoregressive
from .named_autoregressive import MixtureAutoregressive as MixtureAutoregressive
from .named_autoregressive import NeuralAutoregressive as NeuralAutoregressive
from .named_autoregressive import PolynomialAutoregressive as PolynomialAutoregressive
from .named_autoregressive import SplineAutoregressive as SplineAutoregressive
from .named_autoregressive import UnconstrainedMonotonicAutoregressive as UnconstrainedMonotonicAutoregressive
from .named_coupling import AdditiveCoupling as AdditiveCoupling
from .named_coupling import AffineCoupling as AffineCoupling
from .named_coupling import BernsteinCoupling as BernsteinCoupling
from .named_coupling import CircularSplineCoupling as CircularSplineCoupling
from .named_coupling import CubicSplineCoupling as CubicSplineCoupling
from .named_coupling import LinearSplineCoupling as LinearSplineCoupling
from .named_coupling import MixtureCoupling as MixtureCoupling
from .named_coupling import QuadraticSplineCoupling as QuadraticSplineCoupling
from .named_coupling import SplineCoupling as SplineCoupling
from .numerical import NumericallyInverted as NumericallyInverted
from .orthogonal import Orthogonal as Orthogonal
from .permute import Permute as Permute
from .permute import Reverse as Reverse
from .planar import Planar as Planar
from .qr import QR as QR
from .quadratic_spline import QuadraticSpline as QuadraticSpline
from .radial import Radial as Radial
from .repeat import Repeat as Repeat
from .reshape import Flatten as Flatten
from .reshape import Reshape as Reshape
from .residual import ConvResidual as ConvResidual
from .residual import Residual as Residual
from .sandwich import Sandwich as Sandwich
from .scan import Scan as Scan
from .spline import Spline as Spline
from .split import Split as Split
from .sum_of_squares import SumOfSquares as SumOfSquares
from .svd import SVD as SVD
from .sylvester import Sylvester as Sylvester
from .tails import LearnableLeakyReLU as LearnableLeakyReLU
from .tails import SignedPower as SignedPower
from .tails import SinhArcsinh as SinhArcsinh
from .tails import TailTransform as TailTransform
from .tails import TemperatureSigmoid as TemperatureSigmoid
from .transpose import Transpose as Transpose
from .unconstrained_monotonic import UnconstrainedMonotonic as UnconstrainedMonotonic
from .vector import VectorMap as VectorMap
from .view import TransformView as TransformView
from .whiten import Whiten as Whiten

__all__ = [
    "CDF",
    "ELU",
    "LU",
    "QR",
    "SVD",
    "ActNorm",
    "AdditiveCoupling",
    "Affine",
    "AffineAutoregressive",
    "AffineCoupling",
    "AffineFixed",
    "ArcSin",
    "Autoregressive",
    "AutoregressiveFamily",
    "BatchNorm",
    "Bernstein",
    "BernsteinAutoregressive",
    "BernsteinCoupling",
    "Bijector",
    "BlockAutoregressive",
    "BoundAutoregressive",
    "BoundBijector",
    "BoundCompose",
    "BoundCoupling",
    "BoundElementwise",
    "BoundInvert",
    "CauchyCDF",
    "CircularShift",
    "CircularSpline",
    "CircularSplineAutoregressive",
    "CircularSplineCoupling",
    "Compose",
    "Concatenate",
    "ConstrainTo",
    "ConvResidual",
    "Coupling",
    "CouplingFamily",
    "CubicSpline",
    "CubicSplineAutoregressive",
    "CubicSplineCoupling",
    "DeepSigmoid",
    "DenseDeepSigmoid",
    "DenseNeuralAutoregressive",
    "DiagonalPlusLowRank",
    "DiscreteCosine",
    "Elementwise",
    "Exp",
    "Expm1",
    "Family",
    "Flatten",
    "FromTransform",
    "GaussianMixtureCDF",
    "GeneralizedChannelPermute",
    "Haar",
    "Householder",
    "Indexed",
    "Invert",
    "LeakyReLU",
    "LearnableLeakyReLU",
    "Linear",
    "LinearSpline",
    "LinearSplineCoupling",
    "Log",
    "LogisticMixtureCDF",
    "Logit",
    "LowerCholeskyAffine",
    "MatrixExponential",
    "MixtureAutoregressive",
    "MixtureCoupling",
    "MonotonicNetwork",
    "NeuralAutoregressive",
    "NumericallyInverted",
    "Orthogonal",
    "Partial",
    "Permute",
    "Planar",
    "PolynomialAutoregressive",
    "Power",
    "QuadraticSpline",
    "QuadraticSplineCoupling",
    "Radial",
    "Repeat",
    "Reshape",
    "Residual",
    "Reverse",
    "Sandwich",
    "Scale",
    "Scan",
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
    "Split",
    "Stack",
    "Standardize",
    "SumOfSquares",
    "Sylvester",
    "TailTransform",
    "Tanh",
    "TemperatureSigmoid",
    "TransformView",
    "Transpose",
    "UnconstrainedMonotonic",
    "UnconstrainedMonotonicAutoregressive",
    "VectorMap",
    "Whiten",
]
