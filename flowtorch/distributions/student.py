"""Student's t as a base distribution: heavy tails, which flows of Lipschitz maps cannot make of a normal's."""

from __future__ import annotations

import torch
from torch.distributions import Chi2, Distribution, constraints
from torch.distributions import StudentT as UnivariateStudentT
from torch.distributions.constraints import Constraint

from ..types import ShapeLike, as_size
from .base import register_base
from .independent import OverEvent, spread


class _Tail(UnivariateStudentT):
    def __init__(
        self, df: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = df, loc, scale
        # torch's own validates this one whatever it is told, which torch.compile cannot follow.
        self._chi2 = Chi2(df, validate_args=False)
        Distribution.__init__(self, df.shape, validate_args=validate_args)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> UnivariateStudentT:
        batch, new = as_size(batch_shape, "StudentT.expand"), self.__new__(type(self))
        expanded: UnivariateStudentT = super().expand(batch, new)  # type: ignore[no-untyped-call]  # torch's
        return expanded


class StudentT(OverEvent[UnivariateStudentT]):
    r"""Independent Student's t over an event of any shape: a tail index for each coordinate.

    .. math:: \log p(x) = \sum_i \log t_{\nu_i}\Big(\frac{x_i - \mu_i}{\sigma_i}\Big) - \log \sigma_i

    Args:
        shape: the event's shape; an integer for a vector.
        df: the degrees of freedom :math:`\nu > 0`, a number or a tensor that broadcasts to ``shape``.
        loc: :math:`\mu`, likewise.
        scale: :math:`\sigma > 0`, likewise.

    Raises:
        ShapeError: if one of them does not broadcast to the shape.

    Example:
        >>> StudentT((2, 3), df=4.0).sample((5,)).shape
        torch.Size([5, 2, 3])

    References:
        Tails of Lipschitz Triangular Flows (Jaini et al., 2020), https://arxiv.org/abs/1907.04481.
    """

    # For what is learnt of it; as torch declares it.
    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }

    def __init__(
        self,
        shape: ShapeLike,
        df: torch.Tensor | float,
        loc: torch.Tensor | float = 0.0,
        scale: torch.Tensor | float = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        df, loc, scale = spread("StudentT", shape, df=df, loc=loc, scale=scale)
        super().__init__(_Tail(df, loc, scale, validate_args), validate_args=validate_args)

    @property
    def df(self) -> torch.Tensor:
        """The degrees of freedom of each coordinate."""
        return self.base_dist.df

    @property
    def loc(self) -> torch.Tensor:
        """The centre of each coordinate."""
        return self.base_dist.loc

    @property
    def scale(self) -> torch.Tensor:
        """The scale of each coordinate."""
        return self.base_dist.scale


register_base(StudentT, "shape", "df", "loc", "scale")
