"""Orthonormal transforms of vectors by fast algorithms: their matrices are never made."""

from __future__ import annotations

import math

import torch


def discrete_cosine(x: torch.Tensor, *, inverse: bool = False) -> torch.Tensor:
    r"""The orthonormal discrete cosine transform of type II along the last axis, at :math:`O(D \log D)`.

    .. math::
        y_k = s_k \sum_{n=0}^{D-1} x_n \cos\frac{\pi (2n + 1) k}{2D}, \qquad s_0 = \sqrt{1/D},\ s_k = \sqrt{2/D}

    One real Fourier transform of length :math:`D` of the even coordinates followed by the odd ones in reverse order.

    Shapes: the result has the shape of ``x``, ``(*batch, D)``.

    Args:
        x: Any real vectors, in float32 or float64.
        inverse: Takes ``y`` and returns ``x``: the transpose, which is the transform of type III.

    Returns:
        The transform; :math:`|\det| = 1`.

    Example:
        >>> discrete_cosine(torch.ones(4)).round(decimals=4).abs()
        tensor([2., 0., 0., 0.])

    References:
        A Fast Cosine Transform in One and Two Dimensions (Makhoul, 1980),
        https://doi.org/10.1109/TASSP.1980.1163351.
    """
    if x.numel() == 0:
        return x  # the Fourier transform of some builds refuses it
    size = x.shape[-1]
    half, rest = size // 2 + 1, (size + 1) // 2  # of the first the cosine part is asked for, of the others both
    angle = torch.arange(half, dtype=x.dtype, device=x.device) * (0.5 * math.pi / size)
    scale = torch.full_like(angle, math.sqrt(2.0 / size))
    scale[:1] = math.sqrt(1.0 / size)
    if not inverse:
        spectrum = torch.fft.rfft(torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1))
        spectrum = spectrum * torch.polar(scale, -angle)
        return torch.cat([spectrum.real, -spectrum.imag[..., 1:rest].flip(-1)], -1)
    imag = torch.nn.functional.pad(-x[..., size - half + 1 :].flip(-1), (1, 0))
    spectrum = torch.complex(x[..., :half], imag) * torch.polar(1.0 / scale, angle)
    folded = torch.fft.irfft(spectrum, n=size)
    odd = torch.nn.functional.pad(folded[..., rest:].flip(-1), (0, size % 2))
    return torch.stack([folded[..., :rest], odd], -1).flatten(-2)[..., :size]


def haar(x: torch.Tensor, *, inverse: bool = False) -> torch.Tensor:
    r"""The orthonormal Haar wavelet transform along the last axis, at :math:`O(D)`.

    .. math::
        l_i = \frac{x_{2i} + x_{2i+1}}{\sqrt 2}, \qquad h_i = \frac{x_{2i} - x_{2i+1}}{\sqrt 2}, \qquad
        y = (\mathrm{haar}(l), h)

    A last coordinate without a partner stays as it is, behind the differences of its level.

    Shapes: the result has the shape of ``x``, ``(*batch, D)``.

    Args:
        x: Any real vectors.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The transform, coarse to fine; :math:`|\det| = 1`.

    Example:
        >>> haar(torch.ones(4)).round(decimals=4)
        tensor([2., 0., 0., 0.])

    References:
        Zur Theorie der orthogonalen Funktionensysteme (Haar, 1910), https://doi.org/10.1007/BF01456326.
    """
    sizes = [x.shape[-1]]  # of what each level transforms
    while sizes[-1] > 3:
        sizes.append(sizes[-1] // 2)
    if not inverse:
        parts: list[torch.Tensor] = []  # from the last to the first
        for size in sizes:
            if size % 2:
                parts.append(x[..., -1:])
            x = x * math.sqrt(0.5)
            even, odd = x[..., 0 : size - 1 : 2], x[..., 1:size:2]
            parts.append(even - odd)
            x = even + odd
        return torch.cat([x, *reversed(parts)], -1)
    low = x[..., : sizes[-1] // 2]
    for size in reversed(sizes):
        half = size // 2
        high = x[..., half : 2 * half]
        low = torch.stack([low + high, low - high], -1).flatten(-2) * math.sqrt(0.5)
        if size % 2:
            low = torch.cat([low, x[..., size - 1 : size]], -1)
    return low
