"""Normalizing flows for PyTorch: say what a flow is made of, without shapes; a ``Flow`` works them out and checks them.

Example:
    >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
    >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineAutoregressive())
    >>> flow.log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
"""

from collections.abc import Mapping as _Mapping
from typing import Any as _Any

from . import bijectors as bijectors
from . import distributions as distributions
from . import errors as errors
from . import parameters as parameters
from .specification import from_dict as _from_dict
from .specification import register as register

__version__ = "1.0.0.dev0"


def plan_from_dict(specification: _Mapping[str, _Any]) -> bijectors.Bijector:
    """Makes the plan that ``plan.to_dict()`` wrote down.

    It runs no code from the specification: a ``type`` names a registered class, and the class checks its fields.

    Args:
        specification: what ``to_dict`` returned, or the same after a round trip through JSON or YAML.

    Returns:
        A plan equal to the one written down.

    Raises:
        SpecificationError: for an unregistered name, an unknown field, or a value that its class refuses.

    Example:
        >>> plan = bijectors.Compose([bijectors.SplineCoupling(count_bins=4), bijectors.Exp()])
        >>> plan_from_dict(plan.to_dict()) == plan
        True
    """
    plan: bijectors.Bijector = _from_dict(specification, bijectors.Bijector)
    return plan


__all__ = ["__version__", "bijectors", "distributions", "errors", "parameters", "plan_from_dict", "register"]
