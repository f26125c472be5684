"""A flow as scikit-learn's density estimators are: ``KernelDensity``, ``GaussianMixture``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from .estimator import Array, FlowEstimator, RandomState
from .extra import check_is_fitted, validate_data


class FlowDensity(FlowEstimator):
    r"""The density of data as a scikit-learn estimator: a normalizing flow, trained by maximum likelihood.

    .. math:: \max_\theta \sum_i \log p_\theta(x_i)

    It takes what scikit-learn takes, pandas' data frames among it, keeps feature names, and works in pipelines and
    searches. In a pipeline densities are those of what the last step sees: without the scale of the steps before.

    Args:
        flow: a name of those in ``flowtorch.flows``, such as ``"nsf"`` or ``"maf"``; or a plan, which acts on vectors
            of as many coordinates as there are features, from standard normal ones.
        standardize: whether features are standardised; densities are in the data's units all the same. A flow that
            gives positive values only, say, wants data as they are.
        max_epochs: how often to go through the data at most.
        batch_size: how many rows a step.
        learning_rate: Adam's; it goes to zero along a cosine.
        validation_fraction: which part of the rows, drawn at random, is held back; the weights kept are those with
            the highest likelihood there. None for none.
        patience: after how many epochs without a higher one to stop; None for never.
        random_state: a seed, or a generator, of all that is drawn at random while it is fitted.
        verbose: whether to show a bar.
        fit_options: further options of :func:`flowtorch.train.fit`, such as
            ``{"ema": 0.999, "trainer": {"accelerator": "cpu"}}``.

    Attributes:
        flow_: the :class:`~flowtorch.distributions.Flow` of the data, in double precision.
        history_: the losses, see :class:`~flowtorch.train.Fitted`.
        n_features_in_: how many features there were.
        feature_names_in_: their names, if they had some.

    Raises:
        OptionError, OptionTypeError: when it is fitted, for options out of their range.
        DomainError: when it is fitted, for a feature that does not vary, by its name.

    Example:
        >>> X = 5 + 2 * np.random.default_rng(0).normal(size=(2000, 1))
        >>> density = FlowDensity("nsf", max_epochs=5, random_state=0).fit(X)
        >>> density.score_samples([[5.0], [15.0]]).argmax(), density.sample(3).shape
        (np.int64(0), (3, 1))

    References:
        Normalizing Flows for Probabilistic Modeling and Inference (Papamakarios et al., 2021),
        https://arxiv.org/abs/1912.02762, eq. 15.
    """

    def fit(self, X: npt.ArrayLike, y: object = None) -> Self:
        """Fits the flow.

        Args:
            X: ``(n, n_features)``, two rows at least.
            y: ignored.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        return self._train(rows, names=getattr(self, "feature_names_in_", None))

    def score_samples(self, X: npt.ArrayLike) -> Array:
        """Returns the log-density of each row, ``(n,)``."""
        check_is_fitted(self, "flow_")
        return self._log_prob(validate_data(self, X, dtype=np.float64, reset=False))

    def score(self, X: npt.ArrayLike, y: object = None) -> float:
        """Returns the mean log-density of rows, in nats: higher is better, and it is what searches compare."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> Array:
        """Draws rows, ``(n_samples, n_features)``.

        Args:
            n_samples: how many.
            random_state: a seed, or a generator; numpy's global one by default.
        """
        check_is_fitted(self, "flow_")
        return self._draw(n_samples, None, random_state)
