"""Our posterior beside those of others: BXA, nautilus, XSPEC's chains; and models beside each other."""

from xspec_sixsa.compare.comparison import Comparison, compare_posteriors
from xspec_sixsa.compare.divergence import Divergence, jensen_shannon
from xspec_sixsa.compare.finished import read_finished
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.compare.ranking import Ranking, rank
from xspec_sixsa.compare.runners import METHODS, compare

__all__ = [
    "METHODS",
    "CompareError",
    "Comparison",
    "Divergence",
    "Posterior",
    "Ranking",
    "compare",
    "compare_posteriors",
    "jensen_shannon",
    "rank",
    "read_finished",
]
