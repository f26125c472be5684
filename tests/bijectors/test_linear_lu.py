"""Triangular linear maps: against torch's multivariate normal, convolution and dense matrices; options; training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal, Normal

import flowtorch.parameters as params
from flowtorch.bijectors import Bijector, BoundBijector
from flowtorch.bijectors.channel_permute import GeneralizedChannelPermute
from flowtorch.bijectors.lower_cholesky_affine import LowerCholeskyAffine
from flowtorch.bijectors.lu import LU
from flowtorch.bijectors.vector import BoundVectorMap
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import OptionTypeError, ShapeError

LINEAR: dict[str, Any] = {c.__name__: c for c in (LowerCholeskyAffine, LU, GeneralizedChannelPermute)}
UNBOUNDED: dict[str, Any] = {
    "scale_fn": "exp",
    "log_scale_min_clip": -math.inf,
    "log_scale_max_clip": math.inf,
}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bind(plan: Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None, seed: int = 0) -> Any:
    """A bound form in float64, moved away from where it starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bound = plan.bind(shape, context).double()
        with torch.no_grad():
            for p in bound.parameters():
                p.add_(0.5 * torch.randn_like(p))
    return bound


def matrix_of(bound: BoundBijector[Bijector], size: int) -> torch.Tensor:
    """The matrix, by what it does to the unit vectors."""
    with torch.no_grad():
        zero = bound.forward(torch.zeros(size, dtype=torch.float64))
        return (bound.forward(torch.eye(size, dtype=torch.float64)) - zero).mT


# --- LowerCholeskyAffine


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)], ids=str)
def test_images_of_white_noise_are_multivariate_normal(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    loc, tril = draw(size), draw(size, size, seed=1).tril(-1) + torch.diag(draw(size, seed=2).exp())
    flow = Flow(DiagNormal(shape), LowerCholeskyAffine(**UNBOUNDED)).double()
    shift, entries = flow.parameters()
    with torch.no_grad():
        shift.copy_(loc)
        below = [tril[i, j] for j in range(size) for i in range(j + 1, size)]
        entries.copy_(torch.stack([*tril.diagonal().log(), *below]))
    y = 3.0 * draw(5, *shape, seed=3)
    oracle = MultivariateNormal(loc, scale_tril=tril)
    torch.testing.assert_close(flow.log_prob(y), oracle.log_prob(y.flatten(1)), rtol=1e-11, atol=1e-11)


def test_the_matrix_is_lower_triangular_with_a_positive_diagonal() -> None:
    for seed in range(5):
        matrix = matrix_of(bind(LowerCholeskyAffine(), (6,), seed=seed), 6)
        assert torch.equal(matrix, matrix.tril()) and bool((matrix.diagonal() > 0).all())
        assert bool((matrix.tril(-1)[1:].abs().amax(1) > 0).all())


def test_it_has_a_shift_unless_told_otherwise_and_others_have_one_if_told() -> None:
    def counts(plan: Bijector) -> int:
        return sum(p.numel() for p in plan.bind((5,)).parameters())

    assert counts(LowerCholeskyAffine()) == 15 + 5 and counts(LowerCholeskyAffine(bias=False)) == 15
    assert counts(LU()) == 25 and counts(LU(bias=True)) == 25 + 5
    assert counts(GeneralizedChannelPermute()) == 25 and counts(GeneralizedChannelPermute(bias=True)) == 25 + 5


# --- LU


@pytest.mark.parametrize("permutation", ["identity", (2, 0, 3, 1), None], ids=str)
def test_lu_is_the_product_of_its_factors(permutation: Any) -> None:
    bound = bind(LU(permutation=permutation, bias=True, **UNBOUNDED), (4,))
    shift, both = bound.parameters()
    lower = both.tril(-1) + torch.eye(4, dtype=torch.float64)
    upper = both.triu(1) + torch.diag(both.diagonal().exp())
    (order,) = bound.fixed()
    if permutation is not None:
        assert order.tolist() == ([0, 1, 2, 3] if permutation == "identity" else list(permutation))
    matrix = torch.eye(4, dtype=torch.float64)[order] @ lower @ upper
    x = draw(7, 4)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, x @ matrix.mT + shift, rtol=1e-13, atol=1e-13)
    expected = torch.linalg.slogdet(matrix).logabsdet.expand(7)
    torch.testing.assert_close(log_det, expected, rtol=1e-12, atol=1e-12)
    back, log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close(back, torch.linalg.solve(matrix, (y - shift).mT).mT, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(log_det, -expected, rtol=1e-12, atol=1e-12)


def test_a_permutation_is_drawn_anew_at_each_binding_and_kept_in_the_state() -> None:
    plan = LU(permutation=None)
    first, second = plan.bind((40,)), plan.bind((40,))
    x = torch.arange(40.0)
    assert not torch.equal(first.forward(x), second.forward(x))
    assert torch.equal(first.forward(x).sort().values, x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.forward(x), second.forward(x))


@pytest.mark.parametrize("plan", [LU, GeneralizedChannelPermute])
def test_a_permutation_is_stored_as_a_tuple_and_must_fit(plan: Any) -> None:
    assert plan(permutation=torch.tensor([1, 0])) == plan(permutation=[1, 0]) == plan(permutation=(1, 0))
    with pytest.raises(ShapeError, match=f"{plan.__name__}: permutation has 2 entries; got 3 coordinates"):
        plan(permutation=(1, 0)).bind((3,))
    with pytest.raises(OptionTypeError, match=f"{plan.__name__}: permutation .* sequence of integers; got 'random'"):
        plan(permutation="random")


# --- GeneralizedChannelPermute


@pytest.mark.parametrize("context", [None, (2,)], ids=["free", "from the context"])
def test_it_is_a_convolution_of_images(context: tuple[int, ...] | None) -> None:
    net = None if context is None else params.DenseNN((3,))
    bound = bind(GeneralizedChannelPermute(net, bias=True), (3, 4, 5), context)
    x = draw(2, 3, 4, 5)
    given = () if context is None else (draw(2, *context),)
    y, log_det = bound.forward_and_log_det(x, *given)
    units = torch.eye(3, dtype=torch.float64)[..., None, None].expand(3, 3, 4, 5)
    for i in range(2):
        row = tuple(c[i] for c in given)
        zero = bound.forward(torch.zeros(3, 4, 5, dtype=torch.float64), *row)[:, 0, 0]
        weight = bound.forward(units, *row)[:, :, 0, 0].mT - zero.unsqueeze(-1)
        convolved = F.conv2d(x[i : i + 1], weight[..., None, None], zero)[0]
        torch.testing.assert_close(y[i], convolved, rtol=1e-11, atol=1e-11)
        expected = 4 * 5 * torch.linalg.slogdet(weight).logabsdet
        torch.testing.assert_close(log_det[i], expected, rtol=1e-10, atol=1e-10)
    assert context is None or not torch.allclose(log_det[0], log_det[1])


@pytest.mark.parametrize("permutation", ["identity", None], ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 16])
def test_it_starts_from_an_orthogonal_matrix(size: int, permutation: Any) -> None:
    plan = GeneralizedChannelPermute(permutation=permutation, log_scale_min_clip=-math.inf)
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        matrix = matrix_of(plan.bind((size,)).double(), size)
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(size, dtype=torch.float64), rtol=1e-6, atol=1e-6)
        found.append(matrix)
    # Rotations and reflections alike, and no entry prefers a sign.
    assert {float(torch.linalg.det(m).round()) for m in found} == {-1.0, 1.0}
    assert float(torch.stack(found).mean(0).abs().max()) < 3.5 / math.sqrt(20)


def test_a_start_out_of_the_bounds_stays_within_them() -> None:
    plan = GeneralizedChannelPermute(log_scale_min_clip=-0.05, log_scale_max_clip=0.05)
    log_det = float(plan.bind((8,)).forward_and_log_det(torch.zeros(8))[1].detach())
    assert math.isfinite(log_det) and abs(log_det) < 8 * 0.05


@pytest.mark.parametrize("scale_fn", ["softplus", "exp", "sigmoid"])
@pytest.mark.parametrize("clamp_values", [False, True])
def test_it_starts_where_the_scales_allow_whatever_makes_them(scale_fn: Any, clamp_values: bool) -> None:
    torch.manual_seed(0)
    plan = GeneralizedChannelPermute(scale_fn=scale_fn, clamp_values=clamp_values, sigmoid_bias=0.3)
    matrix = matrix_of(plan.bind((2,)).double(), 2)
    if scale_fn != "sigmoid":  # whose scales are below 1
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert abs(float(torch.linalg.det(matrix))) <= 1.0 + 1e-6


def test_it_starts_from_a_permutation_if_told() -> None:
    given = GeneralizedChannelPermute(permutation=(2, 0, 1), initial="permutation").bind((3, 2))
    x = torch.randn(4, 3, 2)
    assert torch.equal(given.forward(x), x[:, [2, 0, 1]])
    drawn = GeneralizedChannelPermute(initial="permutation").bind((30,))
    x = torch.arange(30.0)
    assert torch.equal(drawn.forward(x).sort().values, x) and not torch.equal(drawn.forward(x), x)


def test_signs_and_permutation_are_in_the_state_and_are_not_trained() -> None:
    torch.manual_seed(0)
    first, second = (GeneralizedChannelPermute().bind((9, 2)) for _ in range(2))
    x = torch.randn(9, 2)
    assert not torch.allclose(first.forward(x), second.forward(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.forward(x), second.forward(x))
    assert [tuple(p.shape) for p in first.parameters()] == [(9, 9)]


# --- What they share


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_vectors_along_an_axis_are_moved_by_one_matrix(name: str, dim: int | None) -> None:
    x = draw(5, 2, 3)
    size = 6 if dim is None else x.shape[dim + 1 if dim >= 0 else dim]
    bound, alone = bind(LINEAR[name](dim=dim), (2, 3)), bind(LINEAR[name](dim=None), (size,))
    vectors = x.reshape(5, 1, 6) if dim is None else x.movedim(dim + 1 if dim >= 0 else dim, -1)
    expected, log_det = alone.forward_and_log_det(vectors)
    y = bound.forward(x)
    back = y.reshape(5, 1, 6) if dim is None else y.movedim(dim + 1 if dim >= 0 else dim, -1)
    torch.testing.assert_close(back, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bound.forward_and_log_det(x)[1], log_det.sum(-1), rtol=1e-12, atol=1e-12)


def test_channels_are_the_first_axis_unless_told_otherwise() -> None:
    assert GeneralizedChannelPermute() == GeneralizedChannelPermute(dim=0)
    assert LU() == LU(dim=None) and LowerCholeskyAffine() == LowerCholeskyAffine(dim=None)


@pytest.mark.parametrize("name", LINEAR)
def test_options_of_the_diagonal_reach_it(name: str) -> None:
    def log_det(**options: Any) -> float:
        start = {"initial": "permutation"} if name == "GeneralizedChannelPermute" else {}
        bound: BoundVectorMap = LINEAR[name](**start, **options).bind((1,)).double()
        with torch.no_grad():
            for p in bound.parameters():
                p.fill_(2.0)
        return float(bound.forward_and_log_det(torch.zeros(1, dtype=torch.float64))[1].detach())

    unbounded: Any = {"log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf}
    assert log_det(**unbounded) == pytest.approx(math.log(math.log1p(math.exp(2.0 + math.log(math.e - 1)))))
    assert log_det(scale_fn="exp", **unbounded) == pytest.approx(2.0)
    assert log_det(scale_fn="exp", log_scale_max_clip=1.0) == pytest.approx(math.tanh(2.0))
    assert log_det(scale_fn="exp", log_scale_max_clip=1.0, clamp_values=True) == pytest.approx(1.0)
    sigmoid = log_det(scale_fn="sigmoid", sigmoid_bias=-3.0, **unbounded)
    assert sigmoid == pytest.approx(-math.log1p(math.exp(1.0)))
    bounded = log_det(scale_fn="sigmoid", sigmoid_bias=-3.0, log_scale_min_clip=-0.5)
    assert bounded == pytest.approx(0.5 * math.tanh(2 * sigmoid))


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_the_diagonal_stays_away_from_zero_and_infinity(name: str, value: float) -> None:
    bound = LINEAR[name]().bind((2,)).double()
    with torch.no_grad():
        for p in bound.parameters():
            p.zero_().diagonal().fill_(value) if p.dim() == 2 else p.zero_()[:2].fill_(value)
    x = draw(5, 2)
    y, log_det = bound.forward_and_log_det(x)
    assert bool((log_det.abs() <= 10.0).all())
    torch.testing.assert_close(bound.inverse(y), x, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(y.sum() + log_det.sum(), list(bound.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_fresh_ones_are_the_identity_but_for_rotations() -> None:
    x = torch.randn(4, 2, 3)
    net = params.DenseNN((5,))
    for plan in (LowerCholeskyAffine(), LU(), LU(bias=True, dim=-1), LU(net), LowerCholeskyAffine(net)):
        bound = plan.bind((2, 3), (2,) if plan.params_fn else None)
        y, log_det = bound.forward_and_log_det(x, torch.randn(4, 2) if plan.params_fn else None)
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(log_det, torch.zeros(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LINEAR)
def test_explain_says_what_it_is_made_of(name: str) -> None:
    plan = LINEAR[name](dim=0, permutation=(1, 0)) if name != "LowerCholeskyAffine" else LINEAR[name](dim=0)
    text = plan.explain()
    expected = {
        "LowerCholeskyAffine": ["y = L x + b", "D (D + 1) / 2 + D parameters", "softplus"],
        "LU": ["y = P L U x,", "permutation (1, 0)", "D^2 parameters", "softplus"],
        "GeneralizedChannelPermute": ["y = S P L U x at each", "starts as a rotation", "D^2 parameters"],
    }
    assert all(words in text for words in [*expected[name], "axis 0", "gradients reach"])


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float64, 1e-12), pytest.param(torch.float32, 1e-4, marks=pytest.mark.slow)],
    ids=["float64", "float32"],
)
def test_the_inverse_stays_exact_in_training(name: str, dtype: torch.dtype, limit: float) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)

    mixing, shift = noise(8, 8), noise(8)
    torch.manual_seed(0)
    bound: BoundVectorMap = LINEAR[name](bias=True).bind((8,)).to(dtype)
    optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
    x, white = noise(1000, 8), Normal(torch.zeros((), dtype=dtype), 1.0)
    for step in range(1000):
        y = noise(64, 8) @ mixing.mT + shift
        z, log_det = bound.inverse_and_log_det(y)
        loss = -(white.log_prob(z).sum(-1) + log_det).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            with torch.no_grad():
                error = (bound.inverse(bound.forward(x)) - x).abs().max() / x.abs().max()
            assert float(error) < limit
    # It was worth being inverted: the entropy of the target is almost reached.
    y = noise(20_000, 8) @ mixing.mT + shift
    z, log_det = bound.inverse_and_log_det(y)
    target = MultivariateNormal(shift.double(), mixing.double() @ mixing.double().mT)
    gap = target.log_prob(y.double()).mean() - (white.log_prob(z).sum(-1) + log_det).mean()
    assert float(gap.detach()) < 0.3
