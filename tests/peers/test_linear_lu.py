"""Linear maps against those of nflows and Pyro, with the parameters carried over."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from flowtorch.bijectors.channel_permute import GeneralizedChannelPermute
from flowtorch.bijectors.discrete_cosine import DiscreteCosine
from flowtorch.bijectors.haar import Haar
from flowtorch.bijectors.lower_cholesky_affine import LowerCholeskyAffine
from flowtorch.bijectors.lu import LU
from flowtorch.ops.raw_scale import raw_scale

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def carry(bound: Any, *values: torch.Tensor) -> Any:
    """Sets the parameters of a bound form, in float64."""
    with torch.no_grad():
        for p, value in zip(bound.double().parameters(), values, strict=True):
            p.copy_(value)
    return bound


def both_ways(bound: Any, theirs: Any, x: torch.Tensor) -> None:
    """Values, inverses and log-determinants are those of a transform of torch's kind."""
    y, log_det = bound.forward_and_log_det(x)
    close(y, theirs._call(x))
    close(log_det, theirs.log_abs_det_jacobian(x, y))
    close(bound.inverse(y), theirs._inverse(y))
    close(bound.inverse_and_log_det(y)[1], -theirs.log_abs_det_jacobian(x, y))


def test_lu_is_that_of_nflows() -> None:
    theirs = pytest.importorskip("nflows.transforms.lu").LULinear(5).double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(draw(*p.shape))
    lower, upper = theirs._create_lower_upper()
    diagonal = F.softplus(theirs.unconstrained_upper_diag) + theirs.eps
    both = lower.tril(-1) + upper.triu(1) + torch.diag(raw_scale(diagonal.log()))
    bound = carry(LU(bias=True).bind((5,)), theirs.bias, both)
    x = draw(7, 5)
    y, log_det = theirs(x)
    for got, expected in zip(bound.forward_and_log_det(x), (y, log_det), strict=True):
        close(got, expected)
    # Theirs calls what torch has removed: the inverse is that of their matrix.
    close(bound.inverse(y), (y - theirs.bias) @ torch.linalg.inv(theirs.weight()).mT)
    close(bound.inverse_and_log_det(y)[1], -log_det)


def test_lower_cholesky_affine_is_that_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    loc, tril = draw(4), draw(4, 4).tril(-1) + torch.diag(draw(4).exp())
    below = torch.cat([tril[j + 1 :, j] for j in range(4)])
    entries = torch.cat([raw_scale(tril.diagonal().log()), below])
    bound = carry(LowerCholeskyAffine().bind((4,)), loc, entries)
    both_ways(bound, transforms.LowerCholeskyAffine(loc, tril), draw(3, 4))


@pytest.mark.parametrize("permutation", [None, (2, 0, 1)], ids=["theirs drawn", "given"])
def test_channel_permute_is_that_of_pyro(permutation: tuple[int, ...] | None) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    given = None if permutation is None else torch.tensor(permutation)
    theirs = transforms.GeneralizedChannelPermute(3, permutation=given).double()
    with torch.no_grad():
        theirs.LU.add_(0.3 * draw(3, 3))
    # Their diagonal has signs; ours stand before L: L U = S (S L S) (S U).
    order, signs = theirs.permutation.argmax(1), theirs.U_diag.sign()
    lower = theirs.L.tril(-1) * signs * signs.unsqueeze(-1)
    upper = theirs.U.triu(1) * signs.unsqueeze(-1)
    both = lower + upper + torch.diag(raw_scale(theirs.U_diag.abs().log()))
    bound = carry(GeneralizedChannelPermute(permutation=permutation).bind((3, 4, 5)), both.detach())
    state = bound.state_dict()
    state["fixed.0"].copy_(order)
    state["fixed.1"].copy_(signs[order])
    both_ways(bound, theirs, draw(2, 3, 4, 5))


@pytest.mark.parametrize("smooth", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("size", [6, 7, 200, 201])
def test_discrete_cosine_is_that_of_pyro(size: int, smooth: float) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    for dim, shape in ((-1, (size,)), (-2, (size, 2))):
        bound = DiscreteCosine(smooth, dim=dim).bind(shape).double()
        both_ways(bound, transforms.DiscreteCosineTransform(dim, smooth), draw(3, *shape))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 201])
def test_haar_is_that_of_pyro(size: int, flip: bool) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    for dim, shape in ((-1, (size,)), (-2, (size, 2))):
        bound = Haar(dim=dim, flip=flip).bind(shape).double()
        both_ways(bound, transforms.HaarTransform(dim, flip), draw(3, *shape))
