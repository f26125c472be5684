"""Flows of Pyro and what they are converted to score and sample alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from flowtorch.convert import from_pyro
from tests.convert.agree import Origin, agrees, is_a_flow_like_any_other, perturb

pytest.importorskip("pyro")
# What the peers do is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

import pyro.distributions as dist  # noqa: E402
import pyro.distributions.transforms as pt  # noqa: E402
from pyro.nn import AutoRegressiveNN, ConditionalAutoRegressiveNN, ConditionalDenseNN, DenseNN  # noqa: E402

BINS = 5


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Pyro's inverses start from zeros of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sizes(order: str, count: int = 1) -> list[int]:
    """How many numbers a network gives of each parameter of a spline of ``count`` coordinates."""
    return [count * n for n in (BINS, BINS, BINS - 1, *([BINS] if order == "linear" else []))]


def autoregressive(size: int, **options: Any) -> Any:
    return AutoRegressiveNN(size, [20, 10], nonlinearity=torch.nn.Tanh(), **options)


def spline_autoregressive(size: int, order: str) -> Any:
    net = AutoRegressiveNN(size, [20], param_dims=sizes(order))
    return pt.SplineAutoregressive(size, net, count_bins=BINS, bound=2.0, order=order)


def spline_coupling(size: int, order: str, identity: bool) -> Any:
    split = size // 2
    net = DenseNN(split, [20], sizes(order, size - split))
    return pt.SplineCoupling(size, split, net, count_bins=BINS, bound=2.0, order=order, identity=identity)


PLAIN: dict[str, Callable[[int], list[Any]]] = {
    "IAF": lambda d: [
        pt.AffineAutoregressive(autoregressive(d), log_scale_max_clip=1.0),
        pt.permute(d),
        pt.AffineAutoregressive(autoregressive(d, skip_connections=True)),
        pt.AffineAutoregressive(autoregressive(d), stable=True, sigmoid_bias=1.0),
    ],
    "MAF": lambda d: [
        pt.affine_autoregressive(d, [20, 20]).inv,
        pt.BatchNorm(d).eval(),
        pt.ComposeTransformModule([pt.permute(d), pt.affine_autoregressive(d, [20, 20])]).inv,
    ],
    "RealNVP": lambda d: [
        pt.affine_coupling(d, [20]),
        pt.permute(d),
        pt.affine_coupling(d, [20], log_scale_min_clip=-1.0),
        torch.distributions.transforms.AffineTransform(1.0, torch.arange(d) + 1.0),
    ],
    "NSF, elementwise": lambda d: [pt.spline(d), pt.spline(d, order="quadratic", count_bins=4, bound=2.0)],
    "NSF, autoregressive": lambda d: [
        spline_autoregressive(d, "linear"),
        pt.permute(d),
        spline_autoregressive(d, "quadratic").inv,
    ],
    "NSF, coupling": lambda d: [
        spline_coupling(d, "linear", False),
        pt.permute(d),
        spline_coupling(d, "linear", True),
    ],
}
CONDITIONAL: dict[str, Callable[[int, int], list[Any]]] = {
    "IAF": lambda d, c: [
        pt.ConditionalAffineAutoregressive(ConditionalAutoRegressiveNN(d, c, [20, 20])),
        pt.permute(d),
        pt.ConditionalAffineAutoregressive(ConditionalAutoRegressiveNN(d, c, [20, 9], skip_connections=True)),
        pt.ConditionalAffineAutoregressive(ConditionalAutoRegressiveNN(d, c, [20]), stable=True),
    ],
    "MAF": lambda d, c: [
        pt.ConditionalAffineAutoregressive(ConditionalAutoRegressiveNN(d, c, [20])).inv,
        pt.BatchNorm(d).eval(),
    ],
    "RealNVP": lambda d, c: [
        pt.ConditionalAffineCoupling(d // 2, ConditionalDenseNN(d // 2, c, [20], [d - d // 2] * 2)),
        pt.permute(d),
        pt.ConditionalAffineCoupling(
            d // 2, ConditionalDenseNN(d // 2, c, [20], [d - d // 2] * 2), log_scale_min_clip=-0.5
        ),
    ],
    "NSF": lambda d, c: [
        pt.conditional_spline(d, c, count_bins=BINS),
        pt.ConditionalSplineAutoregressive(
            d, ConditionalAutoRegressiveNN(d, c, [20], param_dims=sizes("linear")), count_bins=BINS
        ),
        pt.conditional_spline(d, c, count_bins=4, order="quadratic"),
    ],
}


def origin(name: str, size: int, context: int, dtype: torch.dtype = torch.float64) -> Origin:
    torch.manual_seed(0)
    transforms = CONDITIONAL[name](size, context) if context else PLAIN[name](size)
    for transform in transforms:
        inner = getattr(transform, "_inv", None) or getattr(transform, "_transform", transform)
        if isinstance(inner, torch.nn.Module):
            perturb(inner.to(dtype))
        elif name == "RealNVP" and hasattr(transform, "scale"):
            transform.scale = transform.scale.to(dtype)
    base = dist.Normal(torch.zeros(size, dtype=dtype), torch.ones(size, dtype=dtype)).to_event(1)
    kind = dist.ConditionalTransformedDistribution if context else dist.TransformedDistribution
    given = kind(base, transforms)

    def at(c: torch.Tensor | None) -> Any:
        return given if c is None else given.condition(c)

    def push(z: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        for transform in at(c).transforms:
            z = transform(z)
        return z

    def log_prob(x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        found: torch.Tensor = at(c).log_prob(x.clone())  # a copy: it keeps what it was asked last
        return found

    return Origin(log_prob, push, lambda: from_pyro(given), size, context)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("size", [2, 3, 7])
def test_densities_and_samples_are_the_same(name: str, size: int) -> None:
    agrees(origin(name, size, 0))


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize(("size", "context"), [(2, 2), (3, 1), (7, 3)])
def test_conditional_densities_and_samples_are_the_same(name: str, size: int, context: int) -> None:
    agrees(origin(name, size, context), 1e-7 if name == "IAF" else 1e-8)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("name", ["MAF", "RealNVP"])
def test_densities_and_samples_are_the_same_in_float32(name: str, context: int) -> None:
    torch.set_default_dtype(torch.float32)
    agrees(origin(name, 3, context, torch.float32), 1e-4, torch.float32)


@pytest.mark.parametrize(("name", "context"), [*((n, 0) for n in PLAIN), *((n, 2) for n in CONDITIONAL)])
def test_it_is_a_flow_like_any_other(name: str, context: int) -> None:
    is_a_flow_like_any_other(origin(name, 3, context))


def test_a_fixed_transform_may_end_it() -> None:
    torch.manual_seed(0)
    base = dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1)
    end = torch.distributions.transforms
    given = dist.TransformedDistribution(base, [pt.spline(3), end.TanhTransform(), end.ExpTransform()])
    x = from_pyro(given).sample((20,))
    torch.testing.assert_close(from_pyro(given).log_prob(x), given.log_prob(x), rtol=1e-4, atol=1e-4)


def test_what_normalises_batches_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    norm = pt.BatchNorm(3)  # in training, where scoring moves its statistics
    norm.moving_variance.mul_(4.0)
    base = dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1)
    made = from_pyro(dist.TransformedDistribution(base, [torch.distributions.ComposeTransform([norm.inv])]))
    assert norm.training and norm.moving_variance.tolist() == [4.0] * 3
    x = torch.randn(5, 3)
    given = dist.TransformedDistribution(base, [norm.eval().inv])
    torch.testing.assert_close(made.log_prob(x), given.log_prob(x))
