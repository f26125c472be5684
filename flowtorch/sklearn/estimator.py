"""What the estimators share: options, training, and densities and draws in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import Self

from .. import domains, flows, options
from ..bijectors import Bijector, BoundBijector, Compose, Invert, Standardize
from ..distributions import DiagNormal, Flow
from ..errors import OptionError, OptionTypeError
from .extra import BaseEstimator, DensityMixin, Fitted, check_random_state, fit

Array: TypeAlias = npt.NDArray[np.float64]
RandomState: TypeAlias = int | np.random.RandomState | None

# Those of flowtorch.flows that map the reals, and stand on a normal distribution.
NAMES = tuple(name for name in flows.__all__ if name not in ("ncsf", "stack"))
CHUNK = 65_536  # rows are scored and drawn so many at a time


class FlowEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What :class:`FlowDensity` and :class:`ConditionalFlowDensity` share; they say of what and at what."""

    flow_: Flow
    history_: Fitted

    def __init__(
        self,
        flow: str | Bijector = "nsf",
        *,
        standardize: bool = True,
        max_epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        validation_fraction: float | None = 0.1,
        patience: int | None = 20,
        random_state: RandomState = None,
        verbose: bool | int = False,
        fit_options: Mapping[str, object] | None = None,
    ) -> None:
        # As scikit-learn wants it: kept as they come, and looked at when it is fitted.
        self.flow = flow
        self.standardize = standardize
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose
        self.fit_options = fit_options

    def _train(
        self, events: Array, context: Array | None = None, *, names: Sequence[str] | None = None, labels: bool = False
    ) -> Self:
        """Fits a flow to events ``(n, d)``, each at a row of the context; ``names`` are those of the d columns."""
        plan, seed = self._plan(), _seed(self.random_state)
        training = self._training(seed)
        value, given = torch.tensor(events), None if context is None else torch.tensor(context)
        shape = None if given is None else given.shape[1:]
        # What is learnt from is standardised in double precision beforehand; the flow that is kept does so itself.
        units = Standardize.from_data(value, names=names) if self.standardize else None
        scaled = _standardized(given) if given is not None and self.standardize and not labels else None
        with torch.random.fork_rng(devices=[]):  # layers may draw what they start from
            torch.manual_seed(seed)
            flow = whole = Flow(DiagNormal(value.shape[1]), plan, context_shape=shape)
            if units is not None:
                self._refuse_bounded(flow)
                in_units = Compose((plan, units))
                whole = Flow(DiagNormal(value.shape[1]), in_units, context_shape=shape, embedding=scaled)
        if units is not None:
            value = units.bind(value.shape[1:]).double().inverse(value)
        if given is not None and scaled is not None:
            given = scaled(given)
        self.history_ = fit(flow, value, given, **training)
        self.flow_ = whole.double().eval()
        if units is not None:
            whole.bijector.get_submodule("parts.0").load_state_dict(flow.bijector.state_dict())
        return self

    def _plan(self) -> Bijector:
        if isinstance(self.flow, str):
            options.one_of(type(self).__name__, "flow", self.flow, NAMES)
            made: Bijector = getattr(flows, self.flow)()
            return made
        options.instance(type(self).__name__, "flow", self.flow, Bijector)
        return self.flow

    def _training(self, seed: int) -> dict[str, Any]:
        """Returns the options of ``fit``."""
        who = type(self).__name__
        options.boolean(who, "standardize", plain(self.standardize))
        if not isinstance(self.fit_options, Mapping | None):
            raise OptionTypeError(
                f"{who}: fit_options is expected to be a dict; got {options.short(self.fit_options)}."
            )
        return {
            "max_epochs": plain(self.max_epochs),
            "batch_size": plain(self.batch_size),
            "learning_rate": plain(self.learning_rate),
            "validation": plain(self.validation_fraction),
            "patience": plain(self.patience),
            "seed": seed,
            "progress": bool(self.verbose),
            **(self.fit_options or {}),
        }

    def _refuse_bounded(self, flow: Flow) -> None:
        if not domains.is_real(flow.bijector.codomain):
            raise OptionError(
                f"{type(self).__name__}: standardize=False is expected with a flow that gives "
                f"{domains.describe(flow.bijector.codomain)} values only; got True."
            )

    def _log_prob(self, events: Array, context: Array | None = None) -> Array:
        parts = [torch.tensor(rows).split(CHUNK) for rows in (events, context) if rows is not None]
        with torch.no_grad():
            return torch.cat([self.flow_.log_prob(*some) for some in zip(*parts, strict=True)]).numpy()

    def _draw(self, count: int, context: Array | None, random_state: RandomState) -> Array:
        options.integer(f"{type(self).__name__}.sample", "n_samples", plain(count), minimum=1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(random_state))
            given = None if context is None else torch.tensor(context)
            return self.flow_.sample((int(count),), given, chunk_size=CHUNK).numpy()


def plain(value: object) -> object:
    """Returns Python's number in the place of numpy's, of which scikit-learn's searches are made."""
    return value.item() if isinstance(value, np.generic) else value


def _seed(random_state: RandomState) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def _standardized(rows: torch.Tensor) -> BoundBijector[Bijector]:
    """Returns what takes such rows to a mean of zero, in units of their deviation."""
    scale = rows.std(0, correction=0)
    # A column that does not vary says nothing: that its rounding is not blown up.
    scale = torch.where(rows.amax(0) == rows.amin(0), 1.0, scale)
    return Invert(Standardize(rows.mean(0), scale)).bind(rows.shape[1:]).double()
