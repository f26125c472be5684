"""Lightning, or an error that says how to install it."""

from __future__ import annotations

try:
    from lightning.pytorch import LightningDataModule as LightningDataModule
except ImportError as error:
    raise ImportError("flowtorch.train: Lightning is expected; pip install 'flowtorch[train]' installs it.") from error
