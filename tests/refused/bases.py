"""What bases refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import distributions as td

from flowtorch.distributions import DiagNormal
from flowtorch.distributions.box import BoxUniform
from flowtorch.distributions.circle import UniformCircle, VonMises
from flowtorch.distributions.mixture import GaussianMixture
from flowtorch.distributions.multivariate import MultivariateNormal, MultivariateStudentT
from flowtorch.distributions.product import Product
from flowtorch.distributions.student import StudentT
from flowtorch.errors import OptionError, OptionTypeError, ShapeError

MEANS = torch.zeros(4, 3)
POINTS = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ShapeError: {
        "DiagNormal: loc and scale that broadcast to (3,) are expected; got (2,) and ()": lambda: DiagNormal(
            3, torch.zeros(2)
        ),
        "StudentT: df, loc and scale that broadcast to (2, 3) ... got (), (2,) and ()": lambda: StudentT(
            (2, 3), 4.0, torch.zeros(2)
        ),
        "VonMises.expand: a shape has no negative sizes": lambda: VonMises(2).expand((-1,)),
        "BoxUniform: low and high that broadcast to (2,) ... got () and (3,)": lambda: BoxUniform(
            2, 0.0, torch.ones(3)
        ),
        "UniformCircle: a shape is a sequence of integers": lambda: UniformCircle(2.5),  # type: ignore[arg-type]
        "MultivariateNormal: the length of a vector, n or (n,), is expected; got (2, 3)": lambda: MultivariateNormal(
            (2, 3)
        ),
        "MultivariateNormal: loc that broadcast": lambda: MultivariateNormal(3, torch.zeros(2)),
        "MultivariateNormal: covariance_matrix of shape (3, 3) ... got (2, 2)": lambda: MultivariateNormal(
            3, covariance_matrix=torch.eye(2)
        ),
        "MultivariateStudentT: the length of a vector ... got ()": lambda: MultivariateStudentT((), 4.0),
        "MultivariateStudentT: scale_tril of shape (3, 3) ... got (3,)": lambda: MultivariateStudentT(
            3, 4.0, scale_tril=torch.ones(3)
        ),
        "MultivariateStudentT.expand: a batch shape that (4,) broadcasts to ... got (3,)": lambda: (
            MultivariateStudentT(3, 4.0).expand(4).expand(3)
        ),
        "GaussianMixture: loc of shape (count_components, n) ... got (3,)": lambda: GaussianMixture(torch.zeros(3)),
        "GaussianMixture: scale is expected to broadcast to (4, 1) ... got (4, 3)": lambda: GaussianMixture(
            MEANS, torch.ones(4, 3), covariance="spherical"
        ),
        "GaussianMixture: scale_tril is expected to broadcast to (3, 3) ... got (4, 3, 3)": lambda: GaussianMixture(
            MEANS, scale_tril=torch.eye(3).expand(4, 3, 3), covariance="tied"
        ),
        "GaussianMixture: weights is expected to broadcast to (4,) ... got (3,)": lambda: GaussianMixture(
            MEANS, weights=torch.ones(3)
        ),
        "GaussianMixture.from_data: data of shape (N, n) ... got (3,)": lambda: GaussianMixture.from_data(
            torch.zeros(3), 2
        ),
        "Product: a distribution over vectors or scalars is expected as part 1; got DiagNormal ... (2, 3)": lambda: (
            Product([DiagNormal(2), DiagNormal((2, 3))])
        ),
        "Product: parts of one batch shape ... Independent ... got () and (2,) as part 1": lambda: Product(
            [DiagNormal(2), td.Normal(torch.zeros(2), 1.0)]
        ),
    },
    OptionError: {
        "BoxUniform: finite low < high is expected; got 1.0 and 1.0": lambda: BoxUniform(2, 1.0),
        "BoxUniform: finite low < high ... inf": lambda: BoxUniform(2, 0.0, float("inf")),
        "MultivariateNormal: scale_tril or covariance_matrix is expected; got both": lambda: MultivariateNormal(
            2, 0.0, torch.eye(2), covariance_matrix=torch.eye(2)
        ),
        "GaussianMixture: covariance ... 'diagonal', 'spherical', 'full', 'tied'; got 'diag'": lambda: GaussianMixture(
            MEANS,
            covariance="diag",  # type: ignore[arg-type]
        ),
        "GaussianMixture: weights or logits ... got both": lambda: GaussianMixture(
            MEANS, weights=torch.ones(4), logits=torch.zeros(4)
        ),
        "GaussianMixture: scale_tril ... 'full' or 'tied' only ... covariance='diagonal'": lambda: GaussianMixture(
            MEANS, scale_tril=torch.eye(3)
        ),
        "GaussianMixture: scale_tril ... in place of scale; got it with scale": lambda: GaussianMixture(
            MEANS, 1.0, scale_tril=torch.eye(3), covariance="tied"
        ),
        "GaussianMixture: positive weights are expected; got [1.0, 0.0": lambda: GaussianMixture(
            MEANS, weights=torch.tensor([1.0, 0.0, 1.0, 1.0])
        ),
        "GaussianMixture.from_data: covariance ... got 'none'": lambda: GaussianMixture.from_data(
            POINTS,
            2,
            covariance="none",  # type: ignore[arg-type]
        ),
        "GaussianMixture.from_data: count_components ... at least 1; got 0": lambda: GaussianMixture.from_data(
            POINTS, 0
        ),
        "GaussianMixture.from_data: at least 3 distinct points are expected; got 2": lambda: GaussianMixture.from_data(
            POINTS, 3
        ),
        "GaussianMixture.from_data: data that are finite": lambda: GaussianMixture.from_data(POINTS.log(), 1),
        "Product: at least one part ... got none": lambda: Product([]),
    },
    OptionTypeError: {
        "GaussianMixture: loc ... Tensor; got list": lambda: GaussianMixture([[0.0]]),  # type: ignore[arg-type]
        "GaussianMixture.from_data: x ... Tensor; got list": lambda: GaussianMixture.from_data(
            [[0.0]],  # type: ignore[arg-type]
            1,
        ),
        "GaussianMixture.from_data: count_components ... an integer; got 2.0": lambda: GaussianMixture.from_data(
            POINTS,
            2.0,  # type: ignore[arg-type]
        ),
        "Product: part 1 ... a Distribution; got int": lambda: Product([DiagNormal(2), 3]),  # type: ignore[list-item]
    },
}
