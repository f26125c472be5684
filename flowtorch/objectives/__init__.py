"""Objectives: what flows are trained by, from data or from an unnormalised density, and what a density's flow tells."""

from .annealing import annealed as annealed
from .annealing import annealing_weight as annealing_weight
from .forward import forward_kl as forward_kl
from .importance import ImportanceEstimate as ImportanceEstimate
from .importance import importance_estimate as importance_estimate
from .information import MonteCarlo as MonteCarlo
from .information import entropy as entropy
from .information import kl_divergence as kl_divergence
from .likelihood import maximum_likelihood as maximum_likelihood
from .pareto import pareto_smoothed as pareto_smoothed
from .variational import renyi as renyi
from .variational import reverse_kl as reverse_kl

__all__ = [
    "ImportanceEstimate",
    "MonteCarlo",
    "annealed",
    "annealing_weight",
    "entropy",
    "forward_kl",
    "importance_estimate",
    "kl_divergence",
    "maximum_likelihood",
    "pareto_smoothed",
    "renyi",
    "reverse_kl",
]
