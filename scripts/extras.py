"""What scripts/extras runs in an environment with one extra: uses its part, and asks the others which they want."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist

# The module that an extra is for, and the library that it needs first.
PARTS = {
    "plot": ("flowtorch.plot", "matplotlib"),
    "train": ("flowtorch.train", "lightning"),
    "cli": ("flowtorch.yaml", "yaml"),
    "export": ("flowtorch.export", "onnxscript"),
    "pyro": ("flowtorch.pyro", "pyro"),
    "sbi": ("flowtorch.sbi", "sbi"),
    "sklearn": ("flowtorch.sklearn", "sklearn"),
}


def flow() -> dist.Flow:
    return dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())


def nothing() -> None:
    assert flow().sample((3,)).shape == (3, 2)


def plot() -> None:
    import flowtorch.plot

    flowtorch.plot.density(flow(), 10).savefig(Path(tempfile.mkdtemp(), "density.png"))


def train() -> None:
    import flowtorch.train

    flowtorch.train.fit(flow(), torch.randn(200, 2), max_steps=5, progress=False)


def cli() -> None:
    from flowtorch.cli import main

    folder = Path(tempfile.mkdtemp())
    rows = "\n".join(f"{a:.6f},{b:.6f}" for a, b in torch.randn(300, 2).tolist())
    (folder / "x.csv").write_text("a,b\n" + rows + "\n")
    made = str(folder / "x.flow")
    assert main(["fit", str(folder / "x.csv"), "-o", made, "--max-steps", "5"]) == 0
    assert main(["sample", made, "-n", "3", "-o", str(folder / "s.csv")]) == 0


def export() -> None:
    import flowtorch.export

    flowtorch.export.to_onnx(flow(), Path(tempfile.mkdtemp(), "density.onnx"))


def pyro() -> None:
    import pyro

    import flowtorch.pyro

    assert pyro.sample("x", flowtorch.pyro.to_pyro(flow())).shape == (2,)


def sbi() -> None:
    import flowtorch.sbi

    estimator = flowtorch.sbi.posterior_nn()(torch.randn(50, 2), torch.randn(50, 3))
    assert estimator.sample((4,), torch.zeros(1, 3)).shape == (4, 1, 2)


def sklearn() -> None:
    import flowtorch.sklearn

    x = torch.randn(200, 2).numpy()
    assert flowtorch.sklearn.FlowDensity(max_epochs=1).fit(x).score_samples(x).shape == (200,)


USES: dict[str, Callable[[], None]] = {
    "none": nothing,
    "plot": plot,
    "train": train,
    "cli": cli,
    "export": export,
    "pyro": pyro,
    "sbi": sbi,
    "sklearn": sklearn,
}


def missing(extra: str) -> None:
    """Uses the part of an extra that is not there: the error has to name it."""
    module, library = PARTS[extra]
    try:
        if extra == "export":  # programs need nothing, so the part itself is there
            USES[extra]()
        else:
            importlib.import_module(module)
    except ImportError as error:
        assert f"flowtorch[{extra}]" in str(error), error
        return
    raise AssertionError(f"{module}: an ImportError is expected without {library}; got none.")


if __name__ == "__main__":
    extra = sys.argv[1]
    assert "site-packages" in (flowtorch.__file__ or ""), flowtorch.__file__
    loaded = [library for _, library in PARTS.values() if library in sys.modules]
    assert not loaded, f"import flowtorch loads {loaded}"
    warnings.simplefilter("ignore")  # of other libraries; the tests are strict about them
    USES[extra]()
    others = [name for name, (_, library) in PARTS.items() if not importlib.util.find_spec(library)]
    for name in others:
        missing(name)
    print(f"{extra}: works; named where they are missing: {', '.join(others) or 'none'}")
