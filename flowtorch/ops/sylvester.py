"""The Sylvester map of vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..errors import ShapeError
from ._modes import differentiating
from ._own_backward import own_backward
from ._tanh_root import mixed, slope_at_zero, slope_gradient, tanh_root_value, tanh_slopes
from .householder import householder
from .matrices import product
from .packed import upper_triangular


def sylvester(
    x: torch.Tensor,
    vectors: torch.Tensor | None,
    raw_outer: torch.Tensor,
    inner: torch.Tensor,
    bias: torch.Tensor,
    *,
    flip: bool = False,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Moves vectors within a subspace of M dimensions by M units of tanh, coupled by triangular matrices.

    .. math::
        y = x + Q R \tanh(z), \quad z = \tilde R Q^T x + b, \qquad
        \log|\det dy/dx| = \sum_{i=1}^M \log(1 + (k_i - 1) \tanh' z_i)

    with upper triangular :math:`R, \tilde R`. Of their diagonals, :math:`\tilde R_{ii} = \tilde r_i` and
    :math:`R_{ii} = r_i\, (1 + k_i) / (1 + \sqrt{1 + a_i^2})`, :math:`a_i = r_i \tilde r_i`, so that
    :math:`1 + R_{ii} \tilde R_{ii} = k_i = a_i + \sqrt{1 + a_i^2} > 0`, which makes the map one to one.
    :math:`Q = H_1 \cdots H_K E` are the first M columns of a product of reflections: orthonormal to rounding whatever
    the vectors are, and with the exact derivatives. (The paper's iteration gives columns orthonormal to a tolerance, if
    it converges; the log-determinant, which relies on it, is then off by as much.)

    The inverse solves :math:`z + \tilde R R \tanh z = \tilde R Q^T y + b` from the last coordinate to the first, each
    by five monotone Newton steps, which end at rounding whatever :math:`k_i` is. Derivatives are those of the implicit
    function theorem. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, D)``, ``vectors`` ``(*batch, K, D)``, ``raw_outer`` and ``inner``
    ``(*batch, M (M + 1) / 2)``, ``bias`` ``(*batch, M)``; batches broadcast.

    Args:
        x: The points, or the images with ``inverse=True``.
        vectors: The normals of the reflections; None for none.
        raw_outer: :math:`R` as :func:`upper_triangular` takes it, with :math:`r` for the diagonal, any real numbers;
            of given diagonals :math:`r_i = R_{ii} (1 + k_i) / (2 k_i)`, :math:`k_i = 1 + R_{ii} \tilde R_{ii}`.
        inner: :math:`\tilde R` in the same form, any real numbers.
        bias: :math:`b`, any real numbers.
        flip: Takes coordinates in reverse order, after the reflections.
        inverse: Solves for ``x``.

    Returns:
        The images ``(*batch, D)`` and the log-determinant ``(*batch)`` of the direction computed.

    Raises:
        ShapeError: If M is above D, or the triangular matrices are of other sizes.

    Example:
        >>> one = torch.tensor([1.0])
        >>> sylvester(torch.tensor([0.5, 2.0]), None, 0.75 * one, one, 0.0 * one)  # M = k = 1 + 1
        (tensor([0.9621, 2.0000]), tensor(0.5802))

    References:
        Sylvester Normalizing Flows for Variational Inference (van den Berg et al., 2018),
        https://arxiv.org/abs/1803.05649, equations 7 to 15.
    """
    size, rank = x.shape[-1], bias.shape[-1]
    if rank > size:
        raise ShapeError(f"sylvester: a bias of at most {size} numbers is expected; got {rank}.")
    dtype = torch.promote_types(x.dtype, bias.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    x, raw_outer, inner, bias = (t.to(wide) for t in (x, raw_outer, inner, bias))

    def turn(v: torch.Tensor, back: bool) -> torch.Tensor:
        v = v.flip(-1) if flip and back else v
        v = v if vectors is None else householder(v, vectors.to(wide), inverse=back)
        return v.flip(-1) if flip and not back else v

    r = raw_outer[..., :rank]
    raw = r * inner[..., :rank]
    k = slope_at_zero(raw)
    # That is r (k - 1) / a: in this form neither 0 / 0 nor cancellation.
    diagonal = r * (1.0 + k) / (1.0 + torch.sqrt(1.0 + raw**2))
    outer = upper_triangular(torch.cat([diagonal, raw_outer[..., rank:]], -1), rank)
    inner = upper_triangular(inner, rank)
    z = product(inner, turn(x, False)[..., :rank]) + bias
    if inverse:
        (z,) = own_backward(_plain, _fast, _backward, z, (inner @ outer).triu(1), raw)
    step = turn(F.pad(product(outer, torch.tanh(z)), (0, size - rank)), True)
    log_det = torch.log(mixed(k, *tanh_slopes(z))).sum(-1)
    y, log_det = (x - step, -log_det) if inverse else (x + step, log_det)
    return y.to(dtype), log_det.to(dtype)


def _plain(t: torch.Tensor, above: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor]:
    """Returns z with z_i + (k_i - 1) tanh z_i + sum_j above_ij tanh z_j = t_i."""
    with torch.no_grad():
        (z,), _ = _fast(t.detach(), above.detach(), raw.detach())
    z = z.detach()
    if differentiating():
        k = slope_at_zero(raw)
        # A step of value zero carries the first derivatives, those of the implicit function theorem; another one, the
        # second.
        for _ in range(2):
            h = torch.tanh(z)
            error = z + (k - 1.0) * h + product(above, h) - t
            step = torch.linalg.solve_triangular(_jacobian(z, above, k), error.unsqueeze(-1), upper=True).squeeze(-1)
            z = z - (step - step.detach())
    return (z,)


def _fast(t: torch.Tensor, above: torch.Tensor, raw: torch.Tensor) -> tuple[tuple[torch.Tensor], tuple[torch.Tensor]]:
    """Returns the solution without derivatives, found coordinate by coordinate."""
    k = slope_at_zero(raw)
    found: list[torch.Tensor] = []
    for i in reversed(range(t.shape[-1])):
        found.append(tanh_root_value(t[..., i], k[..., i]))
        t = t - above[..., i] * torch.tanh(found[-1]).unsqueeze(-1)
    z = torch.stack(found[::-1], -1)
    return (z,), (z,)


def _backward(
    tensors: tuple[torch.Tensor, ...], saved: tuple[torch.Tensor, ...], gradients: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    (_, above, raw), (z,) = tensors, saved
    transposed = _jacobian(z, above, slope_at_zero(raw)).mT
    by_t = torch.linalg.solve_triangular(transposed, gradients[0].unsqueeze(-1), upper=False).squeeze(-1)
    h = torch.tanh(z)
    by_above = by_t.reshape(-1, z.shape[-1]).mT @ h.reshape(-1, z.shape[-1]) if above.dim() == 2 else _outer(by_t, h)
    return by_t, -by_above, -by_t * h * slope_gradient(raw)


def _jacobian(z: torch.Tensor, above: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    slopes = tanh_slopes(z)
    return above * slopes[0].unsqueeze(-2) + torch.diag_embed(mixed(k, *slopes))


def _outer(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)
