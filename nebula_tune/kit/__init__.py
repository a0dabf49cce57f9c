"""Folders that samplers open: a nebula's sounds as hits on keys, or one sound over the whole keyboard."""

from __future__ import annotations
