"""Writes the inventories of torch's and Python's documentation that the site links by, of the names it mentions.

The whole ones are on the internet, which a build does not need; where each name is documented follows from its kind.
A name that docstrings mention and that is missing here fails the build: add it here and run this file.
"""

from __future__ import annotations

import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "inventories"

# role, name, page; `$` stands for the name as an anchor.
TORCH = [
    ("class", "torch.Tensor", "tensors.html#$"),
    ("class", "torch.Size", "size.html#$"),
    ("class", "torch.dtype", "tensor_attributes.html#$"),
    ("class", "torch.device", "tensor_attributes.html#$"),
    ("class", "torch.Generator", "generated/torch.Generator.html#$"),
    ("class", "torch.nn.Module", "generated/torch.nn.Module.html#$"),
    ("class", "torch.nn.modules.module.Module", "generated/torch.nn.Module.html#torch.nn.Module"),
    ("class", "torch.optim.Optimizer", "optim.html#$"),
    ("class", "torch.optim.optimizer.Optimizer", "optim.html#torch.optim.Optimizer"),
    ("function", "torch.compile", "generated/torch.compile.html#$"),
    ("class", "torch.distributions.distribution.Distribution", "distributions.html#$"),
    ("class", "torch.distributions.Distribution", "distributions.html#torch.distributions.distribution.Distribution"),
    ("class", "torch.distributions.independent.Independent", "distributions.html#$"),
    ("class", "torch.distributions.normal.Normal", "distributions.html#$"),
    ("class", "torch.distributions.multivariate_normal.MultivariateNormal", "distributions.html#$"),
    ("class", "torch._C.Generator", "generated/torch.Generator.html#torch.Generator"),
    ("class", "torch.nn.parameter.Parameter", "generated/torch.nn.parameter.Parameter.html#$"),
    ("class", "torch.optim.lr_scheduler.LRScheduler", "generated/torch.optim.lr_scheduler.LRScheduler.html#$"),
    (
        "class",
        "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html#$",
    ),
    (
        "class",
        "torch.export.exported_program.ExportedProgram",
        "export/api_reference.html#torch.export.ExportedProgram",
    ),
    ("class", "torch.distributions.transforms.Transform", "distributions.html#$"),
    ("class", "torch.distributions.Transform", "distributions.html#torch.distributions.transforms.Transform"),
    ("class", "torch.distributions.constraints.Constraint", "distributions.html#$"),
]
PYTHON = [
    *(("class", name, "library/functions.html#$") for name in ("bool", "complex", "float", "int", "object", "type")),
    *(("class", name, "library/stdtypes.html#$") for name in ("bytes", "dict", "list", "str", "tuple", "set")),
    *(
        ("class", f"collections.abc.{name}", "library/collections.abc.html#$")
        for name in ("Callable", "Hashable", "Iterable", "Iterator", "Mapping", "Sequence")
    ),
    *(("class", f"typing.{name}", "library/typing.html#$") for name in ("Generic", "NamedTuple", "Protocol")),
    *(("data", f"typing.{name}", "library/typing.html#$") for name in ("Any", "Literal", "Union", "Optional")),
    *(
        ("exception", name, "library/exceptions.html#$")
        for name in (
            "Exception",
            "ImportError",
            "IndexError",
            "KeyError",
            "NotImplementedError",
            "OSError",
            "RuntimeError",
            "TypeError",
            "UserWarning",
            "ValueError",
            "Warning",
        )
    ),
    ("class", "abc.ABC", "library/abc.html#$"),
    ("class", "os.PathLike", "library/os.html#$"),
    ("class", "pathlib.Path", "library/pathlib.html#$"),
    ("data", "None", "library/constants.html#$"),
    ("data", "True", "library/constants.html#$"),
    ("data", "False", "library/constants.html#$"),
]


def write(path: Path, project: str, entries: list[tuple[str, str, str]]) -> None:
    """Writes an inventory in Sphinx's format, version 2."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = "".join(f"{name} py:{role} 1 {page} -\n" for role, name, page in sorted(entries, key=lambda e: e[1]))
    path.write_bytes(head.encode() + zlib.compress(lines.encode(), 9))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write(FOLDER / "torch.inv", "PyTorch", TORCH)
    write(FOLDER / "python.inv", "Python", PYTHON)
