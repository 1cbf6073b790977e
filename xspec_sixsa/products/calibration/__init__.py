"""Calibration of the whole method on simulated spectra."""

from xspec_sixsa.products.calibration.calibration import Calibration, calibrate
from xspec_sixsa.products.calibration.ranks import KINDS, uniform_rank

__all__ = ["KINDS", "Calibration", "calibrate", "uniform_rank"]
