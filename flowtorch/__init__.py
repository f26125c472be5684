"""Normalizing flows for PyTorch: say what a flow is made of, without shapes; a ``Flow`` works them out and checks them.

Example:
    >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
    >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineAutoregressive())
    >>> flow.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
"""

from . import bijectors as bijectors
from . import convert as convert
from . import distributions as distributions
from . import errors as errors
from . import flows as flows
from . import objectives as objectives
from . import parameters as parameters
from .bijectors.base import plan_from_dict as plan_from_dict
from .config import show_config as show_config
from .distributions.saving import load as load
from .distributions.saving import notes as notes
from .specification import register as register

__version__ = "1.0.0.dev0"

__all__ = [
    "__version__",
    "bijectors",
    "convert",
    "distributions",
    "errors",
    "flows",
    "load",
    "notes",
    "objectives",
    "parameters",
    "plan_from_dict",
    "register",
    "show_config",
]
