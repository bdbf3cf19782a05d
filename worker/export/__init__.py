"""A copy of the mirror as files: Parquet, JSON lines or CSV, by account and month, whole or not there at all."""

from worker.export.formats import FORMATS
from worker.export.manifest import Manifest
from worker.export.run import Progress, export

__all__ = ["FORMATS", "Manifest", "Progress", "export"]
