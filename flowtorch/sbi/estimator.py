"""A flow as what sbi trains, samples and scores."""

from __future__ import annotations

import torch

from .. import options
from ..distributions import Flow
from ..errors import ContextError, ShapeError
from ..types import ShapeLike, TensorPair
from .extra import ConditionalDensityEstimator


class FlowtorchFlow(ConditionalDensityEstimator):  # type: ignore[misc]  # sbi has no types
    r"""A conditional flow as sbi's ``ConditionalDensityEstimator``.

    .. math:: \text{loss}(y, c) = -\log p(y \mid c)

    :func:`posterior_nn` and :func:`likelihood_nn` make it of a plan. What they do not offer, such as another base, a
    function that returns one gives sbi as well:
    ``NPE(prior, density_estimator=lambda theta, x: FlowtorchFlow(Flow(...)))``.

    A condition is embedded once a call, however many inputs are scored or drawn at it.

    Args:
        flow: with a context and without batch dimensions; it becomes ``net``.

    Raises:
        OptionTypeError: for what is no flow.
        ContextError: for a flow without a context.
        ShapeError: for one with batch dimensions.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(), context_shape=3)
        >>> estimator = FlowtorchFlow(flow)
        >>> theta = estimator.sample((10,), torch.zeros(4, 3))
        >>> estimator.log_prob(theta, torch.zeros(4, 3)).shape
        torch.Size([10, 4])

    References:
        sbi reloaded: a toolkit for simulation-based inference workflows (Boelts et al., 2025),
        https://doi.org/10.21105/joss.07754.
    """

    net: Flow

    def __init__(self, flow: Flow) -> None:
        options.instance("FlowtorchFlow", "flow", flow, Flow)
        if flow.context_shape is None:
            raise ContextError("FlowtorchFlow: a flow with a context_shape is expected; got one without.")
        if flow.batch_shape:
            raise ShapeError(
                f"FlowtorchFlow: a flow without batch dimensions is expected; got batch {tuple(flow.batch_shape)}."
            )
        super().__init__(flow, input_shape=flow.event_shape, condition_shape=flow.context_shape)

    @property
    def embedding_net(self) -> torch.nn.Module | None:
        """What conditions go through first, once a call."""
        return self.net.embedding

    def log_prob(self, input: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns the log-density ``(sample, batch)``.

        Args:
            input: ``(sample, batch, *input_shape)``, or ``(batch, *input_shape)`` for one sample.
            condition: ``(batch, *condition_shape)`` or ``(sample, batch, *condition_shape)``; batches broadcast.
        """
        inputs = input if input.dim() > len(self.input_shape) + 1 else input[None]
        return self.net.log_prob(inputs, condition)

    def loss(self, input: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns the negative log-density ``(batch)`` of ``(batch, *input_shape)``."""
        return -self.net.log_prob(input, condition)

    def sample(self, sample_shape: ShapeLike, condition: torch.Tensor) -> torch.Tensor:
        """Draws ``(*sample_shape, batch, *input_shape)`` at ``(batch, *condition_shape)``, without gradients."""
        return self.net.sample(sample_shape, condition)

    def sample_and_log_prob(self, sample_shape: ShapeLike, condition: torch.Tensor) -> TensorPair:
        """Draws with gradients, and scores the draws in the same pass: ``(*sample_shape, batch)``."""
        return self.net.rsample_and_log_prob(sample_shape, condition)

    def inverse_transform(self, input: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns the noise that the flow makes the input of, as sbi's diagnostic ``LC2ST_NF`` asks for."""
        return self.net.rnormalize(input, condition)
