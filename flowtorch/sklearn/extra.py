"""What is used of scikit-learn and of training, or an error that says how to install it."""

from __future__ import annotations

try:
    from sklearn.base import BaseEstimator as BaseEstimator  # type: ignore[import-untyped]  # scikit-learn has no types
    from sklearn.base import DensityMixin as DensityMixin
    from sklearn.utils import check_array as check_array  # type: ignore[import-untyped]  # as above
    from sklearn.utils import check_consistent_length as check_consistent_length
    from sklearn.utils import check_random_state as check_random_state
    from sklearn.utils.validation import check_is_fitted as check_is_fitted  # type: ignore[import-untyped]  # as above
    from sklearn.utils.validation import validate_data as validate_data
except ImportError as error:
    raise ImportError(
        "flowtorch.sklearn: scikit-learn is expected; pip install 'flowtorch[sklearn]' installs it."
    ) from error

# After it, so that who has neither is told of the extra that brings both.
from ..train import Fitted as Fitted
from ..train import fit as fit
