"""A mixture of normals as base distribution, and where to start it."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from .. import options
from ..errors import OptionError, ShapeError
from ..types import ShapeLike, as_size
from .base import register_base
from .clusters import checked, clusters, covariances
from .independent import alike, with_batch
from .multivariate import inverse, log_diagonal

Covariance: TypeAlias = Literal["diagonal", "spherical", "full", "tied"]


class GaussianMixture(Distribution):
    r"""A mixture of normals over vectors: a base for data in several pieces, which no continuous map tears apart.

    .. math:: \log p(x) = \log \sum_k w_k \, \mathcal{N}(x; \mu_k, \Sigma_k)

    ``"diagonal"`` covariances have a deviation for each coordinate, ``"spherical"`` ones one for all coordinates,
    ``"full"`` ones are any, and with ``"tied"`` all components share one of these. With ``Flow(..., learn_base=True)``
    weights, means and covariances are learnt; :meth:`from_data` says where to start. Samples carry no gradients.

    Args:
        loc: the components' means :math:`\mu`, ``(count_components, n)``.
        scale: deviations: a number, or a tensor that broadcasts to ``(count_components, n)``, of spherical covariances
            to ``(count_components, 1)``, of tied ones to ``(n,)``; 1 by default.
        covariance: the kind of covariances.
        scale_tril: of full and tied covariances in place of deviations, the lower triangular :math:`L` of
            :math:`\Sigma = L L^T`: a tensor that broadcasts to ``(count_components, n, n)``, of tied ones ``(n, n)``.
        weights: positive weights ``(count_components,)``; equal by default.
        logits: the logarithms of the weights, up to a constant, in their place.

    Raises:
        ShapeError: for tensors that do not fit each other.
        OptionError: for an unknown kind, options that exclude each other, or weights that are not positive.

    Example:
        >>> base = GaussianMixture(torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), weights=torch.tensor([1.0, 3.0]))
        >>> base.mean
        tensor([1.5000, 0.0000])

    References:
        Semi-Supervised Learning with Normalizing Flows (Izmailov et al., 2020), https://arxiv.org/abs/1912.13025,
        section 3.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012  # as torch declares it
        "loc": constraints.real,
        "scale": constraints.positive,
        "scale_tril": constraints.lower_cholesky,
        "logits": constraints.real_vector,
    }
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self,
        loc: torch.Tensor,
        scale: torch.Tensor | float | None = None,
        *,
        covariance: Covariance = "diagonal",
        scale_tril: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        logits: torch.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        options.one_of("GaussianMixture", "covariance", covariance, get_args(Covariance))
        options.instance("GaussianMixture", "loc", loc, torch.Tensor)
        if loc.dim() != 2 or not loc.numel():
            raise ShapeError(
                f"GaussianMixture: loc of shape (count_components, n) is expected; got {tuple(loc.shape)}."
            )
        if weights is not None and logits is not None:
            raise OptionError("GaussianMixture: weights or logits are expected; got both.")
        matrices = covariance in ("full", "tied")
        if scale_tril is not None and (scale is not None or not matrices):
            raise OptionError(
                "GaussianMixture: scale_tril is expected with covariance='full' or 'tied' only, in place of scale; got "
                f"it with {f'{covariance=}' if not matrices else 'scale'}."
            )
        count, n = loc.shape
        spread = scale_tril if scale_tril is not None else 1.0 if scale is None else scale
        share = logits if logits is not None else 1.0 if weights is None else weights
        self.loc, spread, share = alike(loc, spread, share)
        rows = {"diagonal": (count, n), "spherical": (count, 1), "full": (count, n), "tied": (n,)}[covariance]
        square = scale_tril is not None
        spread = _fit("scale_tril" if square else "scale", spread, (*rows, n) if square else rows)
        share = _fit("weights" if logits is None else "logits", share, (count,))
        if weights is not None and not bool((share > 0).all()):
            raise OptionError(f"GaussianMixture: positive weights are expected; got {share.tolist()}.")
        self.covariance = covariance
        self.scale = None if matrices else spread
        self.scale_tril = None if not matrices else spread if square else spread.diag_embed()
        self.logits = share if logits is not None else share.log()
        # torch checks those that are there.
        self.arg_constraints = {k: v for k, v in type(self).arg_constraints.items() if getattr(self, k) is not None}
        super().__init__(torch.Size(), loc.shape[1:], validate_args=validate_args)

    @classmethod
    def from_data(
        cls,
        x: torch.Tensor,
        count_components: int,
        *,
        covariance: Covariance = "diagonal",
        generator: torch.Generator | None = None,
    ) -> GaussianMixture:
        r"""Returns a mixture of the clusters that k-means finds: a start for training, not a fit of the mixture.

        A cluster's covariance counts one point more, of the covariance within all clusters: that of a cluster of a
        point or two would be singular.

        Args:
            x: the data ``(N, n)``.
            count_components: how many components.
            covariance: the kind of covariances.
            generator: where random numbers come from, of the CPU; torch's default generator if None.

        Raises:
            ShapeError: for data of another shape.
            OptionError, OptionTypeError: for options out of range, data that are not finite, or of fewer distinct
                points than components.

        Example:
            >>> x = torch.tensor([[0.0], [1.0], [10.0], [11.0], [12.0]])
            >>> base = GaussianMixture.from_data(x, 2, generator=torch.Generator().manual_seed(0))
            >>> sorted(base.loc.flatten().tolist())
            [0.5, 11.0]

        References:
            k-means++: The Advantages of Careful Seeding (Arthur and Vassilvitskii, 2007),
            https://dl.acm.org/doi/10.5555/1283383.1283494, section 2.2.
        """
        options.one_of("GaussianMixture.from_data", "covariance", covariance, get_args(Covariance))
        points = checked("GaussianMixture.from_data", x, count_components)
        labels = clusters("GaussianMixture.from_data", points, count_components, generator)
        matrices = covariance in ("full", "tied")
        loc, sizes, found = covariances(points, labels, count_components, full=matrices, shared=covariance == "tied")
        if covariance == "spherical":
            found = found.mean(-1, keepdim=True)
        root = torch.linalg.cholesky(found) if matrices else found.sqrt()
        loc, root, weights = (v.to(x) for v in (loc, root, sizes.clamp(min=1)))
        if matrices:
            return cls(loc, covariance=covariance, scale_tril=root, weights=weights)
        return cls(loc, root, covariance=covariance, weights=weights)

    @property
    def weights(self) -> torch.Tensor:
        """The components' weights, of sum 1."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> torch.Tensor:
        """The mixture's mean."""
        return (self.weights @ self.loc).expand(self._extended_shape())

    @property
    def variance(self) -> torch.Tensor:
        """The variance of each coordinate."""
        matrix = self.scale_tril
        within = cast(torch.Tensor, self.scale).square() if matrix is None else matrix.square().sum(-1)
        off = self.loc - self.weights @ self.loc
        return (self.weights @ (within + off.square())).expand(self._extended_shape())

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density of vectors ``(*batch, n)``."""
        if self._validate_args:
            self._validate_sample(value)
        n = self.loc.shape[-1]
        # Points come last, and what sums and products are over before them: torch is slow along short last axes.
        off = value.reshape(-1, n).mT - self.loc.unsqueeze(-1)
        if self.scale_tril is None:
            scale = cast(torch.Tensor, self.scale).expand_as(self.loc)
            z, log_scale = off / scale.unsqueeze(-1), scale.log().sum(-1)
        else:
            z, log_scale = inverse(self.scale_tril) @ off, log_diagonal(self.scale_tril)
        log_weight = self.logits.log_softmax(-1) - log_scale - 0.5 * n * math.log(2 * math.pi)
        found = (log_weight.unsqueeze(-1) - 0.5 * z.square().sum(-2)).logsumexp(0).reshape(value.shape[:-1])
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        """Draws without gradients."""
        shape = self._extended_shape(as_size(sample_shape, "GaussianMixture.sample"))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        level = torch.rand(shape[:-1], dtype=self.loc.dtype, device=self.loc.device)
        chosen = torch.searchsorted(self.weights.cumsum(-1), level, right=True)
        chosen = chosen.clamp(max=len(self.loc) - 1)  # where rounding leaves the sum below 1
        if self.scale_tril is None:
            return torch.addcmul(self.loc[chosen], cast(torch.Tensor, self.scale)[chosen], noise)
        if self.scale_tril.dim() == 2:
            return torch.add(self.loc[chosen], noise @ self.scale_tril.mT)
        drawn: torch.Tensor = noise
        for k, factor in enumerate(self.scale_tril):  # a matrix for each draw would take much memory
            drawn = torch.where((chosen == k).unsqueeze(-1), self.loc[k] + noise @ factor.mT, drawn)
        return drawn

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> GaussianMixture:
        """Returns the distribution with this batch shape."""
        return with_batch(self, batch_shape)


register_base(GaussianMixture, "loc", "scale", "covariance", "scale_tril", "logits")


def _fit(name: str, value: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    try:
        return value.expand(shape)
    except RuntimeError:
        raise ShapeError(
            f"GaussianMixture: {name} is expected to broadcast to {shape}; got {tuple(value.shape)}."
        ) from None
