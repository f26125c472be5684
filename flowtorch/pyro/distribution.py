"""Flows as distributions that ``pyro.sample`` takes."""

from __future__ import annotations

from typing import cast

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from .. import options
from ..distributions import FlowView, ModuleView
from ..distributions.pushforward import Pushforward
from ..errors import ContextError, OptionError, OptionTypeError
from ..objectives.draws import path_log_prob
from ..types import ShapeLike, as_size
from .extra import ScoreParts, TorchDistribution
from .store import register


def to_pyro(distribution: Distribution, *, name: str | None = None, path_derivative: bool = False) -> PyroDistribution:
    r"""Makes of a flow, or a view of one, what ``pyro.sample`` takes.

    ``pyro.sample`` calls what it is given to draw from it, while calling a flow is its density. In models and guides,
    under plates, with ``obs=``, and in Pyro's wrappers (``to_event``, ``mask``) it is as any distribution of Pyro's. A
    flow with a context is conditioned first, ``to_pyro(flow.condition(context))``. A draw and its density cost one
    pass of the forward direction, whichever direction of the flow is the cheap one.

    Pyro optimises what is in its param store. There the flow's parameters come by ``name``, each time this is called
    within the model or the guide; or by ``pyro.module(name, flow)``; or as an attribute of a ``PyroModule``. The store
    keeps parameters only: permutations that are drawn when a plan is bound are kept by ``flow.save``.

    Args:
        distribution: a flow, ``flow.condition(context)``, ``flow[:k]``, or another distribution that flowtorch has.
        name: what the parameters are called in the param store; None if they are registered otherwise. Where the store
            holds parameters of that name, as loaded from a file, the flow takes them over.
        path_derivative: of a guide, leaves the score out of the gradient of ``Trace_ELBO``, as does
            :func:`flowtorch.objectives.reverse_kl`, at the price of a pass of the inverse direction.

    Returns:
        The distribution, sharing the flow's parameters.

    Raises:
        ContextError: for a flow that needs a context.
        OptionError, OptionTypeError: for what is no distribution, a name for one without parameters, or the path
            derivative of a part of a flow.
        ShapeError: if the param store holds parameters of other shapes under the name.

    Example:
        >>> import pyro, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(), context_shape=3)
        >>> with pyro.plate("rows", 5):
        ...     x = pyro.sample("x", to_pyro(flow.condition(torch.zeros(5, 3))))
        >>> x.shape
        torch.Size([5, 2])

    References:
        Pyro: Deep Universal Probabilistic Programming (Bingham et al., 2019), https://arxiv.org/abs/1810.09538.
    """
    if isinstance(distribution, PyroDistribution):
        distribution = distribution.law
    options.instance("to_pyro", "distribution", distribution, Distribution)
    options.boolean("to_pyro", "path_derivative", path_derivative)
    if _needs_context(distribution):
        raise ContextError(
            f"to_pyro: a flow without a context is expected, or flow.condition(context); got a "
            f"{type(distribution).__name__} that needs one."
        )
    if name is not None:
        module = _module(distribution)
        if module is None:
            raise OptionTypeError(
                f"to_pyro: name is expected for a module or a view of one only; got {name!r} for a "
                f"{type(distribution).__name__}."
            )
        register("to_pyro", name, module)
    if path_derivative and isinstance(distribution, FlowView) and distribution._bound is not distribution._flow._bound:
        raise OptionError("to_pyro: path_derivative=True is expected of a whole flow only; got some of its layers.")
    return PyroDistribution(distribution, path_derivative=path_derivative)


class PyroDistribution(TorchDistribution):
    """What :func:`to_pyro` returns: a distribution for ``pyro.sample``, owning nothing.

    Args:
        law: the distribution that draws and scores.
        path_derivative: leaves the score out of the gradient of ``Trace_ELBO``.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it

    def __init__(self, law: Distribution, *, path_derivative: bool = False) -> None:
        self.law, self.path_derivative = law, path_derivative
        self.has_rsample = law.has_rsample  # an attribute, as Pyro's has_rsample_ sets it
        self._last: tuple[torch.Tensor, _State] | None = None
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    def sample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws ``(*sample_shape, *batch_shape, *event_shape)`` without gradients."""
        return self.law.sample(as_size(sample_shape, "PyroDistribution.sample"))

    def rsample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws with gradients, and keeps the density for when that of this draw is asked for."""
        shape = as_size(sample_shape, "PyroDistribution.rsample")
        if not isinstance(self.law, Pushforward) or torch.is_inference_mode_enabled():
            return self.law.rsample(shape)
        value, log_prob = self.law.rsample_and_log_prob(shape)
        self._last = log_prob, _State(self.law, value)
        return value

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density ``(*batch)`` of ``value`` ``(*batch, *event_shape)``."""
        last, self._last = self._last, None  # once: a second backward pass needs a graph of its own
        if last is not None and last[1].same(_State(self.law, value)):
            return last[0]
        found: torch.Tensor = self.law.log_prob(value)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    def score_parts(self, x: torch.Tensor, *args: object, **kwargs: object) -> ScoreParts:
        """Returns the parts of which Pyro makes the gradients of its bounds."""
        parts: ScoreParts = super().score_parts(x, *args, **kwargs)  # type: ignore[no-untyped-call]  # Pyro's own
        module = _module(self.law)
        # Parameters cannot be set aside while torch.jit traces, as it does for Pyro's JitTrace_ELBO.
        if not (self.path_derivative and self.has_rsample) or module is None or torch._C._get_tracing_state():
            return parts
        along = path_log_prob("to_pyro", cast(Distribution, module), x, getattr(self.law, "_held", None))
        return parts._replace(entropy_term=along.expand(parts.log_prob.shape))

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> TorchDistribution:
        """Returns the distribution with this batch shape; each entry is drawn on its own."""
        batch = as_size(batch_shape, "PyroDistribution.expand")
        try:
            new = PyroDistribution(self.law.expand(batch), path_derivative=self.path_derivative)
        except NotImplementedError:  # of distributions that cannot by themselves
            return super().expand(batch)
        new.has_rsample = self.has_rsample
        return new

    @property
    def support(self) -> Constraint:
        """Where the density can be positive."""
        return cast(Constraint, self.law.support)

    @property
    def mean(self) -> torch.Tensor:
        """The mean, of a distribution that knows it."""
        return self.law.mean

    @property
    def variance(self) -> torch.Tensor:
        """The variance, of a distribution that knows it."""
        return self.law.variance

    def cdf(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the cumulative distribution function, where the distribution has it."""
        return self.law.cdf(value)

    def icdf(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the quantile function, where the distribution has it."""
        return self.law.icdf(value)

    def __getstate__(self) -> dict[str, object]:
        # A density with a history can neither be copied nor pickled.
        return {**self.__dict__, "_last": None}

    def __repr__(self) -> str:
        text = repr(self.law) if isinstance(self.law, FlowView | ModuleView) else type(self.law).__name__
        return f"PyroDistribution({text})"


class _State:
    """What a density is of: parameters, buffers, context and value, their versions, and whether gradients are kept."""

    def __init__(self, law: Distribution, value: torch.Tensor) -> None:
        module, held = _module(law), getattr(law, "_held", None)
        tensors = [] if module is None else [*module.parameters(), *module.buffers()]
        self.tensors = [value, *tensors, *([] if held is None else [held])]
        self.versions = [torch.is_grad_enabled(), *(t._version for t in self.tensors)]

    def same(self, other: _State) -> bool:
        """Returns whether nothing has changed in between."""
        alike = len(self.tensors) == len(other.tensors) and self.versions == other.versions
        return alike and all(a is b for a, b in zip(self.tensors, other.tensors, strict=True))


def _module(law: Distribution) -> torch.nn.Module | None:
    if isinstance(law, FlowView):
        return law._flow
    if isinstance(law, ModuleView):
        return law._module
    return law if isinstance(law, torch.nn.Module) else None


def _needs_context(law: Distribution) -> bool:
    module = _module(law)
    declared = None if module is None else getattr(module, "context_shape", None)
    return declared is not None and getattr(law, "_held", None) is None
