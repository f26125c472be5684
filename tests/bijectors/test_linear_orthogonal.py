"""Linear maps by reflections, skew-symmetric matrices, exponentials and low rank: what they are, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import scipy.linalg
import torch

from flowtorch import ops
from flowtorch.bijectors import BoundBijector
from flowtorch.bijectors.householder import Householder
from flowtorch.bijectors.linear import Linear
from flowtorch.bijectors.low_rank import DiagonalPlusLowRank
from flowtorch.bijectors.matrix_exponential import MatrixExponential
from flowtorch.bijectors.orthogonal import Orthogonal
from flowtorch.bijectors.qr import QR
from flowtorch.bijectors.scaled import Scaled
from flowtorch.bijectors.svd import SVD
from flowtorch.testing import check_bijector, perturb
from tests.maps import NET

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)

PLANS: dict[str, Linear] = {
    "householder": Householder(count_transforms=3),
    "orthogonal, cayley": Orthogonal(),
    "orthogonal, exponential": Orthogonal(method="exponential"),
    "qr": QR(),
    "qr, a single reflection": QR(count_transforms=1, scale_fn="sigmoid"),
    "svd": SVD(),
    "matrix exponential": MatrixExponential(),
    "matrix exponential, weight": MatrixExponential(normalization="weight", bound=1.5),
    "matrix exponential, spectral": MatrixExponential(normalization="spectral", bound=1.5),
    "low rank": DiagonalPlusLowRank(),
}
SCALED: dict[str, Scaled] = {"qr": QR(), "svd": SVD(), "low rank": DiagonalPlusLowRank(rank=2)}
ROTATIONS = ("householder", "orthogonal, cayley", "orthogonal, exponential")
every_plan = pytest.mark.parametrize("name", PLANS)
every_scaled = pytest.mark.parametrize("name", SCALED)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bind(plan: Linear, size: int, *, perturbed: bool = True) -> BoundBijector[Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = plan.bind((size,)).double()
    if perturbed:
        perturb(bound, torch.Generator().manual_seed(0))
    return bound


def values(bound: BoundBijector[Any]) -> list[torch.Tensor]:
    return [p.detach() for p in bound.parameters()]


def matrix(bound: BoundBijector[Any], *, inverse: bool = False) -> torch.Tensor:
    """W, or its inverse, without a shift."""
    eye = torch.eye(bound.shape[0], dtype=torch.float64)
    with torch.no_grad():
        return (bound.inverse(eye) if inverse else bound.forward(eye)).mT


def matrix_of(vectors: torch.Tensor) -> torch.Tensor:
    """H_K ... H_1, multiplied out."""
    eye = torch.eye(vectors.shape[-1], dtype=vectors.dtype)
    product = eye
    for v in vectors:
        product = (eye - 2.0 * torch.outer(v, v) / v.dot(v)) @ product
    return product


# The kit -------------------------------------------------------------------------------------------------------------


@every_plan
@pytest.mark.parametrize("context_shape", [None, (2,)])
def test_along_an_axis_with_a_shift(name: str, context_shape: tuple[int, ...] | None) -> None:
    source = None if context_shape is None else NET
    check_bijector(replace(PLANS[name], params_fn=source, dim=0, bias=True), (3, 2), context_shape)


@every_plan
@pytest.mark.parametrize("context_shape", [None, (2,)])
def test_on_one_coordinate(name: str, context_shape: tuple[int, ...] | None) -> None:
    # There the only rotation is the identity, so that what turns it has a gradient of zero.
    source = None if context_shape is None else NET
    check_bijector(replace(PLANS[name], params_fn=source), (1,), context_shape, skip=["gradients"])


@every_plan
@pytest.mark.parametrize("inverse", [False, True])
def test_derivatives_of_second_order(name: str, inverse: bool) -> None:
    plan = PLANS[name]

    def moved(x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        y, log_det = plan.apply(x, params, inverse=inverse)
        return y + log_det.sin()

    arguments = (draw(2, 3), *values(bind(plan, 3)))
    torch.autograd.gradgradcheck(moved, [a.clone().requires_grad_() for a in arguments])


# What the matrices are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PLANS if n != "qr, a single reflection"])
def test_starts_as_the_identity(name: str) -> None:
    bound = bind(PLANS[name], 4, perturbed=False)
    # Of an odd number of reflections, all but the last cancel.
    last = matrix_of(values(bound)[0][2:]) if name == "householder" else torch.eye(4, dtype=torch.float64)
    close(matrix(bound), last)


def test_sigmoid_starts_as_a_multiple_of_a_reflection() -> None:
    bound = bind(PLANS["qr, a single reflection"], 4, perturbed=False)
    scale = ops.log_scale(torch.zeros((), dtype=torch.float64), scale_fn="sigmoid").exp()
    close(matrix(bound), scale * matrix_of(values(bound)[0]))


@pytest.mark.parametrize("name", [n for n in PLANS if n not in ROTATIONS])
def test_where_it_starts_is_no_saddle(name: str) -> None:
    # Correlations without variances of their own: a gradient that stands off the diagonal only. A product of rotations
    # that start at the identity, or of low-rank factors that start at zero, has none there.
    bound = bind(PLANS[name], 4, perturbed=False)
    covariance = 0.5 * torch.ones(4, 4, dtype=torch.float64) + 0.5 * torch.eye(4, dtype=torch.float64)
    columns = torch.linalg.cholesky(covariance).mT
    x, log_det = bound.inverse_and_log_det(columns)
    loss = 0.5 * x.square().sum() - log_det[0]
    gradients = torch.autograd.grad(loss, list(bound.parameters()))
    assert max(g.abs().max().item() for g in gradients) > 0.05


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_and_reflections_are_orthogonal(name: str) -> None:
    bound = bind(PLANS[name], 5)
    w, eye = matrix(bound), torch.eye(5, dtype=torch.float64)
    close(w @ w.mT, eye)
    close(matrix(bound, inverse=True), w.mT)
    assert (w - eye).abs().max() > 0.1
    assert torch.linalg.det(w).item() == pytest.approx(-1.0 if name == "householder" else 1.0)


def test_orthogonal_by_either_method_is_that_of_scipy() -> None:
    entries = draw(10)
    skew = torch.zeros(5, 5, dtype=torch.float64)
    skew[tuple(torch.triu_indices(5, 5, 1))] = entries
    skew = skew - skew.mT
    eye = torch.eye(5, dtype=torch.float64)
    expected = {
        "cayley": torch.linalg.inv(eye - 0.5 * skew) @ (eye + 0.5 * skew),
        "exponential": torch.from_numpy(scipy.linalg.expm(skew.numpy())),
    }
    for method, rotation in expected.items():
        close(Orthogonal(method=method).apply(eye, (entries,), inverse=False)[0], rotation.mT)  # type: ignore[arg-type]


def test_qr_is_the_decomposition_of_its_matrix() -> None:
    bound = bind(QR(), 5)
    vectors, entries = values(bound)
    q, r = torch.linalg.qr(matrix(bound))
    signs = r.diagonal().sign()
    q, r = q * signs, r * signs.unsqueeze(1)
    close(q, matrix_of(vectors))
    close(r.diagonal().log(), ops.log_scale(entries[:5]))
    close(r[tuple(torch.triu_indices(5, 5, 1))], entries[5:])


def test_svd_is_the_decomposition_of_its_matrix() -> None:
    bound = bind(SVD(count_transforms=3), 5)
    left, raw, right = values(bound)
    w, scales = matrix(bound), ops.log_scale(raw).exp()
    close(torch.linalg.svdvals(w), scales.sort(descending=True).values)
    close(w, matrix_of(left) @ torch.diag(scales) @ matrix_of(right).mT)


def test_exponential_is_that_of_scipy() -> None:
    bound = bind(MatrixExponential(), 4)
    (given,) = values(bound)
    close(matrix(bound), torch.from_numpy(scipy.linalg.expm(given.numpy())))


@pytest.mark.parametrize("normalization", ["weight", "spectral"])
@pytest.mark.parametrize("size", [0.1, 100.0])
def test_exponential_of_a_bounded_matrix(normalization: Any, size: float) -> None:
    plan, given, eye = MatrixExponential(normalization=normalization, bound=1.5), draw(4, 4), torch.eye(4).double()
    norm: Any = torch.linalg.matrix_norm if normalization == "weight" else partial(torch.linalg.matrix_norm, ord=2)
    given = size * given / norm(given)
    used = torch.from_numpy(scipy.linalg.logm(plan.apply(eye, (given,), inverse=False)[0].mT.numpy()).copy())
    torch.testing.assert_close(used / norm(used), given / size, rtol=1e-8, atol=1e-8)
    # Small norms are left alone; large ones come close to the bound, by the last per cent from below.
    low, high = (0.0998, 0.1) if size == 0.1 else (1.5 / 4 ** (1 / 256) - 1e-8, 1.5 + 1e-8)
    assert low <= norm(used).item() <= high


def test_low_rank_is_any_update_of_a_diagonal() -> None:
    size, rank = 6, 2
    a, b, scales = 0.4 * draw(size, rank), 0.4 * draw(size, rank, seed=1), draw(size, seed=2).exp()
    # Columns turned onto the first axes by LAPACK's reflections: A = Q R, A B^T = Q (B R^T)^T.
    packed, _ = torch.geqrf(a)
    vectors = (packed.tril(-1) + torch.eye(size, rank, dtype=torch.float64)).mT
    turn = matrix_of(vectors)
    rows = (turn @ a)[:rank] @ b.mT @ turn.mT
    square = rows[:, :rank] + torch.eye(rank, dtype=torch.float64)
    (c11, c12), (c21, c22) = square.tolist()  # its triangles: (1, 0; c21 / c11, 1) and (c11, c12; 0, rest)
    rest = c22 - c21 * c12 / c11
    triangles = torch.tensor([[math.log(c11), c12], [c21 / c11, math.log(rest)]], dtype=torch.float64)
    given = torch.cat((triangles, rows[:, rank:]), -1)
    plan = DiagonalPlusLowRank(rank=rank, scale_fn="exp", log_scale_min_clip=-math.inf, log_scale_max_clip=math.inf)
    expected = torch.diag(scales) @ (torch.eye(size, dtype=torch.float64) + a @ b.mT)
    eye, params = torch.eye(size, dtype=torch.float64), (vectors, given, scales.log())
    y, log_det = plan.apply(eye, params, inverse=False)
    close(y.mT, expected)
    close(log_det, torch.linalg.slogdet(expected).logabsdet)
    x, log_det = plan.apply(eye, params, inverse=True)
    close(x.mT, torch.linalg.inv(expected))
    close(log_det, -torch.linalg.slogdet(expected).logabsdet)


def test_low_rank_is_of_that_rank() -> None:
    bound = bind(DiagonalPlusLowRank(rank=2), 6)
    vectors, _, raw = values(bound)
    update = matrix(bound) / ops.log_scale(raw).exp().unsqueeze(1) - torch.eye(6, dtype=torch.float64)
    singular = torch.linalg.svdvals(update)
    assert singular[1] > 0.01 and singular[2] < 1e-12
    # Its columns are spanned by A, what the reflections turn onto the first two axes.
    columns = matrix_of(vectors)[:2].mT
    close(columns @ columns.mT @ update, update)


# Options --------------------------------------------------------------------------------------------------------------


@every_scaled
@pytest.mark.parametrize(
    ("options", "lowest", "highest"),
    [
        ({}, -5.0, 3.0),
        ({"scale_fn": "exp"}, -5.0, 3.0),
        ({"scale_fn": "sigmoid", "sigmoid_bias": 4.0}, -5.0, 0.0),
        ({"log_scale_min_clip": -2.0, "clamp_values": True}, -2.0, 3.0),
        ({"log_scale_max_clip": 1.0}, -5.0, 1.0),
    ],
)
def test_scales_are_those_of_the_options(name: str, options: dict[str, Any], lowest: float, highest: float) -> None:
    plan, size = replace(SCALED[name], **options), 4
    assert isinstance(plan, Linear)
    for raw, expected in ((-1e30, lowest), (1e30, highest), (0.7, None), (-0.7, None)):
        bound = bind(plan, size)
        params = values(bound)
        if name == "low rank":
            params[1].diagonal().fill_(raw)
            params[2].fill_(raw)
        else:
            params[1][:size] = raw
        count = 6 if name == "low rank" else 4
        one = ops.log_scale(torch.tensor(raw, dtype=torch.float64), **options).item() if expected is None else expected
        assert plan.apply(draw(size), tuple(params), inverse=False)[1].item() == pytest.approx(count * one)
        w = plan.apply(torch.eye(size, dtype=torch.float64), tuple(params), inverse=False)[0]
        assert torch.linalg.slogdet(w).logabsdet.item() == pytest.approx(count * one)


@pytest.mark.parametrize("plan", [Householder(count_transforms=4), QR(count_transforms=4), SVD(count_transforms=4)])
def test_count_transforms_is_the_number_of_reflections(plan: Linear) -> None:
    assert plan.matrix_shapes(3)[0] == (4, 3)


@pytest.mark.parametrize("plan", [QR(), SVD()])
def test_by_default_there_are_as_many_reflections_as_any_rotation_takes(plan: Linear) -> None:
    assert [plan.matrix_shapes(size)[0] for size in (1, 2, 3, 6)] == [(2, 1), (2, 2), (2, 3), (6, 6)]


@every_plan
def test_shift_is_added(name: str) -> None:
    plan = replace(PLANS[name], bias=True)
    bound = bind(plan, 4)
    shift, *rest = values(bound)
    x = draw(3, 4)
    close(bound.forward(x) - shift, PLANS[name].apply(x, tuple(rest), inverse=False)[0])


COUNTS: dict[str, tuple[str, Callable[[int], int]]] = {
    "householder": ("3 D", lambda d: 3 * d),
    "orthogonal, cayley": ("D (D - 1) / 2", lambda d: d * (d - 1) // 2),
    "orthogonal, exponential": ("D (D - 1) / 2", lambda d: d * (d - 1) // 2),
    "qr": ("K D + D (D + 1) / 2", lambda d: (d - d % 2) * d + d * (d + 1) // 2),
    "qr, a single reflection": ("1 D + D (D + 1) / 2", lambda d: d + d * (d + 1) // 2),
    "svd": ("2 K D + D", lambda d: 2 * (d - d % 2) * d + d),
    "matrix exponential": ("D^2", lambda d: d * d),
    "matrix exponential, weight": ("D^2", lambda d: d * d),
    "matrix exponential, spectral": ("D^2", lambda d: d * d),
    "low rank": ("3 D", lambda d: 3 * d),
}


@every_plan
@pytest.mark.parametrize("bias", [False, True])
def test_parameters_are_as_many_as_it_says(name: str, bias: bool) -> None:
    formula, count = COUNTS[name]
    plan = replace(PLANS[name], bias=bias)
    assert [plan.check((d,)).parameters for d in (2, 5, 64)] == [count(d) + bias * d for d in (2, 5, 64)]
    assert f"with {formula}{' + D' if bias else ''} parameters" in plan.explain()


def test_householder_explains_itself() -> None:
    text = Householder(count_transforms=3).explain()
    for words in (
        "y = H_K ... H_1 x with H_k = I - 2 v_k v_k^T / |v_k|^2",
        "with 3 D parameters, free when bound without a context",
        "K = 3 reflections of D numbers each, 2 K D multiplications for a vector; no D x D matrix is made.",
        "Backwards, a gradient goes through the same reflections in reverse, which keep its length",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Orthogonal(), "W = (I - A/2)^-1 (I + A/2) orthogonal"),
        (Orthogonal(method="exponential"), "W = exp(A) orthogonal"),
        (QR(), "Q a product of K = D, or D - 1 if D is odd, reflections"),
        (SVD(count_transforms=2), "U and V products of K = 2 reflections each"),
        (MatrixExponential(), "y = exp(M) x."),
        (MatrixExponential(normalization="weight", bound=2.0), "the Frobenius norm of M below 2."),
        (DiagonalPlusLowRank(rank=3), "A B^T of rank 3"),
    ],
)
def test_explanations_name_the_structure(plan: Linear, words: str) -> None:
    assert words in plan.explain()


# Cost and precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan", [Householder(count_transforms=2), SVD(count_transforms=2), DiagonalPlusLowRank(rank=2)]
)
@pytest.mark.parametrize("own", [False, True])
def test_no_square_matrix_is_made(plan: Linear, own: bool) -> None:
    # Of 200,000 squared numbers it would take 160 gigabytes.
    size = 200_000
    params = tuple(torch.randn(3, *s) if own else torch.randn(s) for s in plan.param_shapes(size))
    x = torch.randn(3, size)
    y, log_det = plan.apply(x, params, inverse=False)
    back, inverse_log_det = plan.apply(y, params, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(inverse_log_det, -log_det)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("name", [*ROTATIONS, "svd", "matrix exponential, weight", "matrix exponential, spectral"])
def test_whatever_the_parameters_the_inverse_is_exact(name: str, scale: float) -> None:
    plan = PLANS[name]
    if isinstance(plan, MatrixExponential):
        plan = replace(plan, bound=3.0)
    x = draw(20, 8)
    params = tuple(scale * draw(*s, seed=3 + i) for i, s in enumerate(plan.param_shapes(8)))
    y, _ = plan.apply(x, params, inverse=False)
    back, _ = plan.apply(y, params, inverse=True)
    assert (back - x).abs().max() < 1e-11 * x.abs().max()


@pytest.mark.parametrize("name", ["qr", "svd", "low rank"])
def test_extreme_scales_are_finite_with_finite_gradients(name: str) -> None:
    plan = PLANS[name]
    for raw in (-1e30, 1e30):
        params = tuple(torch.full(s, raw, requires_grad=True) for s in plan.param_shapes(4))
        if name != "svd":  # off a diagonal, such numbers are no scales, and have no bounds
            entries = raw * torch.eye(4)[:1] if name == "low rank" else torch.tensor([raw] * 4 + [0.0] * 6)
            params = (params[0], entries.requires_grad_(), *params[2:])
        for inverse in (False, True):
            y, log_det = plan.apply(torch.ones(2, 4), params, inverse=inverse)
            gradients = torch.autograd.grad(y.sum() + log_det.sum(), params)
            assert all(t.isfinite().all() for t in (y, log_det, *gradients))
