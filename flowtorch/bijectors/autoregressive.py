"""The family in which the parameters of a coordinate come from the coordinates before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch

from .. import options
from ..errors import OptionError, OptionTypeError
from ..nn.derived import Derived
from ..ops._modes import plain_eager
from ..parameters import MADE, AutoregressiveParameters, BoundAutoregressiveParameters, Parameters, Tensor
from ..specification import register
from ..types import Direction, TensorPair
from .affine import Affine
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector
from .elementwise import BoundElementwise, BoundMap, Elementwise, bare, sum_event
from .family import Family
from .fixed_point import fixed_point

Inversion: TypeAlias = Literal["sequential", "parallel"]


@dataclass(frozen=True, kw_only=True)
class AutoregressiveFamily(Family):
    """What :class:`Autoregressive` and its named plans share; an author of a named plan writes :meth:`_elementwise`."""

    dim: int | None = None
    inversion: Inversion = "sequential"

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        who = type(self).__name__
        check_dim(who, self.dim)
        options.one_of(who, "inversion", self.inversion, ("sequential", "parallel"))
        bare(who, self._elementwise())
        if self.params_fn is not None:
            options.instance(who, "params_fn", self.params_fn, Parameters)
            if not isinstance(self.params_fn, AutoregressiveParameters):
                raise OptionError(
                    f"{who}: an autoregressive conditioner such as MADE() is expected as params_fn; got "
                    f"{self.params_fn!r}."
                )

    @property
    def cheap(self) -> Direction:
        """Forward: all parameters are known at once from ``x``."""
        return "forward"

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        axis = Axis(shape, self.dim, type(self).__name__)
        params_fn = self.params_fn or MADE()
        assert isinstance(params_fn, AutoregressiveParameters)  # checked when the plan was made
        if axis.size == 1:  # nothing comes before: the elementwise form, conditioned on the context
            source = Tensor() if context_shape is None else params_fn.unordered
            return BoundElementwise(self, shape, context_shape, self._elementwise(), source)
        return BoundAutoregressive(self, shape, context_shape, axis, self._elementwise(), params_fn)

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        along = "of the flattened event" if self.dim is None else f"along axis {self.dim}"
        conditioner = (self.params_fn or MADE()).describe()
        return super().explain() + (
            f"\n  Each coordinate {along} moves by {type(self._elementwise()).__name__}: "
            f"{self._elementwise().describe()}"
            f"\n  Its parameters come from the coordinates before it (and the context) through {conditioner}; "
            "gradients flow "
            "through them in both directions."
        )


@register
@final
@dataclass(frozen=True)
class Autoregressive(AutoregressiveFamily):
    r"""Any elementwise map with parameters from the coordinates before: :math:`y_i = f(x_i; \theta_i(x_{<i}, c))`.

    .. math:: \log|\det dy/dx| = \sum_i \log|f'(x_i; \theta_i)|

    Forward takes one pass of the conditioner. The inverse goes step by step, which with ``MADE`` costs one pass too.
    Score and train fast with ``Invert(Autoregressive(...))``, the masked autoregressive flow; sample fast without.

    Args:
        elementwise: how one coordinate moves; an elementwise plan without a ``params_fn`` of its own.
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive, a step covering a whole slice; None for the flattened event.
        inversion: ``"sequential"``, step by step, exact and one pass with ``MADE``; or ``"parallel"``, sweeps over all
            coordinates at once until none moves by more than 1e-6, as many as there are steps at most: of use where
            steps are many, dependences short, and the device wide. Compiled and under functorch's transforms it is
            sequential; it has no second derivatives.

    Raises:
        OptionError, OptionTypeError: if the parts do not fit.

    Example:
        >>> from flowtorch.bijectors import Autoregressive, Spline
        >>> Autoregressive(Spline(order="quadratic")).bind((5,)).forward(torch.zeros(2, 5)).shape
        torch.Size([2, 5])

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017),
        https://arxiv.org/abs/1705.07057, eq. 3-5.
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), https://arxiv.org/abs/1606.04934.
    """

    elementwise: Elementwise
    params_fn: Parameters | None = None

    def _elementwise(self) -> Elementwise:
        return self.elementwise


class BoundAutoregressive(BoundBijector[AutoregressiveFamily]):
    """The bound form of the family."""

    def __init__(
        self,
        plan: AutoregressiveFamily,
        shape: torch.Size,
        context_shape: torch.Size | None,
        axis: Axis,
        elementwise: Elementwise,
        params_fn: AutoregressiveParameters,
    ) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = axis
        split = torch.Size((axis.size, *axis.block))
        self.map = BoundMap(elementwise, split, shape, axis.split)
        shapes = [(*split, *trailing) for trailing in elementwise.param_shapes]
        params = params_fn.bind(shapes, split, context_shape, coordinate_dims=len(split))
        if not isinstance(params, BoundAutoregressiveParameters):
            raise OptionTypeError(
                f"{type(plan).__name__}: a conditioner that binds to BoundAutoregressiveParameters is expected as "
                f"params_fn; got a {type(params).__name__} from {params_fn!r}."
            )
        self.params = params
        self._conditioner = params_fn.describe()
        self._places = Derived(torch.argsort)  # where each coordinate stands in the order

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        in_order = self._in_order(x)
        y, log_derivative = self._at_once(in_order, in_order, context, inverse=False)
        return self._back(y), sum_event(log_derivative, self.axis.ndim)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        in_order = self._in_order(y)
        if self.plan.inversion == "parallel" and plain_eager():
            x, log_derivative = self._in_parallel(in_order, context)
        else:
            x, log_derivative = self._step_by_step(in_order, context)
        return self._back(x), sum_event(log_derivative, self.axis.ndim)

    def _in_order(self, x: torch.Tensor) -> torch.Tensor:
        return self.axis.split(x).index_select(-self.axis.ndim, self.params.order)

    def _back(self, in_order: torch.Tensor) -> torch.Tensor:
        return self.axis.join(in_order.index_select(-self.axis.ndim, self._places(self.params.order)))

    def _at_once(
        self, given: torch.Tensor, before: torch.Tensor, context: torch.Tensor | None, *, inverse: bool
    ) -> TensorPair:
        """Moves all coordinates, in the order of steps, with parameters from ``before``, block by block."""
        along, sizes, order = -self.axis.ndim, self.params.block_sizes, self.params.order
        params = self.params.blocks(before, context)
        if len(sizes) == 1:
            y, log_derivative = self.map(given, next(params), inverse, order)
            return y, log_derivative
        parts, which = given.split(sizes, along), order.split(sizes)
        return _join([self.map(x, p, inverse, i) for x, p, i in zip(parts, params, which, strict=True)], along)

    def _step_by_step(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        along, sizes = -self.axis.ndim, self.params.step_sizes
        parts, which = y.split(sizes, along), self.params.order.split(sizes)
        steps = self.params.sequential(context, y.shape[:along])
        if isinstance(self.map.plan, Affine):
            at_once = steps.invert_affine(y, self.map.plan.affine_options())
            if at_once is not None:
                return at_once
        found: list[TensorPair] = []
        for step, part in enumerate(parts):
            if step > 0:
                steps.update(step - 1, found[-1][0])
            found.append(self.map(part, steps.parameters(step), True, which[step]))
        return _join(found, along)

    def _in_parallel(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        def sweep(x: torch.Tensor) -> torch.Tensor:
            return self._at_once(y, x, context, inverse=True)[0]

        x = fixed_point(sweep, torch.zeros_like(y), len(self.params.step_sizes))
        # The log-derivative of the inverse, rather than less that of forward: -inf outside of the codomain.
        return x, self._at_once(y, x, context, inverse=True)[1]

    @property
    def sign(self) -> int:
        """+1 for increasing maps: the Jacobian is triangular."""
        return 1 if self.map.plan.increasing or self.shape.numel() % 2 == 0 else -1

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return self._conditioner


def _join(pairs: list[TensorPair], dim: int) -> TensorPair:
    values, log_derivatives = zip(*pairs, strict=True)
    return torch.cat(values, dim), torch.cat(log_derivatives, dim)
