"""Products of Householder reflections."""

from __future__ import annotations

import torch

from ..errors import ShapeError


def householder(x: torch.Tensor, vectors: torch.Tensor, *, inverse: bool = False) -> torch.Tensor:
    r"""Reflects vectors, one reflection after the other; an orthogonal map, whose log-determinant is 0.

    .. math:: y = H_K \cdots H_1 x, \qquad H_k = I - 2 \frac{v_k v_k^T}{|v_k|^2}, \qquad x = H_1 \cdots H_K y

    No matrix of D x D numbers is made. Reflections that each x has of its own are applied one after the other, at
    2 K D multiplications. Where all x share them, their product is applied as a whole: with the unit vectors in the
    rows of U, the lengths c of all K steps solve :math:`(\tfrac12 I + L) c = U x`, where L is the part of
    :math:`U U^T` below the diagonal, and :math:`y = x - U^T c`. This takes two thin matrix products, and
    :math:`K^2 D` multiplications once.

    Only the direction of :math:`v_k` matters; its gradient is orthogonal to it, and inversely proportional to its
    length. A vector of zeros (to within the square root of the least normal number) stands for the first axis, and has
    gradient 0.

    Shapes: ``x`` is ``(*batch, D)``, ``vectors`` ``(*batch, K, D)`` or ``(K, D)``; batches broadcast.

    Args:
        x: The points, or the images with ``inverse=True``.
        vectors: :math:`v_1, \ldots, v_K`, in the order in which forward applies them.
        inverse: Applies the reflections in reverse order.

    Returns:
        The images, ``(*batch, D)``.

    Raises:
        ShapeError: If the last axes differ in size, or there is no axis of reflections.

    Example:
        >>> x, v = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0, 0.0, 0.0], [0.0, -5.0, 5.0]])
        >>> householder(x, v)
        tensor([-1.,  3.,  2.])

    References:
        Improving Variational Auto-Encoders using Householder Flow (Tomczak and Welling, 2016),
        https://arxiv.org/abs/1611.09630, for the flow.
        Accumulating Householder transformations, revisited (Joffrain et al., 2006),
        https://doi.org/10.1145/1141885.1141886, for the product as a whole.
    """
    if vectors.dim() < 2 or x.dim() < 1 or vectors.shape[-1] != x.shape[-1]:
        raise ShapeError(
            f"householder: points (*batch, D) and vectors (*batch, K, D) are expected; got {tuple(x.shape)} and "
            f"{tuple(vectors.shape)}."
        )
    dtype = torch.promote_types(x.dtype, vectors.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    y, units = x.to(wide), _units(vectors.to(wide))
    if units.dim() == 2:
        system = torch.tril(units @ units.mT, -1) + 0.5 * torch.eye(len(units), dtype=wide, device=units.device)
        # The entries of its inverse are at most 4, lengths of steps from one unit vector: solving loses no digits.
        steps: torch.Tensor = torch.linalg.solve_triangular(system.mT if inverse else system, units, upper=inverse)
        return (y - (y @ steps.mT) @ units).to(dtype)
    order = range(units.shape[-2])
    for k in reversed(order) if inverse else order:
        unit = units[..., k, :]
        y = y - (2.0 * (y * unit).sum(-1, keepdim=True)) * unit
    return y.to(dtype)


def _units(vectors: torch.Tensor) -> torch.Tensor:
    """Returns vectors of length 1; the first axis for those that are zero."""
    # As only directions matter, dividing by the largest entry changes nothing, and keeps squares within the dtype.
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    nil = largest < torch.finfo(vectors.dtype).tiny ** 0.5  # below it, gradients overflow
    first = torch.zeros_like(vectors[..., :1, :1]) == torch.arange(vectors.shape[-1], device=vectors.device)
    scaled = torch.where(nil, first.to(vectors.dtype), vectors / torch.where(nil, 1.0, largest))
    units: torch.Tensor = scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return units
