"""Normal base distributions with a short spelling."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal, constraints
from torch.distributions.constraints import Constraint
from torch.nn import functional as F

from .. import domains, options
from ..errors import ContextError
from ..parameters import DenseNN, Parameters
from ..types import ShapeLike, as_size
from .base import register_base
from .independent import OverEvent, spread


class DiagNormal(OverEvent[Normal]):
    r"""Independent normals over an event of any shape: what most flows start from.

    .. math:: \log p(x) = \sum_i \log \mathcal{N}(x_i; \mu_i, \sigma_i)

    ``torch.distributions.Normal(zeros(2), ones(2))`` is a batch of two scalar distributions; this is one over pairs.

    Args:
        shape: the event's shape; an integer for a vector.
        loc: :math:`\mu`, a number or a tensor that broadcasts to ``shape``.
        scale: :math:`\sigma > 0`, likewise.

    Raises:
        ShapeError: if location or scale does not broadcast to the shape.

    Example:
        >>> DiagNormal(2).log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    # For what is learnt of it; as torch declares it.
    arg_constraints: dict[str, Constraint] = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012

    def __init__(
        self,
        shape: ShapeLike,
        loc: torch.Tensor | float = 0.0,
        scale: torch.Tensor | float = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        mean, deviation = spread("DiagNormal", shape, loc=loc, scale=scale)
        super().__init__(Normal(mean, deviation, validate_args=validate_args), validate_args=validate_args)

    @property
    def loc(self) -> torch.Tensor:
        """The mean of each coordinate."""
        return self.base_dist.mean

    @property
    def scale(self) -> torch.Tensor:
        """The standard deviation of each coordinate."""
        return self.base_dist.stddev


register_base(DiagNormal, "shape", "loc", "scale")


class ConditionalNormal(torch.nn.Module):
    r"""Independent normals with location and scale from the context: a base that moves with it.

    .. math:: x \mid c \sim \mathcal{N}(\mu(c), \sigma(c)^2), \qquad
              \sigma = \mathrm{softplus}(a(c) + \log(e - 1)) + 10^{-4}

    Args:
        shape: the event's shape.
        context_shape: the shape of the context (as it comes out of the flow's ``embedding``, if there is one).
        params_fn: the network; ``DenseNN()`` by default.

    Raises:
        ContextError: when conditioned on a context that does not fit.

    Example:
        >>> ConditionalNormal(2, context_shape=3).condition(torch.zeros(7, 3)).batch_shape
        torch.Size([7])
    """

    def __init__(self, shape: ShapeLike, context_shape: ShapeLike, params_fn: Parameters | None = None) -> None:
        super().__init__()
        self.event_shape = as_size(shape, "ConditionalNormal")
        self.context_shape = as_size(context_shape, "ConditionalNormal")
        self.batch_shape = torch.Size()
        if params_fn is not None:
            options.instance("ConditionalNormal", "params_fn", params_fn, Parameters)
        source = params_fn or DenseNN()
        n = len(self.event_shape)
        self.params = source.bind([self.event_shape] * 2, None, self.context_shape, coordinate_dims=n)

    has_rsample = True

    @property
    def support(self) -> Constraint:
        """The whole space."""
        return domains.lift(constraints.real, len(self.event_shape))

    def condition(self, context: torch.Tensor) -> Independent[Normal]:
        """Returns the distribution at ``context`` ``(*batch, *context_shape)``."""
        cut = context.dim() - len(self.context_shape)
        if cut < 0 or context.shape[cut:] != self.context_shape:
            raise ContextError(
                f"ConditionalNormal: a context of shape (*batch, *context) with context {tuple(self.context_shape)} is "
                f"expected; got {tuple(context.shape)}."
            )
        # Under autocast the network's outputs are of low precision; nothing after it should be.
        loc, raw = (p.to(torch.promote_types(p.dtype, context.dtype)) for p in self.params(None, context))
        # A floor under the scale: without it likelihoods run away where a context pins a value down.
        scale = F.softplus(raw + 0.5413248546129181) + 1e-4
        return Independent(Normal(loc, scale, validate_args=False), len(self.event_shape), validate_args=False)
