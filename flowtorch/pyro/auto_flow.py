"""A flow as the guide of any Pyro model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypedDict

import torch
from torch.distributions import biject_to

from .. import options
from ..bijectors import Affine, Bijector, BoundBijector, BoundCompose, Compose, LowerCholeskyAffine
from ..bijectors.bound import as_plan
from ..distributions import DiagNormal, Flow
from ..errors import DomainError, NotSupportedError, OptionError
from ..objectives.draws import LogDensity
from ..ops.affine import ScaleFn
from .distribution import PyroDistribution, to_pyro
from .extra import AutoContinuous, init_to_median, poutine, pyro
from .store import register


class _Scale(TypedDict):
    """The options of a scale."""

    scale_fn: ScaleFn
    log_scale_min_clip: float
    log_scale_max_clip: float


_UNBOUNDED: _Scale = {"scale_fn": "exp", "log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf}


class AutoFlow(AutoContinuous):
    r"""A guide for any model of continuous latent variables: a flow over all of them together, unconstrained.

    .. math:: x = \mu + s \odot f(z), \quad z \sim \mathcal{N}(0, I), \qquad \theta_i = t_i(x_i)

    with the plan's :math:`f`, location and scales that are learnt, too, and Pyro's bijections :math:`t_i` onto the
    supports of the sites. As with every automatic guide of Pyro's, shapes are found when it is first called: by running
    the model, which also gives the location to start from.

    Of densities with heavy tails some draws lie far out, with gradients to match: ``pyro.optim.ClippedAdam`` keeps them
    from stopping it.

    It works with Pyro's ``SVI`` and all of its bounds (with ``vectorize_particles=True`` in one pass), ``Predictive``,
    ``NeuTraReparam``, ``AutoGuideList``, importance sampling; a saved param store that is loaded is taken over.

    Args:
        model: a Pyro model; its latent variables are the same ones at each call.
        plan: of the flow over all of them, a vector.
        init_loc_fn: where each site starts; one of ``pyro.infer.autoguide.initialization``.
        init_scale: s, of the unconstrained coordinates at the start.
        laplace: starts at the mode, which is looked for from there, with the scales and correlations of the Hessian:
            :math:`x = \mu + s \odot L f(z)` with a lower triangular :math:`L` that is learnt as well. For densities
            with a mode that matters, up to a thousand coordinates.
        path_derivative: leaves the score out of the gradient of ``Trace_ELBO``, as does
            :func:`flowtorch.objectives.reverse_kl`: training ends nearer to the optimum. It costs a pass of the
            inverse direction, step by step for :func:`flowtorch.flows.iaf`.
        draws: how many draws :meth:`median` and :meth:`quantiles` take.

    Raises:
        OptionError, OptionTypeError: for options out of range, or of another kind.
        DomainError: when called, with ``laplace=True``, where the density has no peak.
        ShapeError: when called, if the plan does not fit the latent variables, or the param store holds parameters of
            other shapes under its name.

    Example:
        >>> import pyro, pyro.distributions as pd, flowtorch.flows as flows
        >>> def model(data):
        ...     scale = pyro.sample("scale", pd.LogNormal(0.0, 1.0))
        ...     with pyro.plate("rows", 3):
        ...         pyro.sample("data", pd.Normal(0.0, scale), obs=data)
        >>> guide = AutoFlow(model, flows.iaf(layers=1))
        >>> svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO())
        >>> loss = svi.step(torch.tensor([0.1, -0.2, 0.1]))

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770;
        Automatic Differentiation Variational Inference (Kucukelbir et al., 2017), https://arxiv.org/abs/1603.00788.
    """

    def __init__(
        self,
        model: Callable[..., object],
        plan: Bijector,
        *,
        init_loc_fn: Callable[..., object] = init_to_median,
        init_scale: float = 1.0,
        laplace: bool = False,
        path_derivative: bool = True,
        draws: int = 10_000,
    ) -> None:
        plan = as_plan("AutoFlow", plan)
        options.number("AutoFlow", "init_scale", init_scale, above=0)
        options.boolean("AutoFlow", "laplace", laplace)
        options.boolean("AutoFlow", "path_derivative", path_derivative)
        options.integer("AutoFlow", "draws", draws, minimum=1)
        super().__init__(model, init_loc_fn=init_loc_fn)  # type: ignore[no-untyped-call]  # Pyro's own
        self._plan, self.init_scale, self.draws = plan, init_scale, draws
        self.laplace, self.path_derivative = laplace, path_derivative

    @property
    def plan(self) -> Bijector:
        """The plan this was made with."""
        return self._plan

    @property
    def flow(self) -> Flow:
        """The flow over the unconstrained latent variables, in Pyro's order of the sites.

        Raises:
            NotSupportedError: before the guide was called for the first time.
        """
        flow = self._modules.get("_flow")
        if not isinstance(flow, Flow):
            raise NotSupportedError(
                "AutoFlow.flow: a guide that was called once is expected; got one that was not yet."
            )
        return flow

    def _setup_prototype(self, *args: object, **kwargs: object) -> None:
        super()._setup_prototype(*args, **kwargs)  # type: ignore[no-untyped-call]  # Pyro's own
        loc: torch.Tensor = self._init_loc()  # type: ignore[no-untyped-call]  # Pyro's own
        scale, layers, start = torch.ones_like(loc), [self._plan], []
        if self.laplace:
            loc, matrix = _laplace(self.log_density(*args, **kwargs), loc)
            scale = matrix.norm(dim=1)
            matrix = matrix / scale[:, None]
            row, column = torch.triu_indices(len(loc), len(loc), 1)
            layers.append(LowerCholeskyAffine(bias=False, **_UNBOUNDED))
            start.append(torch.cat([matrix.diagonal().log(), matrix[column, row]]))
        layers.append(Affine(**_UNBOUNDED))
        start += [loc, (self.init_scale * scale).log()]
        # The param store has no place for what is drawn when a plan is bound, such as permutations: always the same.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._flow = Flow(DiagNormal(loc.numel()), Compose(layers)).to(loc)
        bound = self._flow.bijector
        assert isinstance(bound, BoundCompose)
        last = [p for part in list(bound.parts)[1:] for p in part.parameters()]
        with torch.no_grad():
            for parameter, value in zip(last, start, strict=True):
                parameter.copy_(value)

    def log_density(self, *args: object, **kwargs: object) -> LogDensity:
        r"""Returns the model's unnormalised log-density of the unconstrained latent variables, at given arguments.

        It is what the functions of :mod:`flowtorch.objectives` take together with :attr:`flow`.

        .. math:: \log \tilde p(x) = \log p(\mathrm{data}, t(x)) + \log|\det dt/dx|

        Args:
            *args: of the model.
            **kwargs: of the model.

        Returns:
            A function of ``(*batch, D)`` to ``(*batch)``, which runs the model once, with all of the batch in a plate
            outside of its own.

        Raises:
            NotSupportedError: before the guide was called for the first time.

        Example:
            >>> import pyro, pyro.distributions as pd, flowtorch.bijectors as bij
            >>> from flowtorch import objectives
            >>> guide = AutoFlow(lambda: pyro.sample("scale", pd.LogNormal(0.0, 1.0)), bij.Affine())
            >>> _ = guide()
            >>> objectives.reverse_kl(guide.flow, guide.log_density(), 16).backward()
        """
        if self.prototype_trace is None:
            raise NotSupportedError("AutoFlow.log_density: a guide that was called once is expected; got another.")
        with poutine.block():
            sites = poutine.trace(self.model).get_trace(*args, **kwargs).nodes.values()
        frames = [frame for site in sites if site["type"] == "sample" for frame in site["cond_indep_stack"]]
        plates = max((-frame.dim for frame in frames if frame.vectorized), default=0)

        def log_density(latent: torch.Tensor) -> torch.Tensor:
            rows = latent.reshape(-1, *[1] * plates, latent.shape[-1])
            count, values, total = len(rows), {}, rows.new_zeros(len(rows))
            for site, x in self._unpack_latent(rows):  # type: ignore[no-untyped-call]  # Pyro's own
                transform = biject_to(site["fn"].support)
                values[site["name"]] = value = transform(x)
                total = total + transform.log_abs_det_jacobian(x, value).reshape(count, -1).sum(-1)
            model = poutine.trace(poutine.condition(self.model, data=values))
            with poutine.block(), pyro.plate("_AutoFlow_draws", count, dim=-1 - plates):
                trace = model.get_trace(*args, **kwargs)
            trace.compute_log_prob(lambda name, site: name != "_AutoFlow_draws")
            for site in trace.nodes.values():
                if "log_prob" in site:
                    found = site["log_prob"]
                    total = total + (found.reshape(count, -1).sum(-1) if found.dim() > plates else found.sum())
            return total.reshape(latent.shape[:-1])

        return log_density

    def get_base_dist(self) -> PyroDistribution:
        """Returns the base distribution, of which :meth:`get_transform` makes the posterior."""
        return to_pyro(self.flow.base_dist)

    def get_transform(self, *args: object, **kwargs: object) -> BoundBijector[Bijector]:
        """Returns the flow's bijector."""
        return self.flow.bijector

    def get_posterior(self, *args: object, **kwargs: object) -> PyroDistribution:
        """Returns the distribution of the unconstrained latent variables, a vector."""
        if self._pyro_context.used and not pyro.settings.get("module_local_params"):
            register("AutoFlow", self._pyro_get_fullname("_flow"), self.flow)
        return to_pyro(self.flow, path_derivative=self.path_derivative)

    @torch.no_grad()
    def median(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        """Returns the median of each coordinate of each site, of as many draws as ``draws`` says.

        Example:
            >>> import pyro, pyro.distributions as pd, flowtorch.bijectors as bij
            >>> guide = AutoFlow(lambda: pyro.sample("scale", pd.LogNormal(0.0, 1.0)), bij.Affine())
            >>> _ = guide()
            >>> guide.median()["scale"].shape
            torch.Size([])
        """
        return {name: values[0] for name, values in self.quantiles([0.5], *args, **kwargs).items()}

    @torch.no_grad()
    def quantiles(
        self, quantiles: Iterable[float] | torch.Tensor, *args: object, **kwargs: object
    ) -> dict[str, torch.Tensor]:
        """Returns quantiles of each coordinate of each site, of as many draws as ``draws`` says.

        Args:
            quantiles: numbers between 0 and 1.
            *args: of the model.
            **kwargs: of the model.

        Returns:
            For each site ``(len(quantiles), *shape)``.

        Raises:
            NotSupportedError: before the guide was called for the first time.
            OptionError: for others.
        """
        latent = self.get_posterior(*args, **kwargs).sample((self.draws,))
        levels = torch.as_tensor(quantiles, dtype=latent.dtype, device=latent.device)
        if not bool(((levels >= 0) & (levels <= 1)).all()):
            raise OptionError(f"AutoFlow.quantiles: numbers between 0 and 1 are expected; got {quantiles}.")
        position = levels * (self.draws - 1)
        below, above = position.floor().long(), position.ceil().long()
        # Draws stand to the left of all of the model's plates.
        plates = max(len(shape) for shape in self._unconstrained_shapes.values())
        found = {}
        rows = latent.unflatten(0, (self.draws, *[1] * plates))
        for site, value in self._unpack_latent(rows):  # type: ignore[no-untyped-call]  # Pyro's own
            values = biject_to(site["fn"].support)(value).reshape(self.draws, *site["value"].shape)
            ordered = values.sort(0).values  # torch.quantile refuses more than 16 million entries
            weight = (position - below).reshape(-1, *[1] * (values.dim() - 1))
            found[site["name"]] = ordered[below].lerp(ordered[above], weight)
        return found


def _laplace(log_density: LogDensity, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mode near a start, and a lower triangular root of the inverse of the Hessian there."""
    mode = start.detach().clone().requires_grad_()
    search = torch.optim.LBFGS([mode], max_iter=1_000, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        loss = -log_density(mode)
        (mode.grad,) = torch.autograd.grad(loss, mode)
        return loss.detach()

    with torch.enable_grad():  # the guide may be called first without
        search.step(closure)
        mode = mode.detach()
        hessian = -torch.autograd.functional.hessian(log_density, mode)
    root, failed = torch.linalg.cholesky_ex(hessian)
    if bool(failed) or not bool(root.isfinite().all()):
        raise DomainError(
            "AutoFlow: a model whose density has a peak is expected with laplace=True; got a Hessian that is not "
            "negative definite where the search for one ended."
        )
    return mode, torch.linalg.cholesky(torch.cholesky_inverse(root))
