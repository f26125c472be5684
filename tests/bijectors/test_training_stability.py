"""After 1,000 steps of Adam at 1e-2 towards random targets the inverse still undoes forward."""

from __future__ import annotations

import copy

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow

D, STEPS, BATCH = 5, 1000, 64
NET, PASSES = params.DenseNN((16,)), params.MADE((24,), passes=2)
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}  # relative to the largest coordinate
# Coordinate 4 sees 1 and 3, 3 sees 0 and 2, all others none but the context: three steps.
GRAPH = tuple(tuple(j in seen for j in range(D)) for seen in ((), (), (), (0, 2), (1, 3)))
OVER = params.MADE((24,), adjacency=GRAPH)

FREE: dict[str, tuple[bij.Bijector, tuple[int, ...]]] = {
    "act norm": (bij.ActNorm(), (D,)),
    "act norm, channels": (bij.ActNorm(dim=0), (3, 4, 4)),
    "act norm between layers": (
        bij.Compose([bij.ActNorm(), bij.AffineCoupling(NET), bij.ActNorm(), bij.AffineCoupling(NET, swap=True)]),
        (D,),
    ),
    "batch norm": (bij.BatchNorm(), (D,)),
    "batch norm, channels": (bij.BatchNorm(dim=0), (3, 4, 4)),
    "batch norm between layers": (
        bij.Compose([bij.AffineCoupling(NET), bij.BatchNorm(), bij.AffineCoupling(NET, swap=True), bij.BatchNorm()]),
        (D,),
    ),
    "autoregressive in passes": (bij.AffineAutoregressive(PASSES), (D,)),
    "autoregressive in passes, inverted": (bij.Invert(bij.AffineAutoregressive(PASSES)), (D,)),
    "autoregressive over a graph": (bij.AffineAutoregressive(OVER), (D,)),
    "channel permute": (bij.GeneralizedChannelPermute(bias=True), (3, 4, 4)),
}
CONDITIONED: dict[str, bij.Bijector] = {
    "LU": bij.LU(NET, bias=True),
    "QR": bij.QR(NET, bias=True),
    "SVD": bij.SVD(NET, bias=True),
    "householder": bij.Householder(NET, bias=True, count_transforms=4),
    "orthogonal, cayley": bij.Orthogonal(NET, bias=True),
    "orthogonal, exponential": bij.Orthogonal(NET, bias=True, method="exponential"),
    "low rank": bij.DiagonalPlusLowRank(NET, bias=True, rank=2),
    "matrix exponential, spectral": bij.MatrixExponential(NET, bias=True, normalization="spectral", bound=3.0),
    "lower Cholesky affine": bij.LowerCholeskyAffine(NET),
    "channel permute": bij.GeneralizedChannelPermute(NET, bias=True),
    "autoregressive in passes": bij.AffineAutoregressive(PASSES),
    "autoregressive over a graph": bij.AffineAutoregressive(OVER),
}
# Far targets make most of these stretch space without bounds, which costs any inverse its digits.
NEAR: dict[str, bij.Bijector] = {
    "planar": bij.Planar(NET),
    "planar, inverted": bij.Invert(bij.Planar(NET)),
    "planar, leaky relu, inverted": bij.Invert(bij.Planar(NET, nonlinearity="leaky_relu")),
    "radial, inverted": bij.Invert(bij.Radial(NET)),
    "sylvester": bij.Sylvester(NET),
    "sylvester, inverted": bij.Invert(bij.Sylvester(NET)),
    "sylvester, triangular, inverted": bij.Invert(bij.Sylvester(NET, kind="triangular")),
    "block autoregressive, inverted": bij.Invert(bij.BlockAutoregressive((4,))),
    "matrix exponential": bij.MatrixExponential(NET, bias=True),
    "residual, inverted": bij.Invert(bij.Residual((16,))),
}


class Target:
    """Correlated normals of scales from 0.03 to 30, far from the origin; with a context, which turns and moves them.

    Or, if near, of scales from 0.3 to 3, and less far.
    """

    def __init__(self, shape: tuple[int, ...], context: bool, near: bool = False) -> None:
        self.shape, self.context = shape, context
        size = torch.Size(shape).numel()
        exponents = torch.linspace(-1.5, 1.5, shape[0], dtype=torch.float64).repeat_interleave(size // shape[0])
        scales = 10.0 ** (exponents / 3.0 if near else exponents)
        self.mixing = (torch.eye(size).double() + 0.5 * torch.randn(size, size).double()) * scales[:, None]
        self.shift = (1.0 if near else 10.0) * scales * torch.randn(size, dtype=torch.float64)
        self.turn = torch.randn(2, size, size, dtype=torch.float64) * scales[:, None]

    def draw(self, count: int) -> tuple[torch.Tensor, ...]:
        noise = torch.randn(count, self.mixing.shape[0], dtype=torch.float64)
        if not self.context:
            return ((noise @ self.mixing.mT + self.shift).reshape(count, *self.shape),)
        context = torch.randn(count, 2, dtype=torch.float64)
        matrix = self.mixing + 0.5 * torch.einsum("bc,cij->bij", context.tanh(), self.turn)
        return (matrix @ noise[..., None])[..., 0] + (1.0 + context[:, :1]) * self.shift, context


def train(plan: bij.Bijector, target: Target) -> Flow:
    """Fits a target; the loss is finite in each step, and no larger in the end."""
    shape, context = target.shape, target.context
    flow = Flow(DiagNormal(shape), plan, context_shape=(2,) if context else None).double()
    if not context:
        flow.initialize(*target.draw(500))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(STEPS):
        y, *given = target.draw(BATCH)
        loss = -flow.log_prob(y, *given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    steps = torch.stack(losses)
    # Where data start the layer, it starts where it ends.
    assert bool(steps.isfinite().all()) and steps[-50:].mean() < steps[:50].mean() + 0.1
    return flow


def errors(flow: Flow, target: Target, dtype: torch.dtype) -> tuple[float, float]:
    """How far the inverse of an image is from a point, and the image of an inverse, relative to the largest number."""
    bound = copy.deepcopy(flow.bijector).to(dtype).eval()
    y, *given = (t.to(dtype) for t in target.draw(1000))
    x = torch.randn_like(y)
    with torch.no_grad():
        back = (bound.inverse(bound.forward(x, *given), *given) - x).abs().max() / x.abs().max()
        there = (bound.forward(bound.inverse(y, *given), *given) - y).abs().max() / y.abs().max()
    return float(back), float(there)


def check(flow: Flow, target: Target, at_least: float = 0.0) -> None:
    for dtype, tolerance in TOLERANCES.items():
        assert max(errors(flow, target, dtype)) < max(tolerance, at_least)


@pytest.mark.parametrize("name", FREE)
def test_free_parameters(name: str) -> None:
    plan, shape = FREE[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        target = Target(shape, context=False)
        flow = train(plan, target)
        check(flow, target)
    # Each step normalised by the statistics of its batch, and counted it.
    counts = [int(buffer) for key, buffer in flow.named_buffers() if key.endswith("count")]
    assert bool(counts) == name.startswith("batch norm") and set(counts) <= {1 + STEPS}


@pytest.mark.parametrize("name", CONDITIONED)
def test_parameters_from_the_context(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        target = Target((D,), context=True)
        check(train(CONDITIONED[name], target), target)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEAR)
def test_parameters_from_the_context_towards_nearer_targets(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        target = Target((D,), context=True, near=True)
        # Its own tolerance, of the Euclidean norm relative to 1 + |x|.
        check(train(NEAR[name], target), target, 3e-10 if name.startswith("residual") else 0.0)
