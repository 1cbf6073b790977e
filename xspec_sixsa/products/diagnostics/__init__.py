"""Does the model describe the data? Goodness of fit, residual lines, outlying observations."""

from xspec_sixsa.products.diagnostics.cash import cash_moments
from xspec_sixsa.products.diagnostics.diagnosis import Diagnosis, SpectrumDiagnosis
from xspec_sixsa.products.diagnostics.judge import diagnose
from xspec_sixsa.products.diagnostics.lines import LineHint, find_line, response_fwhm

__all__ = ["Diagnosis", "LineHint", "SpectrumDiagnosis", "cash_moments", "diagnose", "find_line", "response_fwhm"]
