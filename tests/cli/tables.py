"""Tables for the tests of the command line: real ones that scikit-learn ships, and ones with faults."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sklearn.datasets import load_diabetes, load_iris, load_wine


def diabetes() -> pd.DataFrame:
    """442 patients: age, sex, body measures, blood values, and how the disease went on."""
    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame


def iris() -> pd.DataFrame:
    """150 flowers."""
    frame: pd.DataFrame = load_iris(as_frame=True).frame
    return frame.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_"))


def wine() -> pd.DataFrame:
    """178 wines by 13 measurements, and their kind."""
    frame: pd.DataFrame = load_wine(as_frame=True).frame
    return frame


def written(frame: pd.DataFrame, path: Path) -> Path:
    """The table in a file."""
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path
