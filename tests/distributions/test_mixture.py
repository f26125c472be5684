"""``GaussianMixture``: its density, its draws, and where k-means starts it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow
from flowtorch.distributions.clusters import clusters
from flowtorch.distributions.mixture import Covariance, GaussianMixture
from tests.distributions.helpers import close, draw

KINDS = get_args(Covariance)
LOC, WEIGHTS = 2 * draw(4, 3), draw(4, seed=1).exp()
TRIANGLES = draw(4, 3, 3, seed=2).tril(-1) + draw(4, 3, seed=3).exp().diag_embed()
CENTERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]], dtype=torch.float64)


def made(kind: Covariance) -> GaussianMixture:
    scale = {"diagonal": draw(4, 3, seed=4).exp(), "spherical": draw(4, 1, seed=4).exp()}.get(kind)
    factor = {"full": TRIANGLES, "tied": TRIANGLES[0]}.get(kind)
    return GaussianMixture(LOC, scale, covariance=kind, scale_tril=factor, weights=WEIGHTS)


def parts(base: GaussianMixture) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Weight, mean and covariance of each component."""
    count, n = base.loc.shape
    if base.scale is not None:
        factors = base.scale.expand(count, n).diag_embed()
    else:
        assert base.scale_tril is not None
        factors = base.scale_tril.expand(count, n, n)
    return [(float(w), m.numpy(), (f @ f.T).numpy()) for w, m, f in zip(base.weights, base.loc, factors, strict=True)]


def blobs(size: int = 400, seed: int = 0) -> torch.Tensor:
    """Four clusters far from each other, in turns."""
    return CENTERS[torch.arange(size) % 4] + draw(size, 2, seed=seed)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The distribution


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_and_the_moments(kind: Covariance) -> None:
    base, y = made(kind), 3 * draw(2, 5, 3, seed=5)
    scores = [np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(y.numpy()) for w, m, c in parts(base)]
    expected = torch.from_numpy(scipy.special.logsumexp(scores, 0))
    close(base.log_prob(y), expected)
    close(base.log_prob(y[1, 2]), expected[1, 2])
    mean = sum(w * m for w, m, _ in parts(base))
    variance = sum(w * (np.diag(c) + (m - mean) ** 2) for w, m, c in parts(base))
    close(base.mean, torch.as_tensor(mean))
    close(base.variance, torch.as_tensor(variance))
    assert base.event_shape == (3,) and base.batch_shape == () and not base.has_rsample and base.covariance == kind


def test_weights_are_normalized_and_equal_by_default() -> None:
    close(made("diagonal").weights, WEIGHTS / WEIGHTS.sum())
    close(GaussianMixture(LOC).weights, torch.full((4,), 0.25, dtype=torch.float64))
    close(GaussianMixture(LOC, logits=WEIGHTS.log() + 3).weights, WEIGHTS / WEIGHTS.sum())


@pytest.mark.parametrize(
    ("kind", "shape"), [("diagonal", (4, 3)), ("spherical", (4, 1)), ("full", (4, 3, 3)), ("tied", (3, 3))]
)
def test_deviations_may_be_numbers_and_are_one_by_default(kind: Covariance, shape: tuple[int, ...]) -> None:
    for given, scale in ((None, 1.0), (2.0, 2.0), (torch.tensor(0.5), 0.5)):
        base = GaussianMixture(LOC, given, covariance=kind)
        held = base.scale if kind in ("diagonal", "spherical") else base.scale_tril
        assert held is not None and held.shape == shape and held.dtype == torch.float64
        for _, _, found in parts(base):
            np.testing.assert_allclose(found, scale**2 * np.eye(3))


@pytest.mark.parametrize("kind", KINDS)
def test_draws(kind: Covariance) -> None:
    base = made(kind)
    drawn = base.sample((4000,))
    mean, deviation = sum(w * m for w, m, _ in parts(base)), base.variance.sqrt()
    assert float(((drawn.mean(0) - torch.as_tensor(mean)) / deviation).abs().max()) < 0.06  # four standard errors
    direction = np.array([0.3, -1.0, 0.8])  # covariances show in projections

    def cdf(v: np.ndarray) -> np.ndarray:
        laws = [(w, scipy.stats.norm(direction @ m, (direction @ c @ direction) ** 0.5)) for w, m, c in parts(base)]
        return np.asarray(sum(w * law.cdf(v) for w, law in laws))

    assert scipy.stats.kstest((drawn @ torch.from_numpy(direction)).numpy(), cdf).pvalue > 0.01
    assert base.sample((2, 5)).shape == (2, 5, 3) and base.sample((0,)).shape == (0, 3) and base.sample().shape == (3,)


@pytest.mark.parametrize("kind", KINDS)
def test_expand(kind: Covariance) -> None:
    base, y = made(kind), draw(3)
    wide = base.expand((4, 2))
    assert wide.batch_shape == (4, 2) and base.batch_shape == () and wide.sample((5,)).shape == (5, 4, 2, 3)
    close(wide.log_prob(y), base.log_prob(y).expand(4, 2))
    close(wide.mean, base.mean.expand(4, 2, 3))
    close(wide.variance, base.variance.expand(4, 2, 3))


def test_arguments_out_of_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="parameter scale .* to satisfy the constraint GreaterThan"):
        GaussianMixture(LOC, -1.0)
    with pytest.raises(ValueError, match="parameter scale_tril .* to satisfy the constraint LowerCholesky"):
        GaussianMixture(LOC, scale_tril=torch.ones(3, 3), covariance="tied")
    assert GaussianMixture(LOC, -1.0, validate_args=False).event_shape == (3,)


def test_learning_the_base_is_fitting_the_mixture() -> None:
    x = blobs()
    flow = Flow(
        GaussianMixture.from_data(x, 4, covariance="full", generator=generator()), bij.AffineFixed(), learn_base=True
    )
    optimizer = torch.optim.LBFGS(flow.parameters(), max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -flow.log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    base = flow.base_dist
    assert isinstance(base, GaussianMixture)
    # At the maximum each component has the moments of its share of the points, a condition of its own kind.
    with torch.no_grad():
        scores = torch.stack(
            [
                torch.as_tensor(np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x.numpy()))
                for w, m, c in parts(base)
            ]
        )
        share = scores.softmax(0)
        close(share.mean(1), base.weights, 1e-5)  # as far as the optimiser goes
        close(share @ x / share.sum(1, keepdim=True), base.loc, 1e-4)


# Its start


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_far_from_each_other_are_found(kind: Covariance) -> None:
    x = blobs()
    base = GaussianMixture.from_data(x, 4, covariance=kind, generator=generator())
    order = torch.cdist(CENTERS, base.loc).argmin(-1)
    assert sorted(order.tolist()) == [0, 1, 2, 3] and base.covariance == kind and base.loc.dtype == torch.float64
    for i, k in enumerate(order):
        close(base.loc[k], x[i::4].mean(0))
    close(base.weights, torch.full((4,), 0.25, dtype=torch.float64))
    within = torch.stack([x[i::4].T.cov(correction=0) for i in range(4)])
    expected = {
        "tied": within.mean(0).expand(4, 2, 2),
        "full": within,
        "diagonal": within.diagonal(dim1=-2, dim2=-1).diag_embed(),
        "spherical": within.diagonal(dim1=-2, dim2=-1).mean(-1).reshape(4, 1, 1) * torch.eye(2),
    }[kind]
    for i, k in enumerate(order):  # but for the point more
        close(torch.as_tensor(parts(base)[int(k)][2]), expected[i], 1e-4 if kind == "tied" else 0.02)


def test_one_component_has_the_moments_of_the_data() -> None:
    x = draw(50, 3) @ TRIANGLES[0] + 1e4  # far from the origin
    base = GaussianMixture.from_data(x, 1, covariance="full")
    close(base.loc[0], x.mean(0))
    close(torch.as_tensor(parts(base)[0][2]), x.T.cov(correction=0), 1e-5)  # but for the floor of 1e-6
    single = GaussianMixture.from_data((x - 1e4).float(), 1)
    assert single.loc.dtype == torch.float32 and single.sample().dtype == torch.float32


def test_no_point_is_nearer_to_another_centre_and_centres_are_means() -> None:
    x = draw(300, 2)
    labels = clusters("test", x, 7, generator())
    centers = torch.stack([x[labels == k].mean(0) for k in range(7)])
    close(torch.cdist(x, centers).argmin(-1), labels)


def test_it_is_the_same_under_the_same_generator_and_leaves_torchs_own_alone() -> None:
    x, state = draw(100, 2), torch.random.get_rng_state()
    first, second = (GaussianMixture.from_data(x, 5, generator=generator(3)) for _ in range(2))
    close(first.loc, second.loc)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(3)
    third = GaussianMixture.from_data(x, 5)
    close(third.loc, first.loc)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "x",
    [
        torch.tensor(
            [[0.0, 1.0], [0.0, 2.0], [0.0, 4.0]]
        ),  # as many points as components, a coordinate that is constant
        torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [9.0, 9.0], [9.5, 9.5]]),  # on a line
        torch.tensor([[0.0, 0.0]] * 50 + [[1.0, 1.0], [5.0, 1.0]]),  # many that are the same
    ],
    ids=["few", "line", "same"],
)
def test_data_that_make_singular_covariances_give_a_density_all_the_same(kind: Covariance, x: torch.Tensor) -> None:
    base = GaussianMixture.from_data(x, 3, covariance=kind, generator=generator())
    assert bool(base.log_prob(x).isfinite().all()) and bool(base.log_prob(base.sample((5,))).isfinite().all())


def test_clusters_left_without_points_are_given_some(monkeypatch: pytest.MonkeyPatch) -> None:
    start = torch.tensor([[0.0, 0.0], [100.0, 0.0], [101.0, 0.0]], dtype=torch.float64)
    monkeypatch.setattr("flowtorch.distributions.clusters._start", lambda who, x, count, generator: start)
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [-3.0, 0.0], [4.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    labels = clusters("test", x, 3, None)
    assert sorted(set(labels.tolist())) == [0, 1, 2]


def test_torchs_own_mixture_agrees() -> None:
    base, y = made("full"), draw(5, 3, seed=6)
    of_torch = td.MixtureSameFamily(td.Categorical(WEIGHTS), td.MultivariateNormal(LOC, scale_tril=TRIANGLES))
    close(base.log_prob(y), of_torch.log_prob(y))
    close(base.mean, of_torch.mean)
    close(base.variance, of_torch.variance)
