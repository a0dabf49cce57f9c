"""OpenL3 in torch: the official weights, the official numbers."""

from nebula_tune.embedding.openl3.model import Cost, OpenL3

__all__ = ["Cost", "OpenL3"]
