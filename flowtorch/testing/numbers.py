"""Checks of values and log-determinants."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.distributions.constraints import Constraint

from .. import domains
from ..bijectors import BoundAutoregressive, BoundCoupling
from ..parameters.tensor import BoundTensor
from ..types import numel
from .jacobian import autodiff_jacobian, autodiff_log_det
from .sampling import ends

if TYPE_CHECKING:
    from .check import Case


def round_trip(case: Case) -> None:
    """The inverse undoes forward, forward undoes the inverse, and the two log-dets sum to zero."""
    for batch in ((5,), (2, 3)):
        context = case.context(batch)
        x = case.x(batch)
        y, log_det = case.bound.forward_and_log_det(x, context)
        back, inverse_log_det = case.bound.inverse_and_log_det(y, context)
        case.close(back, x, "inverse(forward(x)) is x")
        case.close(inverse_log_det, -log_det, "the log-dets sum to zero")
        again, _ = case.bound.forward_and_log_det(back, context)
        case.close(again, y, "forward(inverse(y)) is y")


def log_det(case: Case) -> None:
    """Both log-dets are those of the autodiff Jacobians: that they cancel proves nothing, a wrong sign would too."""
    if numel(case.shape) != numel(case.bound.out_shape):
        return  # a map to a set of lower dimension: which coordinates count there, tests of its own must say
    context, x = case.context((4,)), case.x((4,), scale=1.5)
    y, got = case.bound.forward_and_log_det(x, context)
    expected = autodiff_log_det(lambda v: case.bound.forward(v, context), x, case.bound.shape)
    case.close(got, expected, "forward log-det is log|det dy/dx|", slack=10)
    y = y.detach()
    got = case.bound.inverse_and_log_det(y, context)[1]
    expected = autodiff_log_det(lambda v: case.bound.inverse(v, context), y, case.bound.out_shape)
    case.close(got, expected, "inverse log-det is log|det dx/dy|", slack=10)


def single_methods(case: Case) -> None:
    """The single methods, the call and the view of the inverse give what the pair gives."""
    bound, context, x = case.bound, case.context((4,)), case.x((4,))
    y, log_det = bound.forward_and_log_det(x, context)
    case.close(bound.forward(x, context), y, "forward")
    case.close(bound(x, context), y, "call")
    case.close(bound.log_abs_det_jacobian(x, y, context), log_det, "log_abs_det_jacobian")
    case.close(bound.inverse(y, context), bound.inverse_and_log_det(y, context)[0], "inverse")


def zero_pattern(case: Case) -> None:
    """Jacobians of autoregressive and coupling maps are zero where promised, and not where dependence is."""
    bound = case.bound
    if not isinstance(bound, BoundAutoregressive | BoundCoupling):
        return
    context, axis = case.context((3,)), bound.axis
    split = torch.Size((axis.size, *axis.block))
    x = axis.split(case.x((3,)))
    jacobian = autodiff_jacobian(lambda v: axis.split(bound.forward(axis.join(v), context)), x, split)
    if isinstance(bound, BoundAutoregressive):
        place = bound.params.order.argsort()
        before = bound.params.dependence[place][:, place]
    else:
        step = torch.zeros(axis.size, dtype=torch.long)
        step[bound.driven.index] = 1
        before = step[:, None] > step[None, :]
    block = numel(axis.block)
    before = before.repeat_interleave(block, 0).repeat_interleave(block, 1)
    may = before | torch.eye(len(before), dtype=torch.bool)
    if bool((jacobian[:, ~may] != 0).any()):
        raise AssertionError("a coordinate depends on one that it must not depend on.")
    free = isinstance(bound.params, BoundTensor)
    if not free and not bool((jacobian[:, may] != 0).any(0).all()):
        raise AssertionError("a coordinate does not depend on one before it.")


def codomain(case: Case) -> None:
    """Images lie in the codomain, preimages in the domain."""
    context, x = case.context((64,)), case.x((64,), scale=3.0)
    y = case.bound.forward(x, context)
    back = case.bound.inverse(y, context)
    for value, constraint, what in ((y, case.bound.codomain, "codomain"), (back, case.bound.domain, "domain")):
        if not bool(torch.as_tensor(constraint.check(value)).all()):
            raise AssertionError(f"values outside the {what} {domains.describe(constraint)}.")


def outside(case: Case) -> None:
    """Outside the codomain: a point inside the domain, log-det -inf, finite gradients; and NaN stays NaN."""
    bound, context = case.bound, case.context((4,))
    y = case.y((4,))
    nan = y.clone().index_fill_(0, torch.tensor([1]), math.nan)
    x, log_det = bound.inverse_and_log_det(nan, context)
    expected = torch.tensor([False, True, False, False])
    if not bool((log_det.isnan() | x.reshape(4, -1).isnan().any(1)).eq(expected).all()):
        raise AssertionError("NaN in is expected to give NaN out, in its own row only.")
    box = domains.region(bound.codomain)
    if not isinstance(box, domains.Box) or box.is_real:
        return
    lower, upper = ends(bound.codomain, bound.out_shape)
    below = torch.where(lower.isfinite(), lower - 1.0, y.detach()[2])
    bad = torch.where(lower.isneginf() & upper.isfinite(), upper + 1.0, below)
    y = y.detach().clone().index_copy_(0, torch.tensor([2]), bad[None]).requires_grad_()
    x, log_det = bound.inverse_and_log_det(y, context)
    if not bool(torch.isneginf(log_det).eq(torch.tensor([False, False, True, False])).all()):
        raise AssertionError(f"log-det -inf is expected outside the codomain and only there; got {log_det.tolist()}.")
    if not bool(x.isfinite().all()):
        raise AssertionError("a finite point is expected outside the codomain.")
    finite = torch.where(torch.isneginf(log_det), 0.0, log_det)
    gradients = torch.autograd.grad(finite.sum() + x.sum(), [y, *bound.parameters()], allow_unused=True)
    if not all(bool(g.isfinite().all()) for g in gradients if g is not None):
        raise AssertionError("finite gradients are expected when some values lie outside the codomain.")


def integrates_to_one(case: Case) -> None:
    """The density of a standard base pushed forward integrates to one, by quadrature over the data space."""
    size = numel(case.shape)
    if size > 2 or case.shape != case.bound.out_shape:
        return
    # A grid in a space where the codomain is the whole line, where the sum is exact to rounding for smooth densities;
    # those of splines have kinks, hence the fine grid and the loose figure.
    n = 8001 if size == 1 else 701
    u = torch.linspace(-9.0, 9.0, n, dtype=torch.float64)
    step = float(u[1] - u[0])
    grid = u[:, None] if size == 1 else torch.cartesian_prod(u, u)
    y, jacobian = _to_codomain(grid, case)
    with torch.no_grad():
        context = case.context(())
        x, log_det = case.bound.inverse_and_log_det(y.reshape(-1, *case.shape), context)
        z, to_line = _to_line(x.reshape(-1, size), case)
        density = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi) + to_line).sum(-1) + log_det + jacobian
        total = float(density.exp().sum() * step**size)
    if abs(total - 1.0) > (2e-3 if size == 1 else 3e-2):
        raise AssertionError(f"the density is expected to integrate to 1; got {total:.6f}.")


def _to_codomain(u: torch.Tensor, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns points of the codomain for points of the line, and log|det| of that map."""
    low, high, below, above = _ends(case.bound.codomain, case.bound.out_shape)
    s, width = torch.sigmoid(u), torch.where(below & above, high - low, 1.0)
    one_sided = torch.where(below, low + u.exp(), high - u.exp())
    # The line itself, stretched, as scales may be large.
    y = torch.where(below | above, one_sided, 3 * torch.sinh(u / 3))
    jacobian = torch.where(below | above, u, torch.cosh(u / 3).log())
    both = s.log() + torch.log1p(-s) + width.log()
    return torch.where(below & above, low + width * s, y), torch.where(below & above, both, jacobian).sum(-1)


def _ends(constraint: Constraint, event: torch.Size) -> tuple[torch.Tensor, ...]:
    """Returns the ends of a box as flat tensors, zero for infinite ones, and whether they are finite."""
    low, high = (end.expand(event).flatten() for end in ends(constraint, event))
    return low.nan_to_num(neginf=0.0), high.nan_to_num(posinf=0.0), low.isfinite(), high.isfinite()


def _to_line(x: torch.Tensor, case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns points of the line for points of the domain, and the log-derivative of that map, elementwise."""
    low, high, below, above = _ends(case.bound.domain, case.bound.shape)
    width = torch.where(below & above, high - low, 1.0)
    s = (x - low) / width
    away = torch.where(below, x - low, torch.where(above, high - x, 1.0)).log()
    z = torch.where(below | above, away, x)
    both = -(s.log() + torch.log1p(-s) + width.log())
    return torch.where(below & above, s.logit(), z), torch.where(below & above, both, -away)


def float32(case: Case) -> None:
    """In float32 values and log-dets are those of float64 but for rounding, and of dtype float32."""
    single = case.bind().float()
    context, x = case.context((4,)), case.x((4,))
    expected = case.bound.forward_and_log_det(x, context)
    got = single.forward_and_log_det(x.float(), None if context is None else context.float())
    back = single.inverse_and_log_det(got[0], None if context is None else context.float())
    for value, reference in ((got[0], expected[0]), (got[1], expected[1]), (back[0], x)):
        if value.dtype != torch.float32:
            raise AssertionError(f"float32 is expected for float32; got {value.dtype}.")
        torch.testing.assert_close(value.double(), reference, rtol=1e-2, atol=1e-2)
