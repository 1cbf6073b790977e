"""Many spectra under one model: evaluations and curves shared, a result for each, and a catalogue of all."""

from __future__ import annotations

from xspec_sixsa.survey.fitmany import fit_many
from xspec_sixsa.survey.survey import Survey

__all__ = ["Survey", "fit_many"]
