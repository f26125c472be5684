"""What ``Repeat``, ``Sandwich``, ``Scan``, ``ConstrainTo`` and ``FromTransform`` refuse: each message by its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch.distributions import constraints, transforms

import flowtorch.bijectors as bij
from flowtorch.bijectors import Bijector, BoundBijector
from flowtorch.bijectors.constrain_to import ConstrainTo
from flowtorch.bijectors.from_transform import FromTransform
from flowtorch.bijectors.repeat import Repeat
from flowtorch.bijectors.sandwich import Sandwich
from flowtorch.bijectors.scan import Scan
from flowtorch.errors import (
    AlreadyBoundError,
    DomainError,
    NotSupportedError,
    OptionError,
    OptionTypeError,
    ShapeError,
    SpecificationError,
)
from flowtorch.specification import to_dict
from flowtorch.types import TensorPair


@dataclass(frozen=True)
class Drawing(Bijector):
    """A plan whose layers differ in a number that is no tensor."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundDrawing:
        return BoundDrawing(self, shape, context_shape)


class BoundDrawing(BoundBijector[Drawing]):
    """The bound form of :class:`Drawing`."""

    bound = 0

    def __init__(self, plan: Drawing, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        BoundDrawing.bound += 1
        self.factor = BoundDrawing.bound

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return x, x.new_zeros(())

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return y, y.new_zeros(())


class OneWay(transforms.Transform):
    """A transform without an inverse or a log-determinant."""

    domain = codomain = cast(constraints.Constraint, constraints.real)
    bijective = True

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1.0


class NoWay(OneWay):
    """A transform without anything."""

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


ORDERED = torch.tensor([0.0, 1.0])
COLUMN = FromTransform(transforms.ReshapeTransform(torch.Size((2,)), torch.Size((2, 1))))
SQUASHED = bij.Compose([bij.Logit(), bij.Tanh()])
GROWING = ConstrainTo(constraints.simplex)

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Repeat: count ... at least 1; got 0": lambda: Repeat(bij.Affine(), 0),
        "Scan: count ... at least 1; got -1": lambda: Scan(bij.Affine(), -1),
        "ConstrainTo: ... simplex, ordered ... is expected; got tuple ('ball',)": lambda: ConstrainTo("ball"),
        "ConstrainTo: an interval or half-line ... correlation is expected; got ... IntegerInterval": lambda: (
            ConstrainTo(constraints.integer_interval(0, 3))
        ),
        "ConstrainTo: ... is expected; got Square": lambda: ConstrainTo(constraints.square),
        "ConstrainTo: ... is expected; got Dependent": lambda: ConstrainTo(constraints.dependent),
        "ConstrainTo: a cat or stack of intervals along one axis ... got Simplex() along 0": lambda: ConstrainTo(
            constraints.cat([constraints.simplex, constraints.real])
        ),
        "ConstrainTo: ends with low < high are expected; got 1.0 and 1.0": lambda: ConstrainTo(("interval", 1.0, 1.0)),
        "FromTransform: a bijective transform is expected; got SoftmaxTransform ... ConstrainTo": lambda: FromTransform(
            transforms.SoftmaxTransform()
        ),
        "FromTransform: tensors that are leaves ... computed from others": lambda: FromTransform(
            transforms.AffineTransform(torch.ones(2, requires_grad=True).exp(), 1.0)
        ),
    },
    OptionTypeError: {
        "Repeat: the plan ... Bijector; got str 'x'": lambda: Repeat("x", 2),  # type: ignore[arg-type]
        "Repeat: count ... an integer; got 2.0": lambda: Repeat(bij.Affine(), 2.0),  # type: ignore[arg-type]
        "Repeat: checkpoint ... True or False; got 1": lambda: Repeat(
            bij.Affine(),
            2,
            checkpoint=1,  # type: ignore[arg-type]
        ),
        "Sandwich outer: the plan ... Did you mean Exp()?": lambda: Sandwich(
            bij.Exp,  # type: ignore[arg-type]
            bij.Affine(),
        ),
        "Sandwich inner: ... a list. Use Compose": lambda: Sandwich(bij.Exp(), []),  # type: ignore[arg-type]
        "Scan: the plan ... Bijector; got int 3": lambda: Scan(3, 3),  # type: ignore[arg-type]
        "ConstrainTo: constraint ... a Constraint; got int 3": lambda: ConstrainTo(3),  # type: ignore[arg-type]
        "ConstrainTo: two ends of one layout ... got 0.0 and (1.0, 2.0)": lambda: ConstrainTo(
            ("interval", 0.0, (1.0, 2.0))
        ),
        "FromTransform: transform ... Did you mean ExpTransform()?": lambda: FromTransform(
            transforms.ExpTransform  # type: ignore[arg-type]
        ),
    },
    AlreadyBoundError: {
        "Repeat: a plan is expected; got a bound Exp": lambda: Repeat(bij.Exp().bind((2,)), 2),  # type: ignore[arg-type]
        "FromTransform: a transform of torch ... its .plan": lambda: FromTransform(bij.Exp().bind((2,)).inv),
    },
    DomainError: {
        "Repeat: Compose: part 1 (Log) ... (0, inf), got codomain real": lambda: Repeat(bij.Log(), 2),
        "Scan: Compose: part 1 (Log) ... its domain is (0, inf), got codomain real": lambda: Scan(bij.Log(), 2),
        "Sandwich: Compose: part 1 (Compose) ... part 0 (Tanh) gives; its domain is (0, 1)": lambda: Sandwich(
            bij.Tanh(), SQUASHED
        ),
        "Sandwich: Compose: part 2 (Invert(Exp)) ... part 1 (Affine) gives": lambda: Sandwich(bij.Exp(), bij.Affine()),
    },
    ShapeError: {
        "Repeat: Compose part 0 (Permute): Permute: permutation has 2": lambda: Repeat(bij.Permute((1, 0)), 2).bind(
            (3,)
        ),
        "Sandwich: Permute: permutation has 2": lambda: Sandwich(bij.Permute((1, 0)), bij.Affine()).bind((3,)),
        "Sandwich: an inner plan that keeps the shape (2,) ... got FromTransform, which makes it (2, 1)": lambda: (
            Sandwich(bij.Affine(), COLUMN).bind((2,))
        ),
        "Scan: a plan that keeps the event shape (3,) ... got ConstrainTo, which makes it (2, 2)": lambda: Scan(
            ConstrainTo(constraints.lower_triangular), 1
        ).bind((3,)),
        "ConstrainTo: for positive_definite, a last axis of 6 or 3 ... (4,)": lambda: ConstrainTo(
            constraints.positive_definite
        ).bind((4,)),
        "ConstrainTo: for simplex, vectors of at least 2 ... (1,)": lambda: bij.Invert(GROWING).bind((1,)),
        "ConstrainTo: for corr_cholesky, square matrices of at least 2 ... (2, 3)": lambda: bij.Invert(
            ConstrainTo(constraints.corr_cholesky)
        ).bind((2, 3)),
        "ConstrainTo: an event whose last axes are those of the ends, (2,), is expected; got ... (3,)": lambda: (
            ConstrainTo(constraints.interval(ORDERED, 2.0)).bind((3,))
        ),
        "FromTransform: an event that AffineTransform takes ... got (1,), which would be broadcast to (2,)": lambda: (
            FromTransform(transforms.AffineTransform(ORDERED, 2.0)).bind((1,))
        ),
        "FromTransform: an event that CorrCholeskyTransform takes ... of which it says": lambda: FromTransform(
            transforms.CorrCholeskyTransform()
        ).bind((2,)),
    },
    NotSupportedError: {
        "Scan: a plan without noise is expected; got Residual": lambda: Scan(bij.Residual(trace="roulette"), 2).bind(
            (3,)
        ),
        "Scan: layers that differ in tensors only are expected; got Drawing": lambda: Scan(Drawing(), 2).bind((3,)),
        "FromTransform: a transform with log_abs_det_jacobian is expected here; got OneWay": lambda: (
            FromTransform(OneWay()).bind((2,)).forward(torch.zeros(2))
        ),
        "FromTransform: a transform with inverse is expected here; got OneWay": lambda: (
            FromTransform(OneWay()).bind((2,)).inverse(torch.zeros(2))
        ),
        "FromTransform: a transform with forward is expected here; got NoWay": lambda: (
            FromTransform(NoWay()).bind((2,)).forward(torch.zeros(2))
        ),
    },
    SpecificationError: {
        "to_dict: FromTransform.transform": lambda: to_dict(bij.Compose([FromTransform(transforms.ExpTransform())])),
    },
}
