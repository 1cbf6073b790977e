"""What a run returns, as numbers: weighted draws, evidence, verdict; read, written and converted. Needs numpy only."""

from xspec_sixsa.result.predictive import SpectrumPredictive
from xspec_sixsa.result.result import Result
from xspec_sixsa.result.weighted import WeightedDraws, weighted_quantile

__all__ = ["Result", "SpectrumPredictive", "WeightedDraws", "weighted_quantile"]
