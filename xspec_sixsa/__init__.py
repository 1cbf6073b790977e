"""Exact Bayesian posteriors of X-ray spectral models, inside XSPEC (SIXSA III, arXiv 2512.16709)."""

from __future__ import annotations

__version__ = "0.1.0"
