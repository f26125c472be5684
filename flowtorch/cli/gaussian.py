"""What a flow is compared with: the Gaussian of the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .extra import Array, np


@dataclass(frozen=True)
class Gaussian:
    """Scores of rows; NaN, with the columns behind it, where the covariance is singular."""

    scores: Array
    dependent: list[str]


def conditional_gaussian(values: Sequence[Array], contexts: Sequence[Array | None], names: Sequence[str]) -> Gaussian:
    r"""Returns log-likelihoods of rows under the Gaussian, given contexts, of other rows.

    .. math:: \log p(x \mid c) = \log N(x, c) - \log N(c)

    Args:
        values: of the rows to learn from, and of those to score.
        contexts: of both, or None.
        names: of the columns of both, values first.
    """
    train, test = values
    given, asked = contexts
    if given is None or asked is None:
        scores, dependent = _gaussian(train, test)
    else:
        scores, dependent = _gaussian(np.concatenate([train, given], 1), np.concatenate([test, asked], 1))
        if not dependent:
            scores = scores - _gaussian(given, asked)[0]
    return Gaussian(scores, [names[i] for i in dependent])


def _gaussian(train: Array, test: Array) -> tuple[Array, list[int]]:
    # In standardised units, as columns may differ by many orders of magnitude.
    mean, scale = train.mean(0), train.std(0)
    z, t = (train - mean) / scale, (test - mean) / scale
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    degenerate = vectors[:, values < 1e-8]
    if degenerate.size:
        return np.full(len(test), np.nan), np.flatnonzero((np.abs(degenerate) > 0.1).any(1)).tolist()
    distance = ((t @ vectors) ** 2 / values).sum(1)
    log_det = np.log(values).sum() + 2 * np.log(scale).sum()
    return -0.5 * (distance + log_det + len(mean) * math.log(2 * math.pi)), []
