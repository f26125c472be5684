"""The matrix exponential, Cayley's transform, and bounds on the norm of a matrix."""

from __future__ import annotations

import torch

from ..errors import OptionError
from .spectral_bound import spectral_bound


def matrix_exponential(matrix: torch.Tensor) -> torch.Tensor:
    r"""Returns the exponential of square matrices, right to rounding whatever their norm.

    .. math:: e^M = \sum_{n=0}^\infty \frac{M^n}{n!}, \qquad \log\det e^M = \operatorname{tr} M, \qquad
              (e^M)^{-1} = e^{-M}

    Shapes: ``(*batch, D, D)`` gives the same.

    Args:
        matrix: :math:`M`.

    Returns:
        :math:`e^M`. A series cut off after a number of terms that is the same for all matrices is wrong, without a
        sign of it, for the large ones; here the terms and the squarings follow the norm.

    Example:
        >>> matrix_exponential(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])

    References:
        Computing the Matrix Exponential with an Optimized Taylor Polynomial Approximation (Bader et al., 2019),
        https://doi.org/10.3390/math7121174, which is torch's.
    """
    wide: torch.Tensor = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    found: torch.Tensor = torch.linalg.matrix_exp(wide)
    return found.to(matrix.dtype)


def bound_norm(matrix: torch.Tensor, bound: float, *, spectral: bool) -> torch.Tensor:
    r"""Scales matrices down so that their norm stays below a bound; small ones are left alone.

    .. math:: \beta \tanh\left(\frac{\|M\|}{\beta}\right) \frac{M}{\|M\|}

    Shapes: ``(*batch, D, D)`` gives the same.

    Args:
        matrix: :math:`M`.
        bound: :math:`\beta > 0`.
        spectral: Takes for the norm the upper bound of the spectral norm that :func:`spectral_bound` is, instead of
            the Frobenius norm.

    Returns:
        A multiple of the matrix; its spectral norm is below the bound either way.

    Raises:
        OptionError: If the bound is not positive.

    Example:
        >>> bound_norm(torch.tensor([[3e6, 0.0], [0.0, 4e6]]), 1.0, spectral=False)
        tensor([[0.6000, 0.0000],
                [0.0000, 0.8000]])
    """
    if not bound > 0.0:
        raise OptionError(f"bound_norm: a positive bound is expected; got {bound}.")
    wide: torch.Tensor = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    # Norms are homogeneous: a constant factor, taken out and put back, changes neither them nor their gradients, and
    # keeps squares within the dtype. In the place of zero, where they have no derivative, stands any other matrix.
    size = wide.detach().abs().amax((-2, -1), keepdim=True)
    nil = size < torch.finfo(wide.dtype).tiny
    scaled = torch.where(nil, 1.0, wide / torch.where(nil, 1.0, size))
    norm = spectral_bound(scaled) if spectral else torch.linalg.matrix_norm(scaled)
    ratio = norm[..., None, None] * (size / bound)
    small = ratio < torch.finfo(wide.dtype).eps  # where the hyperbolic tangent is its argument
    safe = torch.where(small, 1.0, ratio)
    return (wide * torch.where(small, 1.0, torch.tanh(safe) / safe)).to(matrix.dtype)


def cayley(matrix: torch.Tensor) -> torch.Tensor:
    r"""Returns Cayley's transform of square matrices: orthogonal for skew-symmetric ones.

    .. math:: W = \left(I - \tfrac12 A\right)^{-1} \left(I + \tfrac12 A\right) = 2 \left(I - \tfrac12 A\right)^{-1} - I,
              \qquad W = e^A + O(A^3)

    Shapes: ``(*batch, D, D)`` gives the same.

    Args:
        matrix: :math:`A`, without the eigenvalue 2.

    Returns:
        The transform; that of :math:`-A` is its inverse.

    Example:
        >>> cayley(torch.tensor([[0.0, 2.0], [-2.0, 0.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    half: torch.Tensor = 0.5 * matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    eye = torch.eye(matrix.shape[-1], dtype=half.dtype, device=matrix.device)
    found: torch.Tensor = torch.linalg.solve(eye - half, eye + half)
    return found.to(matrix.dtype)
