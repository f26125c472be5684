"""Distribution functions: against scipy, torch.distributions, mpmath and autodiff."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import mpmath
import pytest
import torch
from scipy import special, stats

from flowtorch.errors import OptionError
from flowtorch.ops.cdf import DISTRIBUTIONS, cdf
from tests.ops import exactness
from tests.ops.exactness import Exact

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
DF = 3.0
SCIPY = {
    "student_t": partial(stats.t, DF),
    "normal": stats.norm,
    "logistic": stats.logistic,
    "laplace": stats.laplace,
    "cauchy": stats.cauchy,
    "gumbel": stats.gumbel_r,
}
Function = Callable[[mpmath.mpf], mpmath.mpf]


def _logistic(z: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-z))


def _laplace(z: mpmath.mpf) -> mpmath.mpf:
    return mpmath.exp(z) / 2 if z < 0 else 1 - mpmath.exp(-z) / 2


def _t_tail(z: mpmath.mpf) -> mpmath.mpf:
    u = z / mpmath.sqrt(3)
    return mpmath.mpf(1) / 2 - (u / (1 + u * u) + mpmath.atan(u)) / mpmath.pi


def of(name: str) -> dict[str, float]:
    """The degrees of freedom of the distribution that has some."""
    return {"df": DF} if name == "student_t" else {}


EXACT: dict[str, tuple[Function, Function]] = {
    "normal": (lambda z: mpmath.erfc(-z / mpmath.sqrt(2)) / 2, mpmath.npdf),
    "logistic": (_logistic, lambda z: _logistic(z) * _logistic(-z)),
    "laplace": (_laplace, lambda z: mpmath.exp(-abs(z)) / 2),
    "cauchy": (lambda z: mpmath.atan2(1, -z) / mpmath.pi, lambda z: 1 / (mpmath.pi * (1 + z * z))),
    "gumbel": (lambda z: mpmath.exp(-mpmath.exp(-z)), lambda z: mpmath.exp(-z - mpmath.exp(-z))),
}
EXACT["student_t"] = (
    lambda z: 1 - _t_tail(z) if z > 0 else _t_tail(-z),
    lambda z: 2 / (mpmath.pi * mpmath.sqrt(3) * (1 + z * z / 3) ** 2),
)
every_one = pytest.mark.parametrize("name", DISTRIBUTIONS)


def _case(name: str, loc: float = 0.0, scale: float = 1.0) -> Exact:
    function, density = EXACT[name]
    return Exact(
        partial(cdf, distribution=name, loc=loc, scale=scale, **of(name)),
        lambda x: function((x - mpmath.mpf(loc)) / mpmath.mpf(scale)),
        lambda x: density((x - mpmath.mpf(loc)) / mpmath.mpf(scale)) / mpmath.mpf(scale),
        codomain=(0.0, 1.0),
        # The log-density of a Gumbel is -exp(1e3) at -1e3.
        extremes=exactness.EXTREMES if name != "gumbel" else (-30.0, -1e-8, 0.0, 1e-8, 30.0, 1e3, 1e6),
        points=exactness.REAL if name != "gumbel" else (-2.5, -1.5, -0.4, -1e-3, 1e-3, 0.7, 3.0, 5.5),
        # 1 - y has few digits in the upper tail of float32.
        upward=(-2.5, -1.2, -0.4, -1e-3, 1e-3, 0.7, 1.5, 2.5),
    )


@every_one
def test_cdf(name: str) -> None:
    exactness.all_checks(_case(name))
    exactness.inverse_survives_extremes(_case(name), (1e-15, 1e-8, 0.25, 0.5, 0.75, 1.0 - 2.0**-24))


@every_one
def test_integrates_to_one(name: str) -> None:
    exactness.integrates_to_one(_case(name, 0.5, 4.0), exactness.standard_normal)


@every_one
def test_agrees_with_scipy_far_into_the_tails(name: str) -> None:
    x = torch.linspace(-9.0, 30.0, 157, dtype=torch.float64)
    y, log_density = cdf(x, name, 0.5, 2.0, **of(name))  # type: ignore[arg-type]  # one of the names
    known = SCIPY[name](loc=0.5, scale=2.0)
    torch.testing.assert_close(y, torch.from_numpy(known.cdf(x.numpy())), rtol=1e-12, atol=0.0)
    torch.testing.assert_close(log_density, torch.from_numpy(known.logpdf(x.numpy())), rtol=1e-12, atol=1e-13)
    least = 1e-300 if name != "student_t" else 1e-90  # where scipy has quantiles
    u = torch.tensor([least, 1e-30, 1e-8, 0.1, 0.5, 0.75, 1.0 - 1e-8], dtype=torch.float64)
    quantile, log_derivative = cdf(u, name, 0.5, 2.0, inverse=True, **of(name))  # type: ignore[arg-type]  # one of the names
    torch.testing.assert_close(quantile, torch.from_numpy(known.ppf(u.numpy())), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(log_derivative, -torch.from_numpy(known.logpdf(quantile.numpy())), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("name", ["normal", "laplace", "cauchy", "gumbel"])
def test_agrees_with_torch(name: str) -> None:
    known = getattr(torch.distributions, name.capitalize())(torch.tensor(0.5).double(), torch.tensor(2.0).double())
    x = torch.linspace(-4.0, 6.0, 21, dtype=torch.float64)
    y, log_density = cdf(x, name, 0.5, 2.0, **of(name))  # type: ignore[arg-type]  # one of the names
    torch.testing.assert_close(y, known.cdf(x))
    torch.testing.assert_close(log_density, known.log_prob(x))
    torch.testing.assert_close(cdf(y, name, 0.5, 2.0, inverse=True)[0], known.icdf(y))  # type: ignore[arg-type]


def test_gumbel_where_its_density_is_beyond_the_dtype() -> None:
    x = torch.tensor([-1e6, -1e3, -math.inf], requires_grad=True)
    y, log_derivative = cdf(x, "gumbel")
    assert (y > 0).all() and log_derivative.isneginf().all()
    assert not torch.autograd.grad(y.sum() + log_derivative.sum(), x)[0].any()


@every_one
def test_the_slope_at_zero_is_right(name: str) -> None:
    zero = torch.zeros((), dtype=torch.float64)
    value, log_derivative = torch.func.grad(lambda t: cdf(t, name, **of(name))[0])(zero), cdf(zero, name, **of(name))[1]  # type: ignore[arg-type]
    assert value.log().item() == pytest.approx(log_derivative.item(), rel=1e-14)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="one of normal, .* is expected; got 'uniform'"):
        cdf(torch.zeros(1), "uniform")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(OptionError, match="scale above 0 is expected; got -1"):
        cdf(torch.zeros(1), "normal", 0.0, -1.0)
    for name, df in (("student_t", None), ("student_t", 0.0), ("normal", 3.0)):
        with pytest.raises(OptionError, match="df above 0 is expected for 'student_t', and for no other; got"):
            cdf(torch.zeros(1), name, df=df)  # type: ignore[arg-type]  # one of the names


@pytest.mark.parametrize("df", [0.3, 0.99, 1.5, 5.9, 12.0, 30.0, 30.5, 1000.0])
def test_student_t_of_any_degrees_of_freedom(df: float) -> None:
    x = torch.tensor([-1e3, -30.0, -3.0, -0.5, 0.0, 0.3, 1.0, 6.0], dtype=torch.float64)
    y, log_density = cdf(x, "student_t", df=df)
    torch.testing.assert_close(log_density, torch.from_numpy(stats.t.logpdf(x.numpy(), df)), rtol=1e-11, atol=1e-11)
    tail = 0.5 * special.betainc(0.5 * df, 0.5, df / (df + x.numpy() ** 2))
    torch.testing.assert_close(
        y, torch.where(x < 0, 1.0, -1.0) * torch.from_numpy(tail) + (x >= 0), rtol=2e-12, atol=1e-15
    )
    u = torch.tensor([1e-30, 1e-8, 0.1, 0.5, 0.75, 0.99], dtype=torch.float64)
    quantile, _ = cdf(u, "student_t", df=df, inverse=True)
    torch.testing.assert_close(cdf(quantile, "student_t", df=df)[0], u, rtol=1e-11, atol=1e-14)
