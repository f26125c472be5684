"""``check_bijector``: everything that is promised of a bijector, checked on one plan and one event shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from ..bijectors import Bijector, BoundBijector
from ..types import ShapeLike, TensorPair, as_size
from . import behaviour, numbers, persistence
from .sampling import perturb, sample_in

BATCHES: tuple[torch.Size, ...] = (torch.Size(), torch.Size((4,)), torch.Size((2, 3)))


@dataclass
class Case:
    """A plan bound, with its parameters perturbed and inputs drawn, as the checks take it."""

    plan: Bijector
    shape: torch.Size
    context_shape: torch.Size | None
    tolerance: float
    seed: int
    bound: BoundBijector[Bijector] = field(init=False)

    def __post_init__(self) -> None:
        """Binds and perturbs."""
        self.bound = self.bind()

    def generator(self, offset: int = 0) -> torch.Generator:
        """Returns a source of random numbers of its own: torch's is left alone."""
        return torch.Generator().manual_seed(self.seed + offset)

    def bind(self, offset: int = 0) -> BoundBijector[Bijector]:
        """Returns a fresh bound form in float64, its parameters (and what it draws when bound) set by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + offset)
            bound = self.plan.bind(self.shape, self.context_shape).double()
        perturb(bound, self.generator(offset))
        return bound

    def x(self, batch: Iterable[int] = (4,), offset: int = 0, scale: float = 1.0) -> torch.Tensor:
        """Returns points in the domain, ``(*batch, *shape)``."""
        return sample_in(self.bound.domain, torch.Size((*batch, *self.shape)), self.generator(1 + offset), scale)

    def y(self, batch: Iterable[int] = (4,), offset: int = 0) -> torch.Tensor:
        """Returns points in the codomain that are images, ``(*batch, *out_shape)``."""
        with torch.no_grad():
            return self.bound.forward(self.x(batch, offset), self.context(batch))

    def context(self, batch: Iterable[int] = ()) -> torch.Tensor | None:
        """Returns contexts ``(*batch, *context_shape)``, or None where the bijector takes none."""
        if self.context_shape is None:
            return None
        shape = (*batch, *self.context_shape)
        return torch.randn(shape, dtype=torch.float64, generator=self.generator(2))

    def close(self, got: torch.Tensor, expected: torch.Tensor, what: str, slack: float = 1.0) -> None:
        """Fails unless two tensors agree in shape and, to the tolerance relative to their size, in values."""
        if got.shape != expected.shape:
            raise AssertionError(f"{what}: shape {tuple(expected.shape)} is expected; got {tuple(got.shape)}.")
        limit = slack * self.tolerance
        torch.testing.assert_close(
            got, expected, rtol=limit, atol=limit, msg=lambda text: f"{what} ({self.plan!r}): {text}"
        )

    def agree(self, got: TensorPair, expected: TensorPair, what: str, slack: float = 1.0) -> None:
        """Fails unless values and log-dets agree."""
        self.close(got[0], expected[0], what, slack)
        self.close(got[1], expected[1], f"{what}, log-det", slack)


CHECKS: dict[str, Callable[[Case], None]] = {
    "round_trip": numbers.round_trip,
    "log_det": numbers.log_det,
    "single_methods": numbers.single_methods,
    "zero_pattern": numbers.zero_pattern,
    "codomain": numbers.codomain,
    "outside": numbers.outside,
    "integrates_to_one": numbers.integrates_to_one,
    "float32": numbers.float32,
    "batches": behaviour.batches,
    "context": behaviour.context,
    "shapes": behaviour.shapes,
    "gradients": behaviour.gradients,
    "transform": behaviour.transform,
    "inverse_view": behaviour.inverse_view,
    "vmap_grad": behaviour.vmap_grad,
    "compile": behaviour.compiles,
    "plan_is_a_value": persistence.plan_is_a_value,
    "specification": persistence.specification,
    "state": persistence.state,
    "copies": persistence.copies,
    "meta": persistence.meta,
}


def check_bijector(
    plan: Bijector,
    shape: ShapeLike,
    context_shape: ShapeLike | None = None,
    *,
    tolerance: float = 1e-8,
    seed: int = 0,
    only: Iterable[str] | None = None,
    skip: Iterable[str] = (),
) -> None:
    """Checks a bijector against everything that flowtorch promises of one, in float64, on perturbed parameters.

    Round trips both ways; log-determinants of both directions against automatic differentiation; the methods against
    the pair; batches and contexts of all kinds, and errors where they do not fit; the zero pattern of the Jacobian;
    that a gradient reaches every parameter; the codomain, and what lies outside; equality with
    ``TransformedDistribution``; pickling, copies and states loaded into a differently seeded copy; float32;
    ``torch.compile`` and ``vmap(grad)``; the plan as a value and as a specification; on one or two coordinates, that
    the density integrates to one.

    Args:
        plan: the plan.
        shape: an event shape; best with unequal sizes.
        context_shape: a context shape, to check the conditional form.
        tolerance: absolute and relative, in float64; say in a comment why it is more than 1e-8 if it is.
        seed: of the parameters and inputs; torch's own state is left as it was.
        only: names of the checks to make; all by default.
        skip: names of checks to leave out.

    Raises:
        AssertionError: naming the check that fails and the plan.
        ValueError: for the name of a check that there is not.

    Example:
        >>> from flowtorch.bijectors import AffineCoupling
        >>> check_bijector(AffineCoupling(), (3,), skip=["compile"])
    """
    names = list(CHECKS) if only is None else list(only)
    unknown = [n for n in (*names, *skip) if n not in CHECKS]
    if unknown:
        raise ValueError(f"check_bijector: names out of {sorted(CHECKS)} are expected; got {unknown}.")
    context = None if context_shape is None else as_size(context_shape, "check_bijector")
    case = Case(plan, as_size(shape, "check_bijector"), context, tolerance, seed)
    for name in names:
        if name not in set(skip):
            try:
                CHECKS[name](case)
            except Exception as error:
                raise AssertionError(
                    f"check_bijector: {name} fails for {plan!r} on {tuple(case.shape)}: {error}"
                ) from error
