"""Flows as density estimators of the sbi toolbox (extra ``sbi``): for neural posterior and likelihood estimation."""

from .builder import EstimatorBuilder as EstimatorBuilder
from .builder import likelihood_nn as likelihood_nn
from .builder import posterior_nn as posterior_nn
from .estimator import FlowtorchFlow as FlowtorchFlow

__all__ = [
    "EstimatorBuilder",
    "FlowtorchFlow",
    "likelihood_nn",
    "posterior_nn",
]
