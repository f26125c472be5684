"""What the tests of fused forms share: a table of ops with options, their tensors, and the reference form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from flowtorch._native import loader
from flowtorch.ops import (
    affine,
    cdf,
    deep_sigmoid,
    elu,
    exp,
    gaussian_mixture_cdf,
    leaky_relu,
    rational_linear_spline,
    rational_quadratic_spline,
    sigmoid,
    signed_power,
    softclip,
    softplus,
    tanh,
)

needs_kernels = pytest.mark.skipif(loader.capability is None, reason=f"no compiled kernels: {loader.reason}")
# All different, so that none can stand for another.
BOX = {"bound": 2.5, "min_bin_width": 0.01, "min_bin_height": 0.02, "min_derivative": 0.03}
Tensors = list[torch.Tensor]
Op = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@contextmanager
def reference_forms() -> Iterator[None]:
    """As if there were no kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "capability", None)
        yield


@dataclass(frozen=True)
class Case:
    """An op with options; ``trailing`` is the number of entries of each parameter of a coordinate."""

    name: str
    op: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    trailing: tuple[int, ...] = ()
    count: int = 0  # of parameters without a trailing axis

    def draw(
        self, *shape: int, dtype: torch.dtype = torch.float64, seed: int = 0, scale: float = 1.5, reach: float = 1.5
    ) -> Tensors:
        """Points, some of them outside of the box, and parameters, as conditioners lay them out in memory."""
        generator = torch.Generator().manual_seed(seed)
        x = reach * torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(self.count)]
        if self.trailing:
            packed_shape = (*shape[:-1], sum(self.trailing), *shape[-1:])
            packed = torch.randn(packed_shape, generator=generator, dtype=torch.float64)
            drawn += [p.transpose(-1, -2) if shape else p for p in packed.split(self.trailing, -2 if shape else -1)]
        return [t.to(dtype) for t in (x, *(scale * p for p in drawn))]

    def reference(self, *tensors: torch.Tensor, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The reference form."""
        with reference_forms():
            return self.op(*tensors, inverse=inverse)


def _splines() -> Iterator[Case]:
    for ends in (False, True):
        for order, op, lambdas in (
            ("quadratic", partial(rational_quadratic_spline, **BOX), ()),
            ("linear", partial(rational_linear_spline, **BOX, min_lambda=0.1), (6,)),
        ):
            yield Case(f"{order}{' with ends' if ends else ''}", op, (6, 6, 7 if ends else 5, *lambdas))


def _forward(op: Callable[..., tuple[torch.Tensor, torch.Tensor]], **given: float | str) -> Op:
    """An op with a fused form in the forward direction only, which stands for both here."""

    def forward(*tensors: torch.Tensor, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return op(*tensors, **given)

    return forward


CASES = [
    *_splines(),
    *(Case(f"affine {fn}", partial(affine, scale_fn=fn), count=2) for fn in ("softplus", "exp", "sigmoid")),
    Case("affine gated", partial(affine, scale_fn="sigmoid", gated=True, sigmoid_bias=1.5), count=2),
    Case(
        "affine clamped", partial(affine, clamp_values=True, log_scale_min_clip=-1.0, log_scale_max_clip=0.5), count=2
    ),
    Case("affine unbounded above", partial(affine, log_scale_max_clip=float("inf")), count=2),
    Case("deep sigmoid", _forward(deep_sigmoid), (5, 5, 5)),
    Case("gaussian mixture", _forward(gaussian_mixture_cdf), (5, 5, 5)),
    Case("signed power", _forward(signed_power), count=1),
    *(Case(op.__name__, _forward(op)) for op in (exp, sigmoid, tanh, softplus, elu)),
    Case("leaky relu", _forward(leaky_relu, slope=0.3)),
    Case("softclip", _forward(softclip, bound=1.7)),
    *(Case(f"{name} cdf", _forward(cdf, distribution=name, loc=0.2, scale=1.3)) for name in ("normal", "cauchy")),
]
every_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
splines = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES[:4]])
A_FEW = [CASES[i] for i in (0, 3, 4, 7, 11, 12, 13)]
a_few = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in A_FEW])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def with_gradients(
    op: Callable[..., tuple[torch.Tensor, torch.Tensor]], tensors: Tensors, weights: Tensors, **options: bool
) -> tuple[Tensors, Tensors]:
    """The results of an op, and the gradients of their sum with these weights."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    results = op(*leaves, **options)
    dtype = results[0].dtype
    gradients = torch.autograd.grad(results, leaves, [w.to(dtype) for w in weights], materialize_grads=True)
    return [r.detach() for r in results], list(gradients)
