"""The conformance kit: what every bijector is held to, for authors inside and outside of flowtorch."""

from .check import check_bijector as check_bijector
from .jacobian import autodiff_jacobian as autodiff_jacobian
from .jacobian import autodiff_log_det as autodiff_log_det
from .sampling import perturb as perturb
from .sampling import sample_in as sample_in

__all__ = ["autodiff_jacobian", "autodiff_log_det", "check_bijector", "perturb", "sample_in"]
