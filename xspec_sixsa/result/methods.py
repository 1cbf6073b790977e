"""What users make of a result: fluxes, pictures, comparisons.

The rooms that make them lie above this one. This is the one place that reaches up to them, by `_above`, when a method
is called: results are loaded and read without any of it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from xspec_sixsa.compare.comparison import Comparison
    from xspec_sixsa.products.derived import Derived
    from xspec_sixsa.products.diagnostics import Diagnosis

__all__ = ["ResultMethods"]


def _above(room: str) -> ModuleType:
    return importlib.import_module(f"xspec_sixsa.{room}")


class ResultMethods:
    """Methods of `Result` whose work is done in the rooms above it."""

    best_fit: np.ndarray
    evaluations: dict[str, int]

    def compare(self, *methods: str, **options: Any) -> Comparison:
        """Run other methods on the same session and priors, and say whether they agree.

        Parameters
        ----------
        *methods : {"bxa", "nautilus", "mcmc", "mh"}
            BXA, nautilus, XSPEC's Goodman-Weare and Metropolis-Hastings chains. Each runs in a copy of this process:
            the session that is loaded stays as it is.
        **options
            `read` (finished runs: BXA folders, chain files), `limit` (seconds), `restore` (the session from the
            run's folder) ...: see `compare.runners.compare`.

        Returns
        -------
        Comparison
            Print it; `comparison.json` and the corner plot go to the result's folder.
        """
        return _above("compare.runners").compare(self, methods, **options)

    def diagnose(self, **options: Any) -> Diagnosis:
        """Whether the model describes the data: goodness of fit, residual lines, outliers (`diagnostics.diagnose`)."""
        return _above("products.diagnostics").diagnose(self, **options)

    def flux(self, low: float, high: float, **options: Any) -> Derived:
        """Posterior of the flux between two energies, keV, by XSPEC's `flux` (`derived.flux` has the options)."""
        return _above("products.derived").flux(self, low, high, **options)

    def lumin(self, low: float, high: float, redshift: float | str, **options: Any) -> Derived:
        """Posterior of the luminosity in a rest-frame band, by XSPEC's `lumin` (`derived.lumin` has the options)."""
        return _above("products.derived").lumin(self, low, high, redshift, **options)

    def eqwidth(self, component: int | str, **options: Any) -> Derived:
        """Posterior of a component's equivalent width, by XSPEC's `eqwidth` (`derived.eqwidth` has the options)."""
        return _above("products.derived").eqwidth(self, component, **options)

    def derive(self, function: Callable[..., np.ndarray], name: str = "derived", unit: str = "") -> Derived:
        """Posterior of a function of the parameters: ``lambda p: p["norm__5"] / p["norm__3"]`` (`derived.derive`)."""
        return _above("products.derived").derive(self, function, name, unit)

    def derive_in_xspec(self, function: Callable[..., Any], *names: Any, **options: Any) -> Derived:
        """Posterior of anything that XSPEC can tell with the model set (`derived.derive_in_xspec`)."""
        return _above("products.derived").derive_in_xspec(self, function, *names, **options)

    def set_best_fit(self, xspec: ModuleType | None = None) -> None:
        """Set XSPEC's model to the best fit (by BXA's name). One evaluation."""
        session = _above("session.opened").open_session(self, xspec, workers=1)
        session.set(self.best_fit, "best fit")
        self.evaluations["best fit"] = self.evaluations.get("best fit", 0) + session.evaluations["best fit"]

    def create_flux_chain(
        self, spectrum: Any, erange: str = "2.0 10.0", nsamples: int | None = None, i_src: int = 0, **options: Any
    ) -> np.ndarray:
        """Energy and photon flux of equal-weight draws, (n, 2), by BXA's name (`derived.flux_chain`)."""
        return _above("products.derived").flux_chain(self, spectrum, erange, nsamples, i_src, **options)

    def posterior_predictions_convolved(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Folded model at posterior draws, drawn and returned, by BXA's name (`predictions.convolved`)."""
        return _above("products.predictions").convolved(self, *arguments, **options)

    def posterior_predictions_unconvolved(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Model before the response at posterior draws, by BXA's name (`predictions.unconvolved`)."""
        return _above("products.predictions").unconvolved(self, *arguments, **options)

    def corner(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw the corner plot (`plots.corner_plot` has the options); PNG or PDF by suffix."""
        return _above("products.plots").corner_plot(self, path, **options)

    def predictive(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw data, posterior-predictive bands and residuals (`plots.predictive_plot`); PNG or PDF by suffix."""
        return _above("products.plots").predictive_plot(self, path, **options)

    def rounds_plot(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Draw the posterior round by round and the training curves (`plots.rounds_plot`); PNG or PDF by suffix."""
        return _above("products.plots").rounds_plot(self, path, **options)

    def report(self, directory: str | os.PathLike[str] | None = None) -> Path:
        """Write `report.html`, one page that holds everything (`report.write_report`); default: to the run's folder."""
        return _above("products.report").write_report(self, directory)

    def log_predictive(self) -> list[np.ndarray] | None:
        """Ln p of every bin for each of the draws that `predictive_data` holds (`pointwise.log_predictives`)."""
        return _above("products.pointwise").log_predictives(self)

    def to_latex(self, *, level: float = 0.68) -> str:
        """Parameters as a LaTeX table, with errors of the given content (`publish.latex_table`)."""
        return _above("products.publish").latex_table(self, level=level)
