"""Base distributions over vectors whose coordinates depend on each other."""

from __future__ import annotations

import math

import torch
from torch.distributions import Chi2, Distribution, constraints
from torch.distributions import MultivariateNormal as NormalVector
from torch.distributions.constraints import Constraint

from ..errors import OptionError, ShapeError
from ..types import ShapeLike, as_size
from .base import register_base
from .independent import alike, spread, with_batch


class MultivariateNormal(NormalVector):
    r"""A normal over vectors with a full covariance matrix: torch's, with a shape and defaults.

    .. math:: \log p(x) = -\tfrac{1}{2} |L^{-1} (x - \mu)|^2 - \log |L| - \tfrac{n}{2} \log 2 \pi

    Args:
        shape: the vectors' length, an integer or ``(n,)``.
        loc: :math:`\mu`, a number or a tensor that broadcasts to ``(n,)``.
        scale_tril: :math:`L`, lower triangular ``(n, n)``, or a number for that multiple of the identity.
        covariance_matrix: :math:`L L^T` in its place, ``(n, n)``.

    Raises:
        ShapeError: if they do not fit the shape.
        OptionError: if both matrices are given.

    Example:
        >>> covariance = torch.tensor([[2.0, 0.6], [0.6, 1.0]])
        >>> MultivariateNormal(2, covariance_matrix=covariance).sample((5,)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: ShapeLike,
        loc: torch.Tensor | float = 0.0,
        scale_tril: torch.Tensor | float | None = None,
        *,
        covariance_matrix: torch.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        event = _vector("MultivariateNormal", shape)
        if scale_tril is not None and covariance_matrix is not None:
            raise OptionError("MultivariateNormal: scale_tril or covariance_matrix is expected; got both.")
        name = "scale_tril" if covariance_matrix is None else "covariance_matrix"
        given = scale_tril if covariance_matrix is None else covariance_matrix
        loc, matrix = alike(loc, 1.0 if given is None else given)
        (loc,) = spread("MultivariateNormal", event, loc=loc)
        matrix = _square("MultivariateNormal", name, matrix, event[0])
        super().__init__(loc, **{name: matrix}, validate_args=validate_args)

    @property
    def shape(self) -> torch.Size:
        """The event's shape."""
        return self.event_shape

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> NormalVector:
        """Returns the distribution with this batch shape."""
        batch, new = as_size(batch_shape, "MultivariateNormal.expand"), self.__new__(type(self))
        expanded: NormalVector = super().expand(batch, _instance=new)  # type: ignore[no-untyped-call]  # torch's
        return expanded


class MultivariateStudentT(Distribution):
    r"""Student's t over vectors with a scale matrix: its coordinates have their extremes together.

    .. math:: p(x) = \frac{\Gamma(\frac{\nu + n}{2})}{\Gamma(\frac{\nu}{2}) (\nu \pi)^{n/2} |L|} \Big(1 +
        \frac{|L^{-1} (x - \mu)|^2}{\nu}\Big)^{-(\nu + n)/2}

    Args:
        shape: the vectors' length, an integer or ``(n,)``.
        df: the degrees of freedom :math:`\nu > 0`, a number or a tensor of shape ``()``.
        loc: :math:`\mu`, a number or a tensor that broadcasts to ``(n,)``.
        scale_tril: :math:`L`, lower triangular ``(n, n)``, or a number for that multiple of the identity.

    Raises:
        ShapeError: if they do not fit the shape.

    Example:
        >>> MultivariateStudentT(2, df=3.0).sample((5,)).shape
        torch.Size([5, 2])

    References:
        Multivariate T-Distributions and Their Applications (Kotz et al., 2004),
        https://doi.org/10.1017/CBO9780511550683, eq. 1.1.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012  # as torch declares it
        "df": constraints.positive,
        "loc": constraints.real_vector,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        shape: ShapeLike,
        df: torch.Tensor | float,
        loc: torch.Tensor | float = 0.0,
        scale_tril: torch.Tensor | float = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.shape = _vector("MultivariateStudentT", shape)
        df, loc, matrix = alike(df, loc, scale_tril)
        (self.df,) = spread("MultivariateStudentT", (), df=df)
        (self.loc,) = spread("MultivariateStudentT", self.shape, loc=loc)
        self.scale_tril = _square("MultivariateStudentT", "scale_tril", matrix, self.shape[0])
        super().__init__(torch.Size(), self.shape, validate_args=validate_args)

    @property
    def mean(self) -> torch.Tensor:
        """The centre; NaN for at most one degree of freedom."""
        return torch.where(self.df > 1, self.loc, torch.nan).expand(self._extended_shape())

    @property
    def mode(self) -> torch.Tensor:
        """The centre."""
        return self.loc.expand(self._extended_shape())

    @property
    def variance(self) -> torch.Tensor:
        """That of each coordinate; infinite for at most two degrees of freedom, NaN for at most one."""
        finite = self.scale_tril.square().sum(-1) * (self.df / (self.df - 2))
        found = torch.where(self.df > 2, finite, torch.where(self.df > 1, torch.inf, torch.nan))
        return found.expand(self._extended_shape())

    def rsample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws with gradients."""
        shape = self._extended_shape(as_size(sample_shape, "MultivariateStudentT.rsample"))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        # One for all coordinates of a vector: what makes them extreme together.
        narrowness = Chi2(self.df, validate_args=False).rsample(shape[:-1]) / self.df
        return self.loc + (noise @ self.scale_tril.mT) * narrowness.rsqrt().unsqueeze(-1)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density of vectors ``(*batch, n)``."""
        if self._validate_args:
            self._validate_sample(value)
        n, df = self.shape[0], self.df
        square = ((value - self.loc) @ inverse(self.scale_tril).mT).square().sum(-1)
        peak = torch.lgamma(0.5 * (df + n)) - torch.lgamma(0.5 * df) - 0.5 * n * (df * math.pi).log()
        found = peak - log_diagonal(self.scale_tril) - 0.5 * (df + n) * torch.log1p(square / df)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    def entropy(self) -> torch.Tensor:
        """Returns the entropy."""
        n, df = self.shape[0], self.df
        a, b = 0.5 * (df + n), 0.5 * df
        peak = torch.lgamma(a) - torch.lgamma(b) - 0.5 * n * (df * math.pi).log() - log_diagonal(self.scale_tril)
        return (a * (torch.digamma(a) - torch.digamma(b)) - peak).expand(self.batch_shape)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> MultivariateStudentT:
        """Returns the distribution with this batch shape."""
        return with_batch(self, batch_shape)


register_base(MultivariateNormal, "shape", "loc", "scale_tril")
register_base(MultivariateStudentT, "shape", "df", "loc", "scale_tril")


def inverse(scale_tril: torch.Tensor) -> torch.Tensor:
    """Returns the inverse of triangular matrices; torch solves equations for rows one row at a time."""
    eye = torch.eye(scale_tril.shape[-1], dtype=scale_tril.dtype, device=scale_tril.device)
    found: torch.Tensor = torch.linalg.solve_triangular(scale_tril, eye, upper=False)
    return found


def log_diagonal(scale_tril: torch.Tensor) -> torch.Tensor:
    """Returns the log-determinant of triangular matrices."""
    return scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _vector(who: str, shape: ShapeLike) -> torch.Size:
    event = as_size(shape, who)
    if len(event) != 1 or event[0] == 0:
        raise ShapeError(f"{who}: the length of a vector, n or (n,), is expected; got {tuple(event)}.")
    return event


def _square(who: str, name: str, matrix: torch.Tensor, n: int) -> torch.Tensor:
    if not matrix.dim():
        return matrix * torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    if matrix.shape != (n, n):
        raise ShapeError(f"{who}: {name} of shape {(n, n)} is expected; got {tuple(matrix.shape)}.")
    return matrix
