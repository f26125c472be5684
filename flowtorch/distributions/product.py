"""A base of several parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..errors import OptionError, ShapeError
from ..types import ShapeLike, as_size
from . import density
from .base import register_base


class Product(Distribution):
    r"""Independent distributions side by side along the last axis: some coordinates bounded, some angles, some real.

    .. math:: \log p(x_1, \dots, x_m) = \sum_k \log p_k(x_k)

    Args:
        parts: distributions over vectors or scalars, of one batch shape.

    Raises:
        OptionError, OptionTypeError: if a part is no distribution, or there is none.
        ShapeError: for parts over matrices, or of different batch shapes.

    Example:
        >>> from flowtorch.distributions import DiagNormal
        >>> base = Product([torch.distributions.Uniform(-1.0, 2.0), DiagNormal(3)])
        >>> base.sample((5,)).shape
        torch.Size([5, 4])
        >>> from flowtorch.domains import describe
        >>> describe(base.support)
        '(-1, 2) x (-inf, inf) x (-inf, inf) x (-inf, inf)'
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it

    def __init__(self, parts: Sequence[Distribution], *, validate_args: bool | None = None) -> None:
        self.parts = tuple(parts)
        if not self.parts:
            raise OptionError("Product: at least one part is expected; got none.")
        for i, part in enumerate(self.parts):
            options.instance("Product", f"part {i}", part, Distribution)
            if len(part.event_shape) > 1:
                raise ShapeError(
                    f"Product: a distribution over vectors or scalars is expected as part {i}; got "
                    f"{type(part).__name__} with event shape {tuple(part.event_shape)}."
                )
            if part.batch_shape != self.parts[0].batch_shape:
                raise ShapeError(
                    f"Product: parts of one batch shape are expected (torch.distributions.Independent makes events of "
                    f"batches); got {tuple(self.parts[0].batch_shape)} and {tuple(part.batch_shape)} as part {i}."
                )
        self._lengths = [part.event_shape.numel() for part in self.parts]
        super().__init__(self.parts[0].batch_shape, torch.Size((sum(self._lengths),)), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether all parts have."""
        return all(part.has_rsample for part in self.parts)

    @property
    def support(self) -> Constraint:
        """Where each part lies in its own support; ``dependent`` if one does not say."""
        found = [density.support_of(part) for part in self.parts]
        if any(map(density.is_unknown, found)):
            return constraints.dependent
        places = iter(range(sum(self._lengths)))
        indices = [[next(places) for _ in range(n)] for n in self._lengths]
        return domains.Joint([domains.lift(c, 1) for c in found], indices, self.event_shape)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density of vectors ``(*batch, n)``: ``-inf`` where a part lies outside its support."""
        if self._validate_args:
            self._validate_sample(value)
        pieces = value.split(self._lengths, -1)
        first, *others = [_score(part, x) for part, x in zip(self.parts, pieces, strict=True)]
        return sum(others, first)

    def sample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws without gradients."""
        shape = as_size(sample_shape, "Product.sample")
        return self._joined([part.sample(shape) for part in self.parts])

    def rsample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws with gradients, which all parts must have."""
        shape = as_size(sample_shape, "Product.rsample")
        return self._joined([part.rsample(shape) for part in self.parts])

    @property
    def mean(self) -> torch.Tensor:
        """The parts' means."""
        return self._joined([part.mean for part in self.parts])

    @property
    def variance(self) -> torch.Tensor:
        """The parts' variances."""
        return self._joined([part.variance for part in self.parts])

    def entropy(self) -> torch.Tensor:
        """Returns the entropy, the sum of the parts'."""
        first, *others = [part.entropy() for part in self.parts]
        return sum(others, first)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> Product:
        """Returns the distribution with this batch shape."""
        batch = as_size(batch_shape, "Product.expand")
        new = Product([part.expand(batch) for part in self.parts], validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __repr__(self) -> str:
        return f"Product({list(self.parts)})"

    def _joined(self, values: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([v if p.event_shape else v.unsqueeze(-1) for p, v in zip(self.parts, values, strict=True)], -1)


register_base(Product, "parts")


def _score(part: Distribution, x: torch.Tensor) -> torch.Tensor:
    x = x if part.event_shape else x.squeeze(-1)
    # Flows see to what lies outside by themselves.
    return part.log_prob(x) if isinstance(part, torch.nn.Module) else density.log_prob(part, x)
