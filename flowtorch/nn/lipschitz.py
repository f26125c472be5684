"""Networks of a Lipschitz constant that always holds, and products with their Jacobians."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch.nn import functional as F

from ..errors import OptionError
from ..ops.spectral_bound import convolution_bound, spectral_bound
from ..types import numel
from .dense import start_at_zero

Activation: TypeAlias = Literal["lipswish", "elu", "softplus", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


def activate(name: Activation, z: torch.Tensor, sharpness: torch.Tensor | None = None) -> torch.Tensor:
    r"""Returns an activation that nowhere grows faster than its argument; :func:`slope` is its derivative.

    .. math:: \phi(z) = \frac{z \, s(\beta z)}{1.1}, \qquad \phi'(z) = \frac{s + \beta z \, s (1 - s)}{1.1}, \qquad
              \beta = \log(1 + e^{b})

    for ``lipswish``, with :math:`s` the logistic function; the others are torch's of that name.

    Args:
        name: which one.
        z: where.
        sharpness: :math:`b` of ``lipswish``, which broadcasts with ``z``.

    Returns:
        :math:`\phi(z)`.

    Example:
        >>> activate("lipswish", torch.ones(1), torch.zeros(1))
        tensor([0.6061])

    References:
        Residual Flows for Invertible Generative Modeling (Chen et al., 2019), https://arxiv.org/abs/1906.02735,
        section 3.3.
    """
    if name == "elu":
        return F.elu(z)
    if name == "softplus":
        return F.softplus(z)
    if name == "tanh":
        return torch.tanh(z)
    return z * torch.sigmoid(_sharp(sharpness) * z) / 1.1


def slope(name: Activation, z: torch.Tensor, sharpness: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the derivative of :func:`activate`: in closed form, as products with Jacobians are made of it.

    Args:
        name: which activation.
        z: where.
        sharpness: that of ``lipswish``.

    Returns:
        The derivative, of the shape of ``z``.

    Example:
        >>> slope("softplus", torch.zeros(1))
        tensor([0.5000])
    """
    if name == "elu":
        return z.clamp_max(0.0).exp()
    if name == "softplus":
        return torch.sigmoid(z)
    if name == "tanh":
        return 1.0 - torch.tanh(z).square()
    steep = _sharp(sharpness) * z
    gate = torch.sigmoid(steep)
    return gate * (1.0 + steep * (1.0 - gate)) / 1.1


def _sharp(sharpness: torch.Tensor | None) -> torch.Tensor:
    if sharpness is None:
        raise OptionError("activate: a sharpness is expected for 'lipswish'; got none.")
    return F.softplus(sharpness)


class LipschitzNetwork(torch.nn.Module, abc.ABC):
    r"""A network that moves no two inputs further apart than ``lipschitz`` times what they were, whatever its weights.

    .. math:: g = A_L \circ \phi \circ \cdots \circ \phi \circ A_1, \qquad A_l h = \bar W_l h + b_l, \qquad
              \bar W_l = \frac{W_l}{\max(1, \bar\sigma(W_l) / c)}, \qquad c^L = \kappa

    with :math:`\bar\sigma` an upper bound on the norm of the layer and :math:`\phi` of slopes between -1 and 1. The
    context is added to what enters the first activation, which leaves the constant in ``x`` as it is. The last layer
    starts at zero.

    Args:
        layers: the linear layers.
        context_features: the length of the context; 0 where there is none.
        lipschitz: :math:`\kappa`.
        nonlinearity: :math:`\phi`.
    """

    event_dims: int

    def __init__(
        self,
        layers: Sequence[torch.nn.Linear | torch.nn.Conv2d],
        context_features: int,
        lipschitz: float,
        nonlinearity: Activation,
    ) -> None:
        super().__init__()
        self.layers = cast(Sequence[torch.nn.Linear], torch.nn.ModuleList(layers))
        self.limit = lipschitz ** (1.0 / len(layers))
        self.nonlinearity: Activation = nonlinearity
        first = layers[0].weight.shape[0]
        self.context = torch.nn.Linear(context_features, first, bias=False) if context_features else None
        start_at_zero(layers[-1])
        if self.context is not None and len(layers) == 1:
            start_at_zero(self.context)
        self.sharpness: torch.nn.Parameter | None = None
        if nonlinearity == "lipswish" and len(layers) > 1:
            self.sharpness = torch.nn.Parameter(torch.full((len(layers) - 1,), 0.5))

    @abc.abstractmethod
    def bound(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns an upper bound on the norm of a layer with these weights."""

    @abc.abstractmethod
    def apply_to(self, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the linear part of a layer applied to ``(*batch, *event)``."""

    @abc.abstractmethod
    def apply_adjoint(self, w: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the adjoint of :meth:`apply_to`."""

    def at(self, context: torch.Tensor | None) -> Contraction:
        """Returns the network at its present weights and a context: bounds are worked out once for many calls."""
        weights, biases = [], []
        for layer in self.layers:
            weights.append(layer.weight / (self.bound(layer.weight) / self.limit).clamp_min(1.0).to(layer.weight.dtype))
            biases.append(layer.bias)
        if self.context is not None and context is not None:
            biases[0] = biases[0] + self.context(context.to(biases[0].dtype))
        ones = (1,) * (self.event_dims - 1)
        return Contraction(self, weights, [b.reshape(*b.shape, *ones) for b in biases])


class Contraction:
    """A contractive network at given weights.

    Args:
        net: the network.
        weights: its weights, as bounded.
        biases: what is added after each layer, the context's share in it.
    """

    def __init__(self, net: LipschitzNetwork, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> None:
        self.net, self.weights, self.biases = net, weights, biases

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Returns ``g(x)``."""
        h = self._first(x)
        for weight, bias, sharpness in self._further():
            h = self.net.apply_to(activate(self.net.nonlinearity, h, sharpness), weight) + bias
        return h

    def linearize(self, x: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
        """Returns ``g(x)`` and its Jacobian there."""
        name, slopes, h = self.net.nonlinearity, [], self._first(x)
        for weight, bias, sharpness in self._further():
            slopes.append(slope(name, h, sharpness))
            h = self.net.apply_to(activate(name, h, sharpness), weight) + bias
        return h, Jacobian(self.net, self.weights, slopes)

    def _first(self, x: torch.Tensor) -> torch.Tensor:
        return self.net.apply_to(x, self.weights[0]) + self.biases[0]

    def _further(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Yields weights and biases of the layers after the first, with the sharpness of the activation before."""
        count = len(self.weights) - 1
        sharpness = (None,) * count if self.net.sharpness is None else self.net.sharpness.unbind()
        yield from zip(self.weights[1:], self.biases[1:], sharpness, strict=True)


class Jacobian:
    """The Jacobian of a contraction as a linear map: products with it are as dear as the network, and no more.

    Args:
        net: the network.
        weights: its weights, as bounded.
        slopes: those of the activations, at the point.
    """

    def __init__(self, net: LipschitzNetwork, weights: list[torch.Tensor], slopes: list[torch.Tensor]) -> None:
        self.net, self.weights, self.slopes = net, weights, slopes

    def push(self, v: torch.Tensor) -> torch.Tensor:
        """Returns ``J v`` for ``(*more, *batch, *event)``, axes of the batch being 1 or what they were."""
        v = self.net.apply_to(v, self.weights[0])
        for weight, slope in zip(self.weights[1:], self.slopes, strict=True):
            v = self.net.apply_to(v * slope, weight)
        return v

    def pull(self, w: torch.Tensor) -> torch.Tensor:
        """Returns the transpose of ``J`` times ``w``."""
        for weight, slope in zip(self.weights[:0:-1], self.slopes[::-1], strict=True):
            w = self.net.apply_adjoint(w, weight) * slope
        return self.net.apply_adjoint(w, self.weights[0])

    def detach(self) -> Jacobian:
        """Returns the same without derivatives."""
        return Jacobian(self.net, [w.detach() for w in self.weights], [s.detach() for s in self.slopes])


class LipschitzDense(LipschitzNetwork):
    """A fully connected :class:`LipschitzNetwork` from vectors to vectors of the same length.

    Shapes: ``x`` ``(*batch, features)``, context ``(*batch, context_features)``.

    Args:
        features: the length of ``x``.
        context_features: the length of the context; 0 where there is none.
        hidden_dims: the widths of the hidden layers; none for a linear map.
        lipschitz: the constant.
        nonlinearity: the activation.

    Example:
        >>> LipschitzDense(2, 3, (16,)).at(torch.zeros(3))(torch.zeros(7, 2)).shape
        torch.Size([7, 2])
    """

    event_dims = 1

    def __init__(
        self,
        features: int,
        context_features: int,
        hidden_dims: Sequence[int],
        *,
        lipschitz: float = 0.9,
        nonlinearity: Activation = "lipswish",
    ) -> None:
        widths = (features, *hidden_dims, features)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        super().__init__(layers, context_features, lipschitz, nonlinearity)

    def bound(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns an upper bound on the norm of a layer."""
        return spectral_bound(weight)

    def apply_to(self, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the product with the weights."""
        return F.linear(v, weight)

    def apply_adjoint(self, w: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the product with the transposed weights."""
        return F.linear(w, weight.mT)


class LipschitzConvolution(LipschitzNetwork):
    """A convolutional :class:`LipschitzNetwork` from images to images, with zeros around them.

    Shapes: ``x`` ``(*batch, in_channels, height, width)``, context ``(*batch, context_features)``.

    Args:
        in_channels: how many channels an image has.
        context_features: the length of the context, which is added to all positions alike; 0 where there is none.
        hidden_dims: the channels of the hidden layers; none for a linear map.
        kernel_size: the size of the kernels of the first and the last layer, odd; those between have size 1.
        lipschitz: the constant.
        nonlinearity: the activation.

    Example:
        >>> LipschitzConvolution(2, 0, (8,)).at(None)(torch.zeros(7, 2, 5, 4)).shape
        torch.Size([7, 2, 5, 4])
    """

    event_dims = 3

    def __init__(
        self,
        in_channels: int,
        context_features: int,
        hidden_dims: Sequence[int],
        *,
        kernel_size: int = 3,
        lipschitz: float = 0.9,
        nonlinearity: Activation = "lipswish",
    ) -> None:
        widths = (in_channels, *hidden_dims, in_channels)
        last = len(hidden_dims)
        # Between wide layers kernels of size 1: that of others is where working out a bound takes longest.
        sizes = [kernel_size if index in (0, last) else 1 for index in range(last + 1)]
        layers = [torch.nn.Conv2d(a, b, k) for (a, b), k in zip(itertools.pairwise(widths), sizes, strict=True)]
        super().__init__(layers, context_features, lipschitz, nonlinearity)

    def bound(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns an upper bound on the norm of a layer."""
        return convolution_bound(weight)

    def apply_to(self, v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the convolution."""
        return _on_images(F.conv2d, v, weight)

    def apply_adjoint(self, w: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Returns the transposed convolution."""
        return _on_images(F.conv_transpose2d, w, weight)


def _on_images(convolve: Callable[..., torch.Tensor], v: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    batch, image = v.shape[:-3], v.shape[-3:]  # torch's convolutions take one batch dimension
    out = convolve(v.reshape(numel(batch), *image), weight, padding=weight.shape[-1] // 2)
    return out.reshape(*batch, *out.shape[1:])
