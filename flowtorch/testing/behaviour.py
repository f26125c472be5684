"""Checks of batches, contexts, gradients, and of what else of torch a bijector must work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution

from .. import domains
from ..errors import ContextError, ShapeError

if TYPE_CHECKING:
    from .check import Case


def batches(case: Case) -> None:
    """Batch shapes (), (4,) and (2, 3) give results of that batch, each row as if it were alone."""
    bound, context = case.bound, case.context((2, 3))
    x = case.x((2, 3))
    y, log_det = bound.forward_and_log_det(x, context)
    if log_det.shape != (2, 3):
        raise AssertionError(f"a log-det of shape (2, 3) is expected; got {tuple(log_det.shape)}.")
    for i, j in ((0, 0), (1, 2)):
        row = None if context is None else context[i, j]
        case.agree(bound.forward_and_log_det(x[i, j], row), (y[i, j], log_det[i, j]), "batch ()")
        rows = None if context is None else context[i]
        case.agree(bound.forward_and_log_det(x[i], rows), (y[i], log_det[i]), "batch (3,)")
        case.close(bound.inverse(y[i, j], row), x[i, j], "inverse, batch ()")
    none = bound.forward_and_log_det(x[:0], None if context is None else context[:0])
    if none[0].shape != (0, 3, *bound.out_shape) or none[1].shape != (0, 3):
        raise AssertionError(f"an empty batch is expected to stay one; got {[tuple(t.shape) for t in none]}.")


def context(case: Case) -> None:
    """Contexts broadcast with inputs both ways; missing, unexpected and misshapen ones are refused."""
    bound, x = case.bound, case.x((3,))
    directions = (bound.forward_and_log_det, x), (bound.inverse_and_log_det, case.y((3,)))
    if case.context_shape is None:
        for call, value in directions:
            _refuses(lambda call=call, v=value: call(v, torch.zeros(2, dtype=x.dtype)), ContextError, "no context")
        return
    one = case.context(())
    assert one is not None
    case.agree(
        bound.forward_and_log_det(x, one),
        bound.forward_and_log_det(x, one.expand(3, *one.shape)),
        "one context for a batch of inputs",
    )
    many = case.context((3,))
    case.agree(
        bound.forward_and_log_det(x[0], many),
        bound.forward_and_log_det(x[:1].expand_as(x), many),
        "one input for a batch of contexts",
    )
    columns = case.context((2, 1))
    y, log_det = bound.forward_and_log_det(x, columns)
    if y.shape != (2, 3, *bound.out_shape) or log_det.shape != (2, 3):
        raise AssertionError(f"batches (3,) and (2, 1) are expected to give (2, 3); got {tuple(log_det.shape)}.")
    back, inverse_log_det = bound.inverse_and_log_det(y, columns)
    case.close(back, x.expand_as(back), "inverse with a broadcast context")
    case.close(inverse_log_det, -log_det, "log-det with a broadcast context")
    view = bound.condition(one)
    case.close(view(x), bound.forward(x, one), "condition(context)")
    for bad, words in ((None, "got none"), (one[..., :0], "is expected"), (case.context((2,)), "broadcasts")):
        for call, value in directions:
            _refuses(lambda bad=bad, call=call, v=value: call(v, bad), ContextError, words)


def shapes(case: Case) -> None:
    """An event of the wrong shape is refused, and leading dimensions pass through the shape methods."""
    bound = case.bound
    if case.shape:
        wrong = torch.zeros(*case.shape[:-1], case.shape[-1] + 1, dtype=torch.float64)
        _refuses(lambda: bound.forward_and_log_det(wrong, case.context()), ShapeError, "is expected")
    batch = torch.Size((7, 2))
    if bound.forward_shape(batch + bound.shape) != batch + bound.out_shape:
        raise AssertionError("forward_shape is expected to keep batch dimensions.")
    if bound.inverse_shape(batch + bound.out_shape) != batch + bound.shape:
        raise AssertionError("inverse_shape is expected to keep batch dimensions.")


def _refuses(call: object, error: type[Exception], words: str) -> None:
    assert callable(call)
    try:
        call()
    except error as refused:
        if words not in str(refused):
            raise AssertionError(f"a message with {words!r} is expected; got {refused}.") from refused
        return
    raise AssertionError(f"{error.__name__} is expected; got no error.")


def gradients(case: Case) -> None:
    """A gradient reaches every parameter and the context, from values and log-dets of both directions."""
    bound = case.bound
    names = [n for n, _ in bound.named_parameters()]
    for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
        given = case.context((16,))
        given = None if given is None else given.requires_grad_()
        value = case.x((16,)) if direction == bound.forward_and_log_det else case.y((16,))
        out, log_det = direction(value, given)
        if not names:
            return
        wanted = [*bound.parameters(), *([] if given is None else [given])]
        found = torch.autograd.grad((out * torch.cos(out)).sum() + log_det.sum(), wanted, allow_unused=True)
        missing = [n for n, g in zip([*names, "the context"], found, strict=False) if g is None or not g.any()]
        # Tensor() ignores the context on purpose, and then a plan with free parameters has no gradient to give it.
        missing = [n for n in missing if n != "the context" or "Tensor()" not in repr(case.plan)]
        if missing:
            raise AssertionError(f"a gradient is expected in every parameter; got none in {missing}.")


def transform(case: Case) -> None:
    """The bound form is a torch Transform: TransformedDistribution gives the density of the pair."""
    bound = case.bound
    if not domains.is_real(bound.domain):
        return
    one = case.context(())
    map_ = bound if one is None else bound.condition(one)
    zeros = torch.zeros(case.shape, dtype=torch.float64)
    base = Independent(Normal(zeros, zeros + 1, validate_args=False), len(case.shape), validate_args=False)
    distribution = TransformedDistribution(base, [map_], validate_args=False)
    with torch.no_grad():
        y = bound.forward(case.x((4,)), one)
        x, log_det = bound.inverse_and_log_det(y, one)
        case.close(distribution.log_prob(y), base.log_prob(x) + log_det, "TransformedDistribution.log_prob")
    with torch.random.fork_rng(devices=[]):
        drawn = distribution.rsample((3,))
    if distribution.event_shape != bound.out_shape or drawn.shape != (3, *bound.out_shape):
        raise AssertionError(f"the event shape {tuple(bound.out_shape)} is expected; got {distribution.event_shape}.")


def inverse_view(case: Case) -> None:
    """``.inv`` has the pair swapped, keeps the context, owns nothing, and ``.inv.inv`` is the bijector."""
    bound, given, x = case.bound, case.context((4,)), case.x((4,))
    y, _ = bound.forward_and_log_det(x, given)
    view = bound.inv
    case.agree(view.forward_and_log_det(y, given), bound.inverse_and_log_det(y, given), ".inv forward")
    case.agree(view.inverse_and_log_det(x, given), bound.forward_and_log_det(x, given), ".inv inverse")
    expected = bound.inverse_and_log_det(y, given)[1]
    case.close(view.log_abs_det_jacobian(y, x, given), expected, ".inv log-det")
    if view.inv is not bound or isinstance(view, torch.nn.Module) or bound.with_cache() is not bound:
        raise AssertionError(".inv.inv and .with_cache() are expected to be the bijector itself, and .inv no module.")


def vmap_grad(case: Case) -> None:
    """``vmap(grad(...))`` of both directions gives the gradients of autograd."""
    bound = case.bound
    for direction, values in ((bound.forward_and_log_det, case.x((3,))), (bound.inverse_and_log_det, case.y((3,)))):
        given = case.context((3,))

        def scalar(v: torch.Tensor, c: torch.Tensor | None = None, direction: object = direction) -> torch.Tensor:
            out, log_det = direction(v, c)  # type: ignore[operator]  # one of the two methods
            total: torch.Tensor = out.sin().sum() + log_det
            return total

        leaf = values.detach().requires_grad_()
        rows = [scalar(leaf[i], None if given is None else given[i]) for i in range(3)]
        (expected,) = torch.autograd.grad(torch.stack(rows).sum(), leaf)
        mapped = torch.func.vmap(torch.func.grad(scalar))
        case.close(mapped(values) if given is None else mapped(values, given), expected, "vmap(grad)", slack=10)


def compiles(case: Case) -> None:
    """Both directions are captured whole by ``torch.compile`` (traced, not handed to a code generator)."""
    bound, given = case.bound, case.context((3,))
    validates = Distribution._validate_args  # which the first compilation in a process turns off for all of torch
    torch._dynamo.reset()
    try:
        for direction, values in ((bound.forward_and_log_det, case.x((3,))), (bound.inverse_and_log_det, case.y((3,)))):
            compiled = torch.compile(direction, fullgraph=True, backend="eager")
            case.agree(compiled(values, given), direction(values, given), "torch.compile")
    finally:
        torch._dynamo.reset()
        Distribution.set_default_validate_args(validates)
