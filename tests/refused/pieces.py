"""What plans refuse that reshape the event or take it apart: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch

import flowtorch.bijectors as bij
from flowtorch.bijectors.concatenate import Concatenate, Stack
from flowtorch.bijectors.indexed import Indexed, Partial
from flowtorch.bijectors.reshape import Flatten, Reshape
from flowtorch.bijectors.split import Split
from flowtorch.bijectors.transpose import Transpose
from flowtorch.errors import AlreadyBoundError, OptionError, OptionTypeError, ShapeError

exp = bij.Exp()

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Reshape: two shapes of as many coordinates ... got before=(2, 3), after=(4,)": lambda: Reshape((2, 3), 4),
        "Reshape: two shapes of as many ... got before=(4, -1), after=(2, 3)": lambda: Reshape((4, -1), (2, 3)),
        "Reshape: lengths of at least 1, and one -1 at most ... before; got (0, 3)": lambda: Reshape((0, 3), -1),
        "Reshape: lengths of at least 1, and one -1 at most ... after; got (-1, -1)": lambda: Reshape(4, (-1, -1)),
        "Reshape: each length of after ... at least -1; got -2": lambda: Reshape(4, (-2, 2)),
        "Flatten: each length of before ... at least 1; got -1": lambda: Flatten((2, -1)),
        "Transpose: permutation ... each of 0 .. 1 once; got (1, 2)": lambda: Transpose((1, 2)),
        "Concatenate: at least one part is expected; got none": lambda: Concatenate([], sizes=()),
        "Stack: at least one part is expected; got none": lambda: Stack(()),
        "Concatenate: a size for each of 2 parts, at most one of them None ... got sizes=(1,)": lambda: Concatenate(
            [exp, exp], sizes=(1,)
        ),
        "Concatenate: a size for each ... got sizes=(None, None)": lambda: Concatenate([exp, exp], sizes=(None, None)),
        "Concatenate: each of sizes ... at least 1; got 0": lambda: Concatenate([exp], sizes=(0,)),
        "Indexed: at least one part is expected; got none": lambda: Indexed({}),
        "Indexed: at least one index is expected; got ()": lambda: Indexed({(): exp}),
        "Indexed: each index is expected once; got 1, 2 several times": lambda: Indexed({(2, 1): exp, (1, 2, 3): exp}),
        "Partial: each index is expected once; got 0 several times": lambda: Partial(exp, (0, 0)),
        "Split: size ... at least 1; got 0": lambda: Split(None, exp, 0),
    },
    OptionTypeError: {
        "Reshape: before ... a shape such as (2, 3); got str '23'": lambda: Reshape("23", 6),  # type: ignore[arg-type]
        "Reshape: each length of after ... an integer; got 2.0": lambda: Reshape(4, (2.0, 2)),  # type: ignore[arg-type]
        "Transpose: permutation ... a sequence of integers; got 1": lambda: Transpose(1),  # type: ignore[arg-type]
        "Concatenate: a sequence of plans is expected; got Exp": lambda: Concatenate(exp, sizes=(1,)),  # type: ignore[arg-type]
        "Concatenate part 1: the plan ... got int 3": lambda: Concatenate([exp, 3], sizes=(1, 1)),  # type: ignore[list-item]
        "Concatenate: sizes ... a sequence such as (2, None); got int 1": lambda: Concatenate(
            [exp],
            sizes=1,  # type: ignore[arg-type]
        ),
        "Concatenate: each of sizes ... an integer; got 1.0": lambda: Concatenate([exp], sizes=(1.0,)),  # type: ignore[list-item]
        "Concatenate: dim ... an integer; got None": lambda: Concatenate([exp], sizes=(1,), dim=None),  # type: ignore[arg-type]
        "Stack: dim ... an integer; got 'x'": lambda: Stack([exp], dim="x"),  # type: ignore[arg-type]
        "Indexed: plans by index such as {0: Exp(), (1, 2): Affine()} are expected; got list": lambda: Indexed(
            [exp]  # type: ignore[list-item]
        ),
        "Indexed: plans by index ... got Exp Exp()": lambda: Indexed(exp),  # type: ignore[arg-type]
        "Indexed: an index or a tuple of indices is expected; got float 1.0": lambda: Indexed({1.0: exp}),  # type: ignore[dict-item]
        "Indexed: an index or a tuple of indices is expected; got tuple (0, True)": lambda: Indexed({(0, True): exp}),
        "Indexed part 0: the plan ... got the class Exp. Did you mean Exp()?": lambda: Indexed(
            {0: bij.Exp}  # type: ignore[dict-item]
        ),
        "Indexed rest: a plan is expected; got a list": lambda: Indexed({0: exp}, rest=[exp]),  # type: ignore[arg-type]
        "Indexed: dim ... got 'x'": lambda: Indexed({0: exp}, dim="x"),  # type: ignore[arg-type]
        "Partial: an index or a tuple of indices is expected; got str": lambda: Partial(exp, "01"),  # type: ignore[arg-type]
        "Partial: a plan is expected; got a list": lambda: Partial([exp], 0),  # type: ignore[arg-type]
        "Split second: the plan ... got NoneType": lambda: Split(exp, None),  # type: ignore[arg-type]
        "Split: swap ... True or False; got 1": lambda: Split(None, exp, swap=1),  # type: ignore[arg-type]
        "Split: size ... an integer; got 1.5": lambda: Split(None, exp, 1.5),  # type: ignore[arg-type]
    },
    AlreadyBoundError: {
        "Split first: a plan is expected; got a bound Exp": lambda: Split(exp.bind((2,)), exp),  # type: ignore[arg-type]
        "Stack part 0: a plan is expected; got a bound Exp": lambda: Stack([exp.bind(())]),  # type: ignore[list-item]
    },
    ShapeError: {
        "Reshape: an event whose last axes (-1,) can be made (3, -1) is expected; got event shape (7,)": lambda: (
            Reshape(-1, (3, -1)).bind((7,))
        ),
        "Reshape: an event whose last axes (3, -1) can be made (-1,) ... got event shape (7,)": lambda: Reshape(
            -1, (3, -1)
        ).inverse_shape(torch.Size((7,))),
        "Flatten: an event of shape (2, 3) is expected; got (3, 2)": lambda: Flatten((2, 3)).bind((3, 2)),
        "Flatten: the event's shape, as in Flatten((2, 3)) ... got none for a vector (6,)": lambda: Flatten().inv.bind(
            (6,)
        ),
        "Flatten: a vector of 6 is expected; got event (7,)": lambda: Flatten((2, 3)).inverse_shape(torch.Size((7,))),
        "Transpose: an event of at least 2 axes is expected; got event (3,)": lambda: Transpose((1, 0)).forward_shape(
            torch.Size((3,))
        ),
        "Concatenate: pieces of sizes (1, 2) are expected to fill the axis; got 4 slices": lambda: Concatenate(
            [exp, exp], sizes=(1, 2)
        ).bind((4,)),
        "Concatenate: pieces of sizes (4, None) are expected to fill the axis; got 4 slices": lambda: Concatenate(
            [exp, exp], sizes=(4, None)
        ).bind((4,)),
        "Concatenate: an event with an axis dim=1 ... got event shape (4,)": lambda: Concatenate(
            [exp], sizes=(4,), dim=1
        ).bind((4,)),
        "Concatenate part 1 (Permute): Permute: permutation has 2 entries; got 3 coordinates": lambda: Concatenate(
            [exp, bij.Permute((1, 0))], sizes=(1, 3)
        ).bind((4,)),
        "Concatenate part 0: a part that changes the shape (2, 3) ... along axis 0 at most ... (3, 2)": lambda: (
            Concatenate([Transpose((1, 0)), exp], sizes=(2, 1), dim=0).bind((3, 3))
        ),
        "Stack: 2 slices along axis 0, one for each part, are expected; got event shape (3, 2)": lambda: Stack(
            [exp, exp]
        ).bind((3, 2)),
        "Stack: slices of one shape after all parts are expected; got (2, 6), (4, 3) from slices": lambda: Stack(
            [Reshape((4, 3), (2, 6)), exp]
        ).bind((2, 4, 3)),
        "Indexed: indices of 3 coordinates, each once, are expected; got 0, 3 of an event (3,)": lambda: Indexed(
            {0: exp, 3: exp}
        ).bind((3,)),
        "Partial: indices of 3 coordinates, each once, are expected; got 2, -1 of an event (3,)": lambda: Partial(
            exp, (2, -1)
        ).bind((3,)),
        "Partial: indices of 2 coordinates ... got -3 of an event (2, 4) along axis -2": lambda: Partial(
            exp, -3, dim=0
        ).bind((2, 4)),
        "Partial plan: a part that keeps the shape (2, 3) of its piece is expected; got ... (3, 2)": lambda: Partial(
            Transpose((1, 0)), (0, 1), dim=0
        ).bind((3, 3)),
        "Indexed: coordinates left for the rest are expected; got none of an event (2,)": lambda: Indexed(
            {(1, 0): exp}, rest=exp
        ).bind((2,)),
        "Split: more than 2 slices are expected ... got 2 of an event (2, 3)": lambda: Split(None, exp, 2, dim=0).bind(
            (2, 3)
        ),
        "Split: more than 1 slices are expected ... got 1 of an event (1,)": lambda: Split(None, exp).bind((1,)),
    },
}
