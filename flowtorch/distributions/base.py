"""How a flow carries its base: a module holds the arguments and rebuilds the distribution from them.

A ``torch.distributions`` object is no module: kept as it is, it would stay behind on ``.to()`` and ``.double()``, and
be missing from the ``state_dict``. Its attributes are not its arguments either (expanded tensors, derived matrices), so
what to keep is known by type.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import distributions as td
from torch.distributions import Distribution, Transform, constraints, transform_to, transforms

from .. import options
from ..errors import BaseError

# For each type, its constructor's arguments and the attributes that hold them.
_ARGUMENTS: dict[type, dict[str, str]] = {}


def register_base(cls: type, *arguments: str, **renamed: str) -> None:
    """Tells flows how to carry a distribution (or a transform within one).

    Args:
        cls: the class; subclasses are registered on their own.
        arguments: the names of constructor arguments that attributes of the same name hold.
        renamed: constructor arguments held by attributes of another name.

    Raises:
        BaseError: if ``cls`` is no class of distributions or transforms.

    Example:
        >>> register_base(torch.distributions.Gumbel, "loc", "scale")
    """
    if not (isinstance(cls, type) and issubclass(cls, Distribution | Transform)):
        raise BaseError(f"register_base: a class of distributions or transforms is expected; got {options.short(cls)}.")
    _ARGUMENTS[cls] = {name: name for name in arguments} | renamed


for _names, _classes in {
    ("loc", "scale"): (td.Normal, td.Laplace, td.Cauchy, td.Gumbel, td.LogNormal, td.LogisticNormal),
    ("concentration1", "concentration0"): (td.Beta, td.Kumaraswamy),
    ("concentration", "rate"): (td.Gamma, td.InverseGamma),
    ("scale",): (td.HalfNormal, td.HalfCauchy),
    ("low", "high"): (td.Uniform,),
    ("df", "loc", "scale"): (td.StudentT,),
    ("df",): (td.Chi2,),
    ("df1", "df2"): (td.FisherSnedecor,),
    ("rate",): (td.Exponential,),
    ("scale", "alpha"): (td.Pareto,),
    ("scale", "concentration"): (td.Weibull,),
    ("loc", "concentration"): (td.VonMises,),
    ("concentration",): (td.Dirichlet,),
    ("loc", "scale_tril"): (td.MultivariateNormal,),
    ("loc", "cov_factor", "cov_diag"): (td.LowRankMultivariateNormal,),
    ("logits",): (td.Categorical,),
    ("mixture_distribution", "component_distribution"): (td.MixtureSameFamily,),
    ("loc", "scale", "event_dim"): (transforms.AffineTransform,),
    ("exponent",): (transforms.PowerTransform,),
    ("parts",): (transforms.ComposeTransform,),
    ("base_transform", "reinterpreted_batch_ndims"): (transforms.IndependentTransform,),
    (): (transforms.ExpTransform, transforms.SigmoidTransform, transforms.TanhTransform, transforms.SoftplusTransform),
}.items():
    for _cls in _classes:
        register_base(_cls, *_names)
register_base(td.Independent, "reinterpreted_batch_ndims", base_distribution="base_dist")
register_base(td.TransformedDistribution, "transforms", base_distribution="base_dist")
register_base(transforms._InverseTransform, transform="_inv")


class Carried(torch.nn.Module):
    """A distribution's arguments: tensors as buffers (or parameters), distributions within as modules of this kind.

    Args:
        carried: the distribution or transform.
        learn: whether its tensors become parameters, kept within their constraints.
        depth: how deep it is nested.

    Raises:
        BaseError: for tensors that are computed from others that require gradients, or arguments that cannot be learnt.
    """

    def __init__(self, carried: Distribution | Transform, learn: bool, depth: int = 0) -> None:
        super().__init__()
        self._depth = depth
        self._cls = type(carried)
        self._constants: dict[str, Any] = {}
        self._constraints: dict[str, constraints.Constraint] = {}
        self._lists: dict[str, int] = {}
        for argument, attribute in _ARGUMENTS[self._cls].items():
            value = getattr(carried, attribute)
            if isinstance(value, torch.Tensor):
                learnt = isinstance(carried, Distribution) and learn and argument not in _fixed(carried)
                constraint = _constraint(carried, argument) if learnt else None
                self._hold_tensor(argument, value, constraint)
            elif isinstance(value, list | tuple):
                self._lists[argument] = len(value)
                for i, part in enumerate(value):
                    self._hold_part(f"{argument}_{i}", part, learn)
            else:
                self._hold_part(argument, value, learn)

    def _hold_tensor(self, argument: str, value: torch.Tensor, constraint: constraints.Constraint | None) -> None:
        who = f"Flow: the base's {self._cls.__name__}.{argument}"
        if value.requires_grad:
            raise BaseError(
                f"{who} is expected to be a plain tensor; got one that requires gradients. To train the base, pass "
                "plain "
                "values and learn_base=True."
            )
        # A copy of its own and contiguous: expanded tensors share memory between entries.
        value = value.detach().contiguous().clone()
        if constraint is None or not value.is_floating_point():
            self.register_buffer(argument, value)
            return
        try:
            free = transform_to(constraint).inv(value)
        except NotImplementedError:
            raise BaseError(
                f"{who} is expected to have a constraint of its own to be learnt; got {constraint}."
            ) from None
        self._constraints[argument] = constraint
        self.register_parameter(argument, torch.nn.Parameter(free))

    def _hold_part(self, name: str, value: Any, learn: bool) -> None:
        if type(value) in _ARGUMENTS:
            self.add_module(name, Carried(value, learn, self._depth + 1))
        elif isinstance(value, torch.nn.Module):
            self.add_module(name, value)
        else:
            if _holds_tensors(value):
                _warn_kept(value, 6 + 2 * self._depth)
            self._constants[name] = _without_validation(value) if isinstance(value, Distribution) else value

    def _value(self, name: str) -> Any:
        if name in self._constants:
            return self._constants[name]
        value = getattr(self, name)
        if isinstance(value, Carried):
            return value()
        if name in self._constraints:
            return transform_to(self._constraints[name])(value)
        return value

    def forward(self) -> Any:
        """Returns the distribution, rebuilt."""
        arguments = {}
        for name in _ARGUMENTS[self._cls]:
            count = self._lists.get(name)
            arguments[name] = self._value(name) if count is None else [self._value(f"{name}_{i}") for i in range(count)]
        if issubclass(self._cls, Distribution):
            arguments["validate_args"] = False
        make: Callable[..., Any] = self._cls
        return make(**arguments)

    def describe(self) -> dict[str, Any]:
        """Returns type and arguments as plain data; of tensors only whether they are learnt, as the state has them.

        Raises:
            BaseError: for what is neither a tensor nor plain nor of a registered type.
        """
        found: dict[str, Any] = {}
        for name in _ARGUMENTS[self._cls]:
            count = self._lists.get(name)
            parts = [name] if count is None else [f"{name}_{i}" for i in range(count)]
            described = [self._describe_part(part) for part in parts]
            found[name] = described[0] if count is None else {"list": described}
        return {"type": _full_name(self._cls), "arguments": found}

    def _describe_part(self, name: str) -> dict[str, Any]:
        value = self._constants[name] if name in self._constants else getattr(self, name)
        if isinstance(value, Carried):
            return {"distribution": value.describe()}
        if isinstance(value, torch.Tensor):
            return {"learnt" if name in self._constraints else "tensor": name}
        return {"value": _plain(value, f"{self._cls.__name__}.{name}")}


def undescribed(described: Any, tensor: Callable[[str], torch.Tensor]) -> Distribution | Transform:
    """Returns the distribution that :meth:`Carried.describe` described.

    Args:
        described: the description.
        tensor: gives the tensor that the state has under a name.

    Raises:
        BaseError: for an unregistered type, or a description of another form.
    """
    classes = {_full_name(cls): cls for cls in _ARGUMENTS}
    name = described.get("type") if isinstance(described, dict) else None
    cls = classes.get(name) if isinstance(name, str) else None
    given = described.get("arguments") if cls is not None else None
    if cls is None or not isinstance(given, dict) or list(given) != list(_ARGUMENTS[cls]):
        raise BaseError(f"Flow: a base of a registered type, with its arguments, is expected; got {described!r:.80}.")
    found: dict[str, Any] = {} if issubclass(cls, Transform) else {"validate_args": False}
    for argument, value in given.items():
        if isinstance(value, dict) and isinstance(value.get("list"), list):
            parts = enumerate(value["list"])
            found[argument] = [_undescribed_part(cls, argument, f"{argument}_{i}", part, tensor) for i, part in parts]
        else:
            found[argument] = _undescribed_part(cls, argument, argument, value, tensor)
    make: Callable[..., Any] = cls
    return cast("Distribution | Transform", make(**found))


def _undescribed_part(
    cls: type, argument: str, name: str, part: object, tensor: Callable[[str], torch.Tensor]
) -> object:
    kind, content = next(iter(part.items())) if isinstance(part, dict) and len(part) == 1 else (None, part)
    if kind == "distribution":
        return undescribed(content, lambda within: tensor(f"{name}.{within}"))
    if kind == "tensor":
        return tensor(name)
    if kind == "learnt":
        return transform_to(cast("dict[str, Any]", getattr(cls, "arg_constraints", {}))[argument])(tensor(name))
    if kind == "value":
        return _as_tuples(content)
    raise BaseError(f"Flow: an argument of {cls.__name__} is expected; got {argument} = {part!r:.80}.")


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: object, where: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(v, where) for v in value]
    raise BaseError(f"Flow: a base of tensors and plain values is expected; got {where} = {options.short(value)}.")


def _as_tuples(value: object) -> object:
    if isinstance(value, dict):
        return float(value["float"])
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


class Kept(torch.nn.Module):
    """A distribution of a type that is not registered, kept as it is, but for its validation, which is the flow's."""

    def __init__(self, kept: Distribution) -> None:
        super().__init__()
        self._kept = _without_validation(kept)

    def tensors(self) -> list[torch.Tensor]:
        """Returns the tensors that the distribution holds itself, for their type."""
        return [v for v in vars(self._kept).values() if isinstance(v, torch.Tensor)]

    def forward(self) -> Distribution:
        """Returns the distribution."""
        return self._kept


def carry(base: Distribution, learn: bool) -> Carried | Kept:
    """Returns the module that rebuilds ``base``.

    Raises:
        BaseError: if it cannot be carried, or is to be learnt and its type is not registered.
    """
    if type(base) in _ARGUMENTS:
        return Carried(base, learn)
    if learn:
        raise BaseError(
            f"Flow: learn_base=True is expected with a registered type of base; got {type(base).__name__}. Register "
            "it: "
            f"{_registration(base)}."
        )
    _warn_kept(base, 4)
    return Kept(base)


def _constraint(carried: Distribution | Transform, argument: str) -> constraints.Constraint:
    found: object = getattr(type(carried), "arg_constraints", None)
    # Where they depend on each other's values, as the ends of an interval do, torch has a property here.
    constraint: constraints.Constraint | None = found.get(argument) if isinstance(found, Mapping) else None
    if constraint is None or constraints.is_dependent(constraint):
        raise BaseError(
            f"Flow: learn_base=True is expected with arguments that have constraints of their own; got "
            f"{type(carried).__name__}.{argument}, whose constraint depends on others."
        )
    return constraint


def _fixed(carried: Distribution | Transform) -> tuple[str, ...]:
    """Returns the names of arguments that are not learnt, as a class of ours may declare them: a box stays as it is."""
    found: tuple[str, ...] = getattr(carried, "fixed", ())
    return found


def _without_validation(kept: Distribution) -> Distribution:
    kept = copy.copy(kept)
    kept._validate_args = False
    return kept


def _holds_tensors(value: Any) -> bool:
    """Returns whether something within ``value`` would be left behind when the flow is moved or saved."""
    if isinstance(value, torch.Tensor | torch.nn.Module | Distribution):
        return True
    if isinstance(value, Transform):
        # Under _inv a transform keeps its inverse, which refers back to it.
        return any(_holds_tensors(v) for k, v in vars(value).items() if k != "_inv")
    return isinstance(value, list | tuple) and any(map(_holds_tensors, value))


def called(base: object) -> str:
    """Returns what to call a base in a message: an ``Independent`` with what is independent."""
    return f"Independent({called(base.base_dist)})" if type(base) is td.Independent else type(base).__name__


def _registration(value: object) -> str:
    return f"flowtorch.distributions.register_base({type(value).__name__}, *names of its constructor's arguments)"


def _warn_kept(value: object, stacklevel: int) -> None:
    warnings.warn(
        f"Flow: the base's {type(value).__name__} is not of a registered type and is kept as it is: it will not "
        "follow .to() "
        f"or be in the state_dict. Register it with {_registration(value)}.",
        stacklevel=stacklevel,
    )
