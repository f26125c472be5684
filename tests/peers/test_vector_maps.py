"""Planar, radial and Sylvester maps against those of Pyro and normflows, with the parameters carried over.

Theirs make shifts, radii and diagonals of raw numbers by softplus and tanh: what they make is carried over. They have
no inverses but for normflows' leaky rectifier: ours is to undo their forward map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from flowtorch.bijectors.bound import BoundBijector
from flowtorch.bijectors.planar import Planar
from flowtorch.bijectors.radial import Radial
from flowtorch.bijectors.sylvester import Sylvester
from flowtorch.bijectors.vector import VectorMap
from flowtorch.parameters import Network

SIZE = 4
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, dtype=torch.float64)


def bound_with(plan: VectorMap, *values: torch.Tensor) -> BoundBijector[VectorMap]:
    """The bound form with free parameters of these values."""
    bound = plan.bind((SIZE,)).double()
    with torch.no_grad():
        for p, value in zip(bound.parameters(), values, strict=True):
            p.copy_(value)
    return bound


def agree(bound: BoundBijector[VectorMap], x: torch.Tensor, y: torch.Tensor, log_det: torch.Tensor) -> None:
    """Ours gives these images and log-dets, and takes the images back to the points."""
    found = bound.forward_and_log_det(x)
    close(found[0], y.detach())
    close(found[1], log_det.detach())
    back = bound.inverse_and_log_det(y.detach())
    close(back[0], x)
    close(back[1], -log_det.detach())


def raw_shift(w: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """What our planar map makes this shift of."""
    excess = (w * shift).sum(-1, keepdim=True)
    return shift - w * excess**2 / (2.0 * (1.0 + excess) * (w * w).sum(-1, keepdim=True))


def test_planar_is_that_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    for scale in (0.3, 1.0, 2.0):
        theirs = transforms.Planar(SIZE).double()
        for p in theirs.parameters():
            p.data.normal_(0.0, scale)
        x = draw(10, SIZE)
        w = theirs.w.detach()
        shift = theirs.u_hat(theirs.u, theirs.w).detach()
        y = theirs(x)
        agree(bound_with(Planar(), w, raw_shift(w, shift), theirs.bias[0]), x, y, theirs.log_abs_det_jacobian(x, y))


def test_conditional_planar_is_that_of_pyro() -> None:
    """Ours by the user's network: theirs, and the map from their shifts to our raw ones."""
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = transforms.conditional_planar(SIZE, 3, hidden_dims=[8])
    theirs.double()
    x, context = draw(10, SIZE), draw(10, 3)
    conditioned = theirs.condition(context)
    y = conditioned(x)
    log_det = conditioned.log_abs_det_jacobian(x, y)

    class Carried(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            bias, u, w = theirs.nn(given)
            return torch.cat([w, raw_shift(w, conditioned.u_hat(u, w)), bias], -1)

    bound = Planar(Network(carried(Carried))).bind((SIZE,), (3,)).double()
    for buffer in bound.starts.buffers():
        buffer.zero_()  # where ours starts is added to what the network gives
    found = bound.forward_and_log_det(x, context)
    close(found[0], y)
    close(found[1], log_det)
    close(bound.inverse(y, context), x)


def carried(module: type[torch.nn.Module]) -> Callable[[int, int], torch.nn.Module]:
    """A factory of networks, of whatever size is asked for."""
    return lambda in_features, out_features: module()


def test_planar_with_a_leaky_rectifier_is_that_of_normflows() -> None:
    flows = pytest.importorskip("normflows.flows")
    theirs = flows.Planar((SIZE,), act="leaky_relu").double()
    x = draw(10, SIZE)
    y, log_det = theirs(x)  # the latter in float32
    w, u = theirs.w.detach()[0], theirs.u.detach()[0]
    a = w @ u
    shift = u + (F.softplus(a) - 1.0 - a) * w / (w @ w)
    bound = bound_with(Planar(nonlinearity="leaky_relu", negative_slope=0.2), w, raw_shift(w, shift), theirs.b[0])
    agree(bound, x, y, log_det.double())
    close(bound.inverse(y).detach(), theirs.inverse(y)[0].detach())


def raw_radial(alpha: torch.Tensor, beta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sinh(torch.log(alpha)), torch.sinh(torch.log1p(beta / alpha))


def test_radial_is_that_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    for scale in (0.3, 1.0, 2.0):
        theirs = transforms.Radial(SIZE).double()
        for p in theirs.parameters():
            p.data.normal_(0.0, scale)
        x = draw(10, SIZE)
        y = theirs(x)
        alpha = F.softplus(theirs.alpha_prime[0])
        raw = raw_radial(alpha, F.softplus(theirs.beta_prime[0]) - alpha)
        agree(bound_with(Radial(), theirs.x0, *raw), x, y, theirs.log_abs_det_jacobian(x, y))


def test_radial_is_that_of_normflows() -> None:
    flows = pytest.importorskip("normflows.flows")
    theirs = flows.Radial((SIZE,)).double()
    x = draw(10, SIZE)
    y, log_det = theirs(x)
    alpha = theirs.alpha[0].abs()
    raw = raw_radial(alpha, F.softplus(theirs.beta[0]) - alpha)
    agree(bound_with(Radial(), theirs.z_0[0], *raw), x, y, log_det)


# Pyro's Sylvester map is x + R^T Q^T tanh(Q S^T x + b), and its log-det is right only where Q is I: two equal
# reflections. Transposed triangles are upper ones for coordinates in reverse order.


def pyro_sylvester(transforms: Any) -> Any:
    theirs = transforms.Sylvester(SIZE, 2).double()
    for p in theirs.parameters():
        p.data.normal_()
    theirs.u_unnormed.data[1] = theirs.u_unnormed.data[0]
    return theirs


def carried_triangles(theirs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Our parameters, for coordinates in reverse order."""
    outer, inner = (m.detach().mT.flip(0, 1) for m in (theirs.R(), theirs.S()))
    above = torch.triu_indices(SIZE, SIZE, 1)
    k = 1.0 + outer.diagonal() * inner.diagonal()
    raw = outer.diagonal() * (1.0 + k) / (2.0 * k)
    packed = torch.cat([raw, outer[above[0], above[1]]]), torch.cat([inner.diagonal(), inner[above[0], above[1]]])
    return *packed, theirs.b.detach().flip(0)


def test_triangular_sylvester_is_that_of_pyro() -> None:
    theirs = pyro_sylvester(pytest.importorskip("pyro.distributions.transforms"))
    x = draw(10, SIZE)
    y = theirs(x)
    bound = bound_with(Sylvester(kind="triangular", flip=True), *carried_triangles(theirs))
    agree(bound, x, y, theirs.log_abs_det_jacobian(x, y))


@pytest.mark.parametrize("kind", ["householder", "orthogonal"])
def test_sylvester_with_reflections_is_that_of_pyro(kind: Any) -> None:
    """Reversing four coordinates is two reflections; four make it with another two that cancel."""
    theirs = pyro_sylvester(pytest.importorskip("pyro.distributions.transforms"))
    x = draw(10, SIZE)
    y = theirs(x)
    normals = torch.tensor([[1.0, 0.0, 0.0, -1.0], [0.0, 1.0, -1.0, 0.0]])
    plan = Sylvester(kind=kind, count_transforms=2) if kind == "householder" else Sylvester(kind=kind)
    if kind == "orthogonal":
        normals = torch.cat([normals, torch.ones(2, SIZE)])
    bound = bound_with(plan, normals, *carried_triangles(theirs))
    agree(bound, x, y, theirs.log_abs_det_jacobian(x, y))


def test_log_dets_of_pyros_sylvester_are_right_without_reflections_only() -> None:
    """Why they are not compared with reflections: autodiff tells."""
    theirs = pyro_sylvester(pytest.importorskip("pyro.distributions.transforms"))
    for right in (True, False):
        x = draw(SIZE)
        jacobian = torch.autograd.functional.jacobian(theirs._call, x)
        assert isinstance(jacobian, torch.Tensor)
        exact = torch.linalg.slogdet(jacobian)[1]
        assert bool((theirs.log_abs_det_jacobian(x, theirs(x)) - exact).abs() < 1e-6) == right
        theirs.u_unnormed.data.normal_()
