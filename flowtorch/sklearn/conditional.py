"""The density of targets at features, or of features at targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from .. import options
from ..bijectors import Bijector
from ..errors import DomainError, ShapeError
from .estimator import Array, FlowEstimator, RandomState
from .extra import check_array, check_consistent_length, check_is_fitted, validate_data

Given: TypeAlias = Literal["X", "y"]


class ConditionalFlowDensity(FlowEstimator):
    r"""The density of targets at features, or of features at targets, as a scikit-learn estimator.

    .. math:: \max_\theta \sum_i \log p_\theta(y_i \mid x_i) \quad\text{or}\quad
              \max_\theta \sum_i \log p_\theta(x_i \mid y_i)

    With ``given="X"`` it is a regression that gives the whole distribution of ``y``, one target or several. With
    ``given="y"`` it is a generative model of the features. There ``y`` of floating-point numbers are numbers, and one
    column of anything else, integers too, are labels, as for scikit-learn's classifiers.

    It takes ``y`` in :meth:`score_samples`, where scikit-learn has ``X`` alone; :meth:`score`, and so searches and
    pipelines, are as usual.

    Args:
        flow: as in :class:`FlowDensity`; its vectors have as many coordinates as there are targets with
            ``given="X"``, features with ``given="y"``.
        given: what the density depends on, ``"X"`` or ``"y"``.
        standardize: whether features and targets are standardised, but for labels; densities are in the data's units
            all the same. A flow that gives positive values only, say, wants data as they are.
        max_epochs: as in :class:`FlowDensity`, and so are all that follow.
        batch_size: how many rows a step.
        learning_rate: Adam's.
        validation_fraction: which part of the rows is held back.
        patience: after how many epochs without a higher likelihood there to stop.
        random_state: a seed, or a generator, of all that is drawn at random while it is fitted.
        verbose: whether to show a bar.
        fit_options: further options of :func:`flowtorch.train.fit`.

    Attributes:
        flow_: the :class:`~flowtorch.distributions.Flow`, in double precision; its contexts are in the data's units,
            and labels are ones among zeros.
        history_: the losses, see :class:`~flowtorch.train.Fitted`.
        classes_: the labels, in order, with ``given="y"``; None for numbers.
        n_features_in_: how many features there were.
        feature_names_in_: their names, if they had some.

    Raises:
        OptionError, OptionTypeError: when it is fitted, for options out of their range.
        DomainError: when it is fitted, for a column that does not vary, of those that the density is of.
        ShapeError: for labels in several columns, and targets in another number of columns than before.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(1000, 2))
        >>> y = X[:, 0] + 0.1 * rng.normal(size=1000)
        >>> density = ConditionalFlowDensity("maf", max_epochs=20, random_state=0).fit(X, y)
        >>> density.score(X, y) > 0, density.sample(X[:3]).shape
        (True, (3,))

    References:
        Normalizing Flows for Probabilistic Modeling and Inference (Papamakarios et al., 2021),
        https://arxiv.org/abs/1912.02762, sec. 6.1.
    """

    def __init__(
        self,
        flow: str | Bijector = "nsf",
        *,
        given: Given = "X",
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
        super().__init__(
            flow,
            standardize=standardize,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation_fraction=validation_fraction,
            patience=patience,
            random_state=random_state,
            verbose=verbose,
            fit_options=fit_options,
        )
        self.given = given

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fits the flow.

        Args:
            X: ``(n, n_features)``, two rows at least.
            y: ``(n,)`` or ``(n, n_targets)``.
        """
        options.one_of(type(self).__name__, "given", self.given, ("X", "y"))
        rows, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, ensure_min_samples=2)
        self.classes_ = None
        labels = self.given == "y" and np.asarray(y).dtype.kind != "f"
        if labels:
            if np.ndim(y) != 1:
                raise ShapeError(
                    f"{type(self).__name__}: labels in one column, or numbers, are expected as y; got labels of shape "
                    f"{np.shape(y)}. Make numbers of them, such as with scikit-learn's OneHotEncoder."
                )
            self.classes_ = np.unique(y)
        self._target_shape = np.shape(y)[1:]
        targets = self._targets(y)
        if self.given == "X":
            called = ["y"] if targets.shape[1] == 1 else [f"y[:, {i}]" for i in range(targets.shape[1])]
            return self._train(targets, rows, names=called)
        return self._train(rows, targets, names=getattr(self, "feature_names_in_", None), labels=labels)

    def score_samples(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Returns the log-density of each row of ``y`` at that of ``X``, or the other way round, ``(n,)``."""
        check_is_fitted(self, "flow_")
        rows, targets = validate_data(self, X, dtype=np.float64, reset=False), self._targets(y)
        check_consistent_length(rows, targets)
        return self._log_prob(targets, rows) if self.given == "X" else self._log_prob(rows, targets)

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Returns the mean log-density of rows, in nats: higher is better, and it is what searches compare."""
        return float(self.score_samples(X, y).mean())

    def sample(self, condition: npt.ArrayLike, n_samples: int | None = None, random_state: RandomState = None) -> Array:
        """Draws targets at features, or features at targets.

        Args:
            condition: rows of ``X`` with ``given="X"``, of ``y`` with ``given="y"``.
            n_samples: how many draws at each row; one if it is not given.
            random_state: a seed, or a generator; numpy's global one by default.

        Returns:
            One draw a row, in the layout of ``y`` or ``X``; with ``n_samples``, so many of these: ``(n_samples, n)``
            or ``(n_samples, n, columns)``.
        """
        check_is_fitted(self, "flow_")
        of_targets = self.given == "X"
        at = validate_data(self, condition, dtype=np.float64, reset=False) if of_targets else self._targets(condition)
        drawn = self._draw(1 if n_samples is None else n_samples, at, random_state)
        drawn = drawn if n_samples is not None else drawn[0]
        return drawn.reshape(*drawn.shape[:-1], *self._target_shape) if of_targets else drawn

    def _targets(self, y: npt.ArrayLike) -> Array:
        """Returns targets as columns of numbers: of labels, one for each class."""
        if self.classes_ is None:
            numbers: Array = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
            if numbers.shape[1:] != self._target_shape:
                raise ShapeError(
                    f"{type(self).__name__}: y of shape {('n', *self._target_shape)}, as when it was fitted, is "
                    f"expected; got {numbers.shape}."
                )
            return numbers.reshape(len(numbers), -1)
        labels = np.asarray(y)
        found: Array = (labels.reshape(-1, 1) == self.classes_).astype(np.float64)
        unknown = np.unique(labels[found.sum(1) == 0])
        if len(unknown):
            raise DomainError(
                f"{type(self).__name__}: labels among the {len(self.classes_)} it was fitted to are expected as y; got "
                f"{', '.join(map(repr, unknown[:5].tolist()))}."
            )
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
