"""Distributions with known log-densities to fit flows to, most of them over pairs."""

from .checkerboard import Checkerboard as Checkerboard
from .curves import Spirals as Spirals
from .curves import TwoMoons as TwoMoons
from .mixtures import DiagNormalMixture as DiagNormalMixture
from .mixtures import EightGaussians as EightGaussians
from .mixtures import Pinwheel as Pinwheel
from .mixtures import TwoCircles as TwoCircles
from .sheared import Banana as Banana
from .sheared import NealsFunnel as NealsFunnel

__all__ = [
    "Banana",
    "Checkerboard",
    "DiagNormalMixture",
    "EightGaussians",
    "NealsFunnel",
    "Pinwheel",
    "Spirals",
    "TwoCircles",
    "TwoMoons",
]
