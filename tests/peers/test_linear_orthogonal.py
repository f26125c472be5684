"""Reflections, QR and SVD maps and exponentials are those of nflows and Pyro, with the parameters carried over."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch

from flowtorch.bijectors.householder import Householder
from flowtorch.bijectors.linear import Linear
from flowtorch.bijectors.matrix_exponential import MatrixExponential
from flowtorch.bijectors.qr import QR
from flowtorch.bijectors.svd import SVD

# What the peers do is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

D = 6
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
# Theirs have no bounds.
UNBOUNDED: Any = {"log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randomise(module: torch.nn.Module) -> torch.nn.Module:
    """Takes the parameters away from where they start: pairs of reflections that cancel."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.double().parameters():
            p.add_(0.5 * torch.randn_like(p))
    return module


def agree(plan: Linear, params: tuple[torch.Tensor, ...], x: torch.Tensor, y: Any, log_det: Any) -> None:
    """Ours gives these images and log-dets, and goes back."""
    got, got_log_det = plan.apply(x, params, inverse=False)
    close(got, y)
    close(got_log_det.expand(log_det.shape), log_det)
    back, back_log_det = plan.apply(y, params, inverse=True)
    close(back, x)
    close(back_log_det.expand(log_det.shape), -log_det)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_householder_sequence_of_nflows(count: int) -> None:
    orthogonal = pytest.importorskip("nflows.transforms.orthogonal")
    theirs = randomise(orthogonal.HouseholderSequence(D, count))
    x = draw(10, D)
    with torch.no_grad():
        y, log_det = theirs(x)
        close(theirs.inverse(y)[0], x)
        agree(Householder(count_transforms=count), (theirs.q_vectors,), x, y, log_det)


@pytest.mark.parametrize("count", [1, 4])
def test_qr_linear_of_nflows(count: int) -> None:
    qr = pytest.importorskip("nflows.transforms.qr")
    theirs = randomise(qr.QRLinear(D, count))
    x = draw(10, D)
    params = (theirs.bias, theirs.orthogonal.q_vectors, torch.cat((theirs.log_upper_diag, theirs.upper_entries)))
    plan = QR(bias=True, count_transforms=count, scale_fn="exp", **UNBOUNDED)
    with torch.no_grad():
        y, log_det = theirs(x)  # its inverse calls what torch has no longer
        agree(plan, params, x, y, log_det)
        close(plan.apply(torch.eye(D).double(), params, inverse=False)[0] - theirs.bias, theirs.weight().mT)


@pytest.mark.parametrize("count", [2, 4])
def test_svd_linear_of_nflows(count: int) -> None:
    svd = pytest.importorskip("nflows.transforms.svd")
    theirs = randomise(svd.SVDLinear(D, count))
    x = draw(10, D)
    with torch.no_grad():
        # Their second sequence is the transpose of V, whose reflections therefore stand in reverse order.
        right = theirs.orthogonal_2.q_vectors.flip(0)
        params = (theirs.bias, theirs.orthogonal_1.q_vectors, theirs.log_diagonal, right)
        y, log_det = theirs(x)
        close(theirs.inverse(y)[0], x)
        agree(SVD(bias=True, count_transforms=count, scale_fn="exp", **UNBOUNDED), params, x, y, log_det)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_householder_of_pyro(count: int) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = randomise(transforms.Householder(D, count_transforms=count))
    x = draw(2, 5, D)
    with torch.no_grad():
        y = theirs(x)
        agree(Householder(count_transforms=count), (theirs.u_unnormed,), x, y, theirs.log_abs_det_jacobian(x, y))


@pytest.mark.parametrize("count", [1, 3])
def test_conditional_householder_of_pyro(count: int) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = randomise(transforms.conditional_householder(D, 3, hidden_dims=[8], count_transforms=count))
    x, context = draw(10, D), draw(10, 3, seed=1)
    with torch.no_grad():
        transform = theirs.condition(context)
        y = transform(x)
        vectors = theirs._u_unnormed(context)
        agree(Householder(count_transforms=count), (vectors,), x, y, transform.log_abs_det_jacobian(x, y))


def test_matrix_exponential_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = randomise(transforms.MatrixExponential(D, iterations=60))
    x = draw(2, 5, D)
    with torch.no_grad():
        y = theirs(x)
        agree(MatrixExponential(), (theirs.weights,), x, y, theirs.log_abs_det_jacobian(x, y))


def test_conditional_matrix_exponential_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = randomise(transforms.conditional_matrix_exponential(D, 3, hidden_dims=[8], iterations=60))
    x, context = draw(10, D), draw(10, 3, seed=1)
    with torch.no_grad():
        transform = theirs.condition(context)
        y = transform(x)
        agree(MatrixExponential(), (transform.weights(),), x, y, transform.log_abs_det_jacobian(x, y))


def test_few_terms_of_pyros_series_are_not_the_exponential() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = transforms.MatrixExponential(D)  # 8 terms
    matrix, x = 4.0 * torch.eye(D, dtype=torch.float64), draw(10, D)
    theirs.weights = torch.nn.Parameter(matrix)
    with torch.no_grad():
        assert (theirs._inverse(theirs(x)) - x).abs().max() > 0.1
        y, _ = MatrixExponential().apply(x, (matrix,), inverse=False)
        close(y, math.exp(4.0) * x)
        close(MatrixExponential().apply(y, (matrix,), inverse=True)[0], x)
