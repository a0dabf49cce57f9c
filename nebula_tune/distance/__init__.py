"""Distances between corpora of vectors."""

from nebula_tune.distance.energy import MMD, SortedCorpus, l1_mmd, mean_within, within

__all__ = ["MMD", "SortedCorpus", "l1_mmd", "mean_within", "within"]
