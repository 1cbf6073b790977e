"""`Fit`: the fit statistic, fitting, and confidence ranges."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

from xspec_sixsa.embedded.choices import resolve, spectrum_numbers, words_of
from xspec_sixsa.embedded.compiled import program
from xspec_sixsa.embedded.confidence import run_error
from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.fitting import (
    degrees_of_freedom,
    fit,
    last_fit,
    present_statistic,
    present_test_statistic,
    ready,
)
from xspec_sixsa.embedded.parameterstate import bump_structure
from xspec_sixsa.embedded.renorm import scale_norms
from xspec_sixsa.embedded.show import show_model
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["Fit", "FitManager"]

STATISTICS = ("chi", "cstat", "pstat", "pgstat")
OTHER_STATISTICS = ("lstat", "whittle", "wstat")
OTHER_TESTS = ("ad", "cusum", "cvm", "ks", "pchi", "runs")
BINNED = re.compile(r"^(?:cstat|whittle)\d+b?$")
"""XSPEC's `cstat5`: data binned to at least 5 counts for the statistic alone; `cstat5b`: 5 of the background."""
WEIGHTS = ("standard", "gehrels", "churazov", "model")


class FitManager:
    """PyXspec's `Fit`; there is one, `Fit`.

    Attributes
    ----------
    statistic, testStatistic : float
        At the present parameter values.
    dof : int
        Noticed bins minus free parameters.
    statMethod : str
        ``"cstat"``; ``"cstat 2"`` sets one spectrum's.
    nIterations, criticalDelta : int, float
        XSPEC's defaults are 10 and 0.01.
    covariance : tuple of float
        Lower triangle, row by row, from the last fit.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        raise XspecError(f"***Error: Attribute {name} does not exist in class FitManager  Did you misspell?\n")

    @property
    def bayes(self) -> str:
        """``"on"`` adds -2 ln prior of the free parameters to the statistic; ``"cons"`` also clears all priors."""
        return "on" if session.bayes else "off"

    @bayes.setter
    def bayes(self, value: str) -> None:
        if not isinstance(value, str) or value.strip().lower() not in ("on", "off", "cons"):
            raise XspecError("Error: bayes should be set to 'on'|'off'|'cons'; priors are set by Parameter.prior.")
        word = value.strip().lower()
        if word == "cons":
            for record in session.models.values():
                for state in record.states:
                    state.prior = ("CONS",)
        session.bayes = word != "off"
        bump_structure()

    @property
    def statistic(self) -> float:
        """The fit statistic at the present values; 0 without data or model, as in PyXspec."""
        return present_statistic()

    @statistic.setter
    def statistic(self, value: Any) -> None:
        raise XspecError("Error: Cannot rebind the Fit statistic value.")

    @property
    def testStatistic(self) -> float:
        """The test statistic (`statTest`) at the present values; 0 without data or model."""
        return present_test_statistic()

    @testStatistic.setter
    def testStatistic(self, value: Any) -> None:
        raise XspecError("Error: Cannot rebind the test statistic value.")

    @property
    def dof(self) -> int:
        """Noticed bins of all modelled spectra minus free parameters."""
        return degrees_of_freedom()

    @dof.setter
    def dof(self, value: Any) -> None:
        raise XspecError("Error: Cannot rebind Fit.dof attribute")

    @property
    def nVarPars(self) -> int:
        """Number of free parameters."""
        return len(program().free) if session.models else 0

    @property
    def statMethod(self) -> str:
        """The fit statistic: one name, the first spectrum's, even where they differ (as PyXspec)."""
        return session.spectra[0].statMethod if session.spectra else session.stat_method

    @statMethod.setter
    def statMethod(self, value: Any) -> None:
        words = words_of(value, "statMethod")
        if not words:
            raise XspecError("Error: statMethod needs a name: " + ", ".join(STATISTICS))
        if words[0].lower() == "test":
            self.statTest = words[1:]
            return
        binned = BINNED.findall(words[0].lower())
        name = resolve(words[0], STATISTICS, "fit statistic", (*OTHER_STATISTICS, *binned))
        if words[1:]:
            for number in spectrum_numbers(words[1:]):
                session.spectra[number - 1].statMethod = name
        else:
            session.stat_method = name
            for spectrum in session.spectra:
                spectrum.statMethod = name
        session.touch()

    @property
    def statTest(self) -> str:
        """The test statistic: ``"chi"`` (default)."""
        return session.stat_test

    @statTest.setter
    def statTest(self, value: Any) -> None:
        words = words_of(value, "statTest")
        if not words:
            raise XspecError("Error: statTest needs a name: chi")
        name = resolve(words[0], ("chi",), "test statistic", OTHER_TESTS)
        if words[1:]:
            raise XspecError("Error: the embedded engine has one test statistic for all spectra: leave the number out.")
        session.stat_test = name

    @property
    def weight(self) -> str:
        """Weighting of chi-squared: standard, gehrels, churazov or model."""
        return session.weight

    @weight.setter
    def weight(self, value: str) -> None:
        if not isinstance(value, str):
            raise XspecError("Error: Weight argument must be a string")
        session.weight = resolve(value.strip(), WEIGHTS, "weight")
        session.touch()

    @property
    def method(self) -> str:
        """The fitting method; the engine has ``"leven"``."""
        return "leven"

    @method.setter
    def method(self, value: Any) -> None:
        words = [w for w in " ".join(words_of(value, "method")).replace(",", " ").split()]
        if not words:
            raise XspecError("Error: method needs a name: leven")
        if words[0][0].isalpha():
            others = ("migrad", "minimize", "monte", "simplex", "anneal", "genetic")
            resolve(words.pop(0), ("leven",), "fit method", others)
        try:
            if words:
                self.nIterations = int(words[0])
            if words[1:]:
                self.criticalDelta = float(words[1])
        except ValueError:
            raise XspecError(
                f"Error: method {value!r}: after the name come the number of iterations and the critical delta."
            ) from None

    @property
    def nIterations(self) -> int:
        """Iterations before XSPEC asks whether to go on (default 10); the bound itself where `query` is "no"."""
        return session.fit_iterations

    @nIterations.setter
    def nIterations(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise XspecError("Error: nIteration argument must be an integer > 0")
        if value <= 0:
            raise XspecError("Error: nIterations value must be > 0")
        session.fit_iterations = value

    @property
    def criticalDelta(self) -> float:
        """Change of the statistic below which a fit has converged (default 0.01)."""
        return session.critical_delta

    @criticalDelta.setter
    def criticalDelta(self, value: float) -> None:
        if not isinstance(value, float):
            raise XspecError("Error: Critical delta argument must be a float.")
        if value <= 0.0:
            raise XspecError("Error: Critical delta must be > 0.0")
        session.critical_delta = value

    @property
    def delta(self) -> float:
        """Proportional fit delta (default 0.01), 0 for the parameters' own; shown in `Parameter.values`."""
        return session.proportional_delta

    @delta.setter
    def delta(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise XspecError("Error: Input argument must be of numeric type")
        session.proportional_delta = max(float(value), 0.0)

    @property
    def query(self) -> str:
        """``"yes"``, ``"no"`` or ``"on"``; the engine never asks and goes on unless it is "no"."""
        return session.query

    @query.setter
    def query(self, value: str) -> None:
        if not isinstance(value, str) or not value:
            raise XspecError("Error: Query argument must be a string.")
        choices = {"o": "on", "y": "yes", "n": "no"}
        if value.lower()[0] not in choices:
            raise XspecError("Error: Valid query settings are 'yes' | 'no' | 'on'")
        session.query = choices[value.lower()[0]]

    @property
    def covariance(self) -> tuple[float, ...]:
        """Covariance of the free parameters from the last fit: lower triangle, row by row."""
        matrix = last_fit().covariance
        return tuple(float(x) for x in matrix[np.tril_indices(len(matrix))])

    @covariance.setter
    def covariance(self, value: Any) -> None:
        raise XspecError("Error: Cannot rebind Fit.covariance attribute")

    def perform(self) -> None:
        """Fit the free parameters.

        Raises
        ------
        XspecError
            Without data, model or free parameter, with more parameters than bins, or from a start where the
            statistic is not finite.
        """
        fit()
        self.show()

    def renorm(self, setting: str | None = None) -> None:
        """Scale the free norms to lower the statistic; or set when that happens: "auto", "prefit" (default), "none".

        "auto" acts before a fit only: the engine never moves norms behind a changed parameter.
        """
        if setting is not None:
            if not isinstance(setting, str):
                raise XspecError(
                    "Error: renorm argument must either be None, or one of the strings:\n"
                    "      'auto', 'prefit', or 'none'"
                )
            session.renorm = resolve(setting.strip(), ("auto", "prefit", "none"), "renorm setting")
            return
        scale_norms(ready())

    def error(self, argString: str) -> None:
        """Find confidence ranges: ``"1-3"``, ``"2.706 1"``, ``"9.0"``, ``"maximum 3.0 1"``, ``"stop 20,,3"``.

        The results are in each parameter's `error`.
        """
        if not isinstance(argString, str):
            raise XspecError("Error: error function argument must be a string")
        run_error(argString)

    def ftest(self, chisq2: float, dof2: int, chisq1: float, dof1: int) -> float:
        """Return the F-test probability for an added component (chisq2, dof2) over the simpler model."""
        for name, value, kinds in (
            ("chisq2", chisq2, (int, float)),
            ("dof2", dof2, (int,)),
            ("chisq1", chisq1, (int, float)),
            ("dof1", dof1, (int,)),
        ):
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise XspecError(f"Error: Argument {name} must be of type {'int' if kinds == (int,) else 'float'}")
        if not (dof1 > dof2 > 0 and chisq1 >= chisq2 > 0):
            raise XspecError(
                f"Error: the F-test needs dof1 > dof2 > 0 and chisq1 >= chisq2 > 0, not {chisq2}, {dof2}, "
                f"{chisq1}, {dof1}."
            )
        return float(f_distribution.sf((chisq1 - chisq2) / (dof1 - dof2) / (chisq2 / dof2), dof1 - dof2, dof2))

    def improve(self) -> None:
        """Do nothing, as in XSPEC with the Levenberg-Marquardt method."""

    def goodness(self, nRealizations: int = 100, sim: bool = False) -> float:
        """Not available."""
        raise XspecError(
            "Fit.goodness is not available in the embedded engine: use posterior-predictive checks or XSPEC."
        )

    def steppar(self, argString: str) -> None:
        """Not available."""
        raise XspecError("Fit.steppar is not available in the embedded engine: use Fit.error, the posterior or XSPEC.")

    def stepparResults(self, arg: Any) -> None:
        """Not available."""
        raise XspecError("Fit.stepparResults is not available in the embedded engine, which has no steppar.")

    def show(self) -> None:
        """Print statistic, degrees of freedom and parameters."""
        if session.chatter < 10 and session.log_chatter < 10:
            return
        for record in session.models.values():
            show_model(record)
        bins = self.dof + self.nVarPars
        report(
            f"Fit statistic : {self.statMethod} = {self.statistic:.6g} using {bins} PHA bins.\n"
            f"{'':14}and {self.dof} degrees of freedom.\n"
        )


Fit = FitManager()
"""The fit manager."""
