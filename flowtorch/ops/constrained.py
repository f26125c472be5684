"""Maps from free coordinates onto constrained vectors and matrices, and boxes with ends for each coordinate.

Where the image has more entries than it has free ones, the log-determinant is that of the free ones: the first n of the
n + 1 entries on a simplex, the lower triangle of a symmetric matrix, that below the diagonal of a correlation matrix.
Vectors lie along the last axis, matrices along the last two; the log-determinant has one entry for each. With
``inverse=True``, functions take what lies within the set, and return the log-determinant of the inverse.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .elementary import SOFTPLUS_THRESHOLD

_LOG_2 = math.log(2.0)


def interval(
    x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the interval between two numbers, either or both of which may be infinite.

    .. math::
        y = l + (h - l) \sigma(x), \qquad y = l + e^x, \qquad y = h - e^x, \qquad y = x

    Shapes: all broadcast; both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between the ends.
        low: The lower end.
        high: The upper end, above the lower one.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to an end, and the log-derivative of the map computed.

    Example:
        >>> interval(torch.zeros(3), torch.tensor([0.0, 1.0, -torch.inf]), torch.tensor([1.0, torch.inf, 1.0]))[
        ...     0
        ... ]
        tensor([0.5000, 2.0000, 0.0000])
    """
    below, above = low.isfinite(), high.isfinite()
    both, either = below & above, below | above
    start, stop = torch.where(below, low, 0.0), torch.where(above, high, 0.0)
    width = torch.where(both, stop - start, 1.0)
    if inverse:
        from_low = torch.where(below, x - start, 1.0).log()
        from_high = torch.where(above, stop - x, 1.0).log()
        value = torch.where(both | below, from_low - from_high, torch.where(above, from_high, x))
        return value, width.log() - from_low - from_high
    # Each form loses no digits at its own end.
    inner = torch.where(x < 0.0, start + width * torch.sigmoid(x), stop - width * torch.sigmoid(-x))
    e = torch.where(either & ~both, x, 0.0).exp()
    outer = torch.where(below, start + e, torch.where(above, stop - e, x))
    info = torch.finfo(x.dtype)
    least = torch.where(below, start + (start.abs() * info.eps).clamp_min(info.tiny), -torch.inf)
    most = torch.where(above, stop - (stop.abs() * info.eps).clamp_min(info.tiny), torch.inf)
    value = torch.where(both, inner, outer).clamp(least, most)
    softplus = F.softplus(x, threshold=SOFTPLUS_THRESHOLD) + F.softplus(-x, threshold=SOFTPLUS_THRESHOLD)
    return value, torch.where(both, width.log() - softplus, torch.where(either, x, 0.0))


def simplex(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps n numbers onto n + 1 positive ones that sum to 1, by breaking a stick; zeros go to equal parts.

    .. math::
        y_i = z_i \prod_{j < i} (1 - z_j), \quad z_i = \sigma(x_i - \log(n - i)), \quad
        y_n = \prod_j (1 - z_j), \qquad \log|\det| = \sum_{i=0}^{n} \log y_i

    Example:
        >>> simplex(torch.zeros(2))[0]
        tensor([0.3333, 0.3333, 0.3333])
    """
    n = x.shape[-1] - int(inverse)
    log_offset = torch.arange(n, 0, -1, dtype=x.dtype, device=x.device).log()
    if inverse:
        # What is left of the stick, summed from its end: one minus what was broken off would cancel.
        left = x.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        log_y = x.log()
        return log_y[..., :-1] - left.log() + log_offset, -log_y.sum(-1)
    u = x - log_offset
    log_rest = -F.softplus(u, threshold=SOFTPLUS_THRESHOLD)
    log_left = F.pad(log_rest.cumsum(-1), (1, 0))
    log_y = log_left + F.pad(log_rest + u, (0, 1))
    return log_y.exp().clamp_min(torch.finfo(x.dtype).tiny), log_y.sum(-1)


def ordered(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps vectors onto increasing ones.

    .. math:: y_0 = x_0, \qquad y_i = y_{i-1} + e^{x_i}, \qquad \log|\det| = \sum_{i > 0} x_i

    Example:
        >>> ordered(torch.zeros(3))[0]
        tensor([0., 1., 2.])
    """
    if inverse:
        log_step = x.diff(dim=-1).log()
        return torch.cat([x[..., :1], log_step], -1), -log_step.sum(-1)
    return torch.cat([x[..., :1], x[..., 1:].exp()], -1).cumsum(-1), x[..., 1:].sum(-1)


def positive_ordered(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps vectors onto increasing ones of positive numbers.

    .. math:: y_0 = e^{x_0}, \qquad y_i = y_{i-1} + e^{x_i}, \qquad \log|\det| = \sum_i x_i

    Example:
        >>> positive_ordered(torch.zeros(3))[0]
        tensor([1., 2., 3.])
    """
    if inverse:
        log_step = F.pad(x, (1, 0)).diff(dim=-1).log()
        return log_step, -log_step.sum(-1)
    return x.exp().cumsum(-1), x.sum(-1)


def lower_triangular(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts n (n + 1) / 2 numbers, row by row, into the lower triangle of an n x n matrix.

    Example:
        >>> lower_triangular(torch.tensor([1.0, 2.0, 3.0]))[0]
        tensor([[1., 0.],
                [2., 3.]])
    """
    y = _vector(x, 0) if inverse else _matrix(x, 0)
    return y, x.new_zeros(x.shape[: -2 if inverse else -1])


def symmetric(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts n (n + 1) / 2 numbers, row by row, into the lower triangle of a symmetric n x n matrix.

    Example:
        >>> symmetric(torch.tensor([1.0, 2.0, 3.0]))[0]
        tensor([[1., 2.],
                [2., 3.]])
    """
    if inverse:
        return lower_triangular(x, inverse=True)
    y, log_det = lower_triangular(x)
    return y + y.tril(-1).mT, log_det


def lower_cholesky(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps n (n + 1) / 2 numbers onto lower triangular matrices with a positive diagonal.

    .. math:: L_{ij} = x_{ij}\ (i > j), \qquad L_{ii} = e^{x_{ii}}, \qquad \log|\det| = \sum_i x_{ii}

    Example:
        >>> lower_cholesky(torch.tensor([0.0, 2.0, 0.0]))[0]
        tensor([[1., 0.],
                [2., 1.]])
    """
    if inverse:
        log_diagonal = x.diagonal(dim1=-2, dim2=-1).log()
        return _vector(x.tril(-1) + torch.diag_embed(log_diagonal), 0), -log_diagonal.sum(-1)
    matrix = _matrix(x, 0)
    log_diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return matrix.tril(-1) + torch.diag_embed(log_diagonal.exp()), log_diagonal.sum(-1)


def positive_definite(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps n (n + 1) / 2 numbers onto symmetric positive definite matrices, by their Cholesky factor.

    .. math:: y = L L^T, \qquad \log|\det| = n \log 2 + \sum_{i=0}^{n-1} (n - i + 1) \log L_{ii}

    Example:
        >>> positive_definite(torch.tensor([0.0, 2.0, 0.0]))[0]
        tensor([[1., 2.],
                [2., 5.]])
    """
    if inverse:
        value, log_det = lower_cholesky(torch.linalg.cholesky_ex(x).L, inverse=True)
        return value, log_det - _of_product(_matrix(value, 0).diagonal(dim1=-2, dim2=-1))
    factor, log_det = lower_cholesky(x)
    return factor @ factor.mT, log_det + _of_product(_matrix(x, 0).diagonal(dim1=-2, dim2=-1))


def _of_product(log_diagonal: torch.Tensor) -> torch.Tensor:
    n = log_diagonal.shape[-1]
    powers = torch.arange(n, 0, -1, dtype=log_diagonal.dtype, device=log_diagonal.device)
    return n * _LOG_2 + (powers * log_diagonal).sum(-1)


def corr_cholesky(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps n (n - 1) / 2 numbers onto Cholesky factors of n x n correlation matrices: rows of length 1.

    .. math::
        L_{ij} = \tanh(x_{ij}) \prod_{k < j} \operatorname{sech}(x_{ik})\ (i > j), \qquad
        L_{ii} = \prod_{k < i} \operatorname{sech}(x_{ik})

    Example:
        >>> corr_cholesky(torch.zeros(1))[0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    if inverse:
        # The squared length of what is left of a row, summed from its end: one minus the rest would cancel.
        left = x.square().flip(-1).cumsum(-1).flip(-1)
        after = _vector(F.pad(left[..., 1:], (0, 1)), -1)
        log_det = 0.5 * _vector(left, -1).log() - after.log()
        return torch.asinh(_vector(x, -1) * after.rsqrt()), log_det.sum(-1)
    r = _matrix(x, -1)
    log_sech = _LOG_2 + r - F.softplus(2.0 * r, threshold=SOFTPLUS_THRESHOLD)
    log_left = log_sech.cumsum(-1) - log_sech
    log_det = (log_left + 2.0 * log_sech).tril(-1).sum((-2, -1))
    one = torch.eye(r.shape[-1], dtype=x.dtype, device=x.device)
    return (torch.tanh(r) + one) * log_left.exp(), log_det


def correlation(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps n (n - 1) / 2 numbers onto correlation matrices: positive definite, with ones on the diagonal.

    .. math:: y = L L^T, \qquad \log|\det dy/dL| = \sum_{i=0}^{n-1} (n - 1 - i) \log L_{ii}

    Example:
        >>> correlation(torch.zeros(1))[0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    if inverse:
        factor = torch.linalg.cholesky_ex(x).L
        value, log_det = corr_cholesky(factor, inverse=True)
        return value, log_det - _of_correlation(factor)
    factor, log_det = corr_cholesky(x)
    return factor @ factor.mT, log_det + _of_correlation(factor)


def _of_correlation(factor: torch.Tensor) -> torch.Tensor:
    log_diagonal = factor.diagonal(dim1=-2, dim2=-1).log()
    powers = torch.arange(factor.shape[-1] - 1, -1, -1, dtype=factor.dtype, device=factor.device)
    return (powers * log_diagonal).sum(-1)


def _matrix(x: torch.Tensor, diagonal: int) -> torch.Tensor:
    """Returns vectors as lower triangles, row by row, up to a diagonal; zeros above.

    Gathered from the vector and a zero: writing into zeros fails under vmap.
    """
    count = x.shape[-1]
    n = round((math.sqrt(8 * count + 1) - 1) / 2) - diagonal
    i = torch.arange(n, device=x.device)[:, None]
    j = torch.arange(n, device=x.device)[None, :]
    row = i + 1 + diagonal  # how many entries row i has
    place = torch.where(j < row, row * (row - 1) // 2 + j, count)
    gathered = F.pad(x, (0, 1)).index_select(-1, place.flatten())
    return gathered.reshape(*x.shape[:-1], n, n)


def _vector(y: torch.Tensor, diagonal: int) -> torch.Tensor:
    """Returns lower triangles as vectors."""
    n = y.shape[-1]
    row, column = torch.tril_indices(n, n, diagonal, device=y.device)
    return y.flatten(-2).index_select(-1, row * n + column)
