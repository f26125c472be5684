"""Where rows of data lie within what a flow says of them: by coordinate, and by density."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Distribution

from .. import options
from ..objectives.draws import drawn
from .extra import ArrayLike
from .inputs import CHUNK, chunks, looking, own_seed, rows_and_law

MOST = 1_000_000  # draws that rows of one distribution share: an error of at most 0.0005


def pit(
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None = None,
    *,
    draws: int = 1000,
    chunk_size: int = CHUNK,
    seed: int = 0,
) -> torch.Tensor:
    r"""The probability integral transform of each coordinate: uniform if the flow's marginals are right.

    .. math:: u_{ij} = P(X_j \le x_{ij} \mid c_i) \approx \frac{r_{ij} + v_{ij}}{S + 1}

    of the rank :math:`r`, the number of :math:`S` draws below the value, and uniform noise :math:`v`, with which it is
    exactly uniform for any :math:`S`. A univariate flow's own ``cdf`` is used where it has one. Rounded data are not
    uniform unless the noise is on them that they were fitted with.

    Args:
        flow: a flow, its view, or another distribution.
        x: data, ``(n, *event_shape)``.
        context: one for each row, ``(n, *context_shape)``, or one for all, where the flow has contexts.
        draws: how many for each context; rows of one distribution share at least 20 a row, and at most a million.
        chunk_size: how many are drawn at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.

    Returns:
        ``(n, *event_shape)`` between 0 and 1, float64, on the CPU.

    Raises:
        ShapeError, ContextError: if flow, data and contexts do not fit.
        DomainError: for data that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> law = dist.targets.TwoMoons()
        >>> u = pit(law, law.sample((4000,)))
        >>> u.shape, bool((u.mean(0) - 0.5).abs().max() < 0.05)
        (torch.Size([4000, 2]), True)

    References:
        Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018),
        https://arxiv.org/abs/1804.06788, Theorem 1.
    """
    rows, law = _checked("pit", flow, x, context, draws, chunk_size)
    with looking(flow, seed):
        if not law.event_shape:
            try:
                return law.cdf(rows).to("cpu", torch.float64)
            except NotImplementedError:  # of which ours are a kind
                pass
        found = _ranked(law, rows.flatten(1) if rows.dim() > 1 else rows[:, None], draws, chunk_size, seed, _values)
    return found.reshape(rows.shape)


def credibility(
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None = None,
    *,
    draws: int = 1000,
    chunk_size: int = CHUNK,
    seed: int = 0,
) -> torch.Tensor:
    r"""The level of the smallest region of highest density that holds each row: uniform if the flow is right.

    .. math:: \alpha_i = P\left(p(X \mid c_i) > p(x_i \mid c_i)\right), \quad X \sim p(\cdot \mid c_i)

    by draws, as in :func:`pit`. The share of rows with :math:`\alpha_i \le \gamma` is the coverage of the regions of
    level :math:`\gamma`.

    Args:
        flow: a flow, its view, or another distribution.
        x: data, ``(n, *event_shape)``.
        context: one for each row, ``(n, *context_shape)``, or one for all, where the flow has contexts.
        draws: how many for each context; rows of one distribution share at least 20 a row, and at most a million.
        chunk_size: how many are drawn at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.

    Returns:
        ``(n,)`` between 0 and 1, float64, on the CPU.

    Raises:
        ShapeError, ContextError: if flow, data and contexts do not fit.
        DomainError: for data that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> at_the_mode, far_out = credibility(dist.DiagNormal(2), [[0.0, 0.0], [5.0, 5.0]])
        >>> bool(at_the_mode < 0.01), bool(far_out > 0.99)
        (True, True)

    References:
        A Trust Crisis In Simulation-Based Inference? Your Posterior Approximations Can Be Unfaithful
        (Hermans et al., 2022), https://arxiv.org/abs/2110.06581, sec. 2.
    """
    rows, law = _checked("credibility", flow, x, context, draws, chunk_size)
    with looking(flow, seed):
        mine = torch.cat([-p for p in _log_prob(law, rows, chunk_size)])
        return _ranked(law, mine[:, None], draws, chunk_size, seed, _surprises)[:, 0]


def _checked(
    who: str,
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None,
    draws: int,
    chunk_size: int,
) -> tuple[torch.Tensor, Distribution]:
    options.integer(who, "draws", draws, minimum=1)
    options.integer(who, "chunk_size", chunk_size, minimum=1)
    return rows_and_law(who, flow, x, context)


def _log_prob(law: Distribution, rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    return [law.log_prob(rows)] if law.batch_shape else [law.log_prob(part) for part in rows.split(size)]


def _values(law: Distribution, count: int) -> torch.Tensor:
    found = law.sample(torch.Size([count]))
    return found.reshape(count, *law.batch_shape, -1)


def _surprises(law: Distribution, count: int) -> torch.Tensor:
    return -drawn(law, count)[1].unsqueeze(-1)


def _ranked(
    law: Distribution,
    mine: torch.Tensor,
    draws: int,
    size: int,
    seed: int,
    statistic: Callable[[Distribution, int], torch.Tensor],
) -> torch.Tensor:
    """Returns where numbers ``(n, k)`` lie among those of draws, from 0 to 1.

    Args:
        law: one for all, or a batch of n.
        mine: the numbers.
        draws: how many.
        size: how many at a time, over the batch.
        seed: of the noise.
        statistic: so many draws' numbers, ``(draws, *batch, k)``.
    """
    n = len(mine)
    if law.batch_shape:
        below = torch.zeros(mine.shape, dtype=torch.int64, device=mine.device)
        for count in chunks(draws, max(1, size // n)):
            below += (statistic(law, count) < mine).sum(0)
    else:
        draws = max(draws, min(20 * n, MOST))
        theirs = torch.cat([statistic(law, count) for count in chunks(draws, size)]).T.contiguous().sort().values
        below = torch.searchsorted(theirs, mine.T.contiguous()).T
    noise = torch.rand(mine.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(own_seed(seed)))
    return (below.cpu() + noise) / (draws + 1)
