"""Quantities that follow from a posterior: fluxes, luminosities, equivalent widths, any function of the session.

XSPEC's own commands compute them (`flux`, `lumin`, `eqwidth`), at draws of the posterior; every evaluation is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa.result import WeightedDraws
from xspec_sixsa.result.notebook import html_list, html_table
from xspec_sixsa.result.summary import format_value
from xspec_sixsa.session.names import component_number, named_parameter, without_absorption
from xspec_sixsa.session.opened import open_session

if TYPE_CHECKING:
    from xspec_sixsa.result import Result
    from xspec_sixsa.session import Session

__all__ = ["Derived", "derive", "derive_in_xspec", "eqwidth", "flux", "flux_chain", "lumin"]

log = logging.getLogger(__name__)

DRAWS = 1000
ERG = "erg cm^-2 s^-1"
PHOTON = "photons cm^-2 s^-1"
LUMINOSITY = "10^44 erg s^-1"  # as XSPEC gives it


@dataclass(eq=False)
class Derived(WeightedDraws):
    """Weighted posterior of k quantities that follow from the parameters.

    Attributes
    ----------
    what : str
        In words, e.g. ``flux 2-10 keV of spectrum 1, unabsorbed (TBabs nH = 0)``.
    names, units : list of str, length k
    samples : ndarray (n, k)
    weights : ndarray (n,)
        They sum to 1.
    index : ndarray of int (n,)
        Rows of the result's `samples` that the draws are.
    evaluations : int
        What it cost.
    """

    what: str
    names: list[str]
    units: list[str]
    samples: np.ndarray
    weights: np.ndarray
    index: np.ndarray
    evaluations: int = 0

    @property
    def ess(self) -> float:
        """Effective number of draws."""
        return float(1 / (self.weights**2).sum())

    def summary(self) -> str:
        """Median, 68 and 90 % intervals and the 90 % upper limit of each quantity, as text."""
        rows = self._rows()
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.what, *lines, self._cost()])

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<div>{html_list([self.what])}{html_table(self._rows())}{html_list([self._cost()])}</div>"

    def _cost(self) -> str:
        return f"{self.evaluations} evaluations; {self.ess:.0f} effective draws"

    def _rows(self) -> list[tuple[str, ...]]:
        median, inner, outer, upper = self.quantile(0.5), self.interval(0.68), self.interval(0.9), self.upper_limit(0.9)
        rows: list[tuple[str, ...]] = [("", "median", "68 %", "90 %", "90 % upper limit", "unit")]
        for i, name in enumerate(self.names):
            scale = float(inner[i, 1] - inner[i, 0]) / 2

            def text(value: float, scale: float = scale) -> str:
                return format_value(float(value), scale)

            within = [f"{text(low)} .. {text(high)}" for low, high in (inner[i], outer[i])]
            rows.append((name, text(median[i]), *within, text(upper[i]), self.units[i]))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """The first quantity's `columns`, ``upper90`` and unit by themselves; those of a further one under its name."""
        arrays = columns(self) | {"upper90": self.upper_limit(0.9)}
        first, *others = [
            {"unit": unit} | {key: float(column[i]) for key, column in arrays.items()}
            for i, unit in enumerate(self.units)
        ]
        cost = {"what": self.what, "ess": self.ess, "evaluations": self.evaluations}
        return cost | first | dict(zip(self.names[1:], others, strict=True))


def columns(posterior: Result | Derived) -> dict[str, np.ndarray]:
    """Median, mean, and central intervals of 68 and 90 % (``lo hi lo90 hi90``) of every parameter or quantity."""
    inner, outer = posterior.interval(0.68), posterior.interval(0.90)
    found = {"median": posterior.quantile(0.5), "mean": posterior.mean}
    return found | {"lo": inner[:, 0], "hi": inner[:, 1], "lo90": outer[:, 0], "hi90": outer[:, 1]}


def flux(
    result: Result,
    low: float,
    high: float,
    *,
    spectrum: int = 1,
    source: int = 0,
    unabsorbed: bool | str | Sequence[str] = False,
    draws: int | None = DRAWS,
    xspec: ModuleType | None = None,
) -> Derived:
    """Energy and photon flux of the model in a band, as XSPEC's `flux` computes them.

    Parameters
    ----------
    result : Result
        Of the session that XSPEC holds now.
    low, high : float
        Ends of the band, keV.
    spectrum : int, default 1
        The spectrum through whose data group and response energies the model is seen.
    source : int, default 0
        Which six numbers of `Spectrum.flux`, where a spectrum has several sources (`bxa.xspec.solver.get_isrc`).
    unabsorbed : bool, str or list of str, default False
        Column densities to set to zero: all (True), or those of these components (``"TBabs"``).
    draws : int or None, default 1000
        Equal-weight draws of the posterior at which it is evaluated; each evaluation serves all its repeats. None:
        every draw that has weight.
    xspec : module, optional
        The PyXspec to use; default: the real one where it can be imported, else the embedded engine.

    Returns
    -------
    Derived
        Columns ``energy flux`` (erg cm^-2 s^-1) and ``photon flux`` (photons cm^-2 s^-1).
    """
    return _band(result, "flux", low, high, None, spectrum, source, unabsorbed, draws, xspec)


def lumin(
    result: Result,
    low: float,
    high: float,
    redshift: float | str,
    *,
    spectrum: int = 1,
    source: int = 0,
    unabsorbed: bool | str | Sequence[str] = False,
    draws: int | None = DRAWS,
    xspec: ModuleType | None = None,
) -> Derived:
    """Luminosity of the model in a rest-frame band, as XSPEC's `lumin` computes it (its `cosmo` setting).

    Parameters
    ----------
    result : Result
        Of the session that XSPEC holds now.
    low, high : float
        Ends of the band in the rest frame, keV.
    redshift : float or str
        A number, or the chain name of the parameter that holds it (``"Redshift__4"``, free, linked or frozen).
    spectrum, source, unabsorbed, draws, xspec
        As for `flux`.

    Returns
    -------
    Derived
        One column, ``luminosity`` (10^44 erg s^-1).
    """
    return _band(result, "lumin", low, high, redshift, spectrum, source, unabsorbed, draws, xspec)


def eqwidth(
    result: Result,
    component: int | str,
    *,
    fraction: float = 0.05,
    spectrum: int = 1,
    draws: int | None = DRAWS,
    xspec: ModuleType | None = None,
) -> Derived:
    """Equivalent width of an additive component, as XSPEC's `eqwidth` computes it.

    Parameters
    ----------
    result : Result
    component : int or str
        Number in the model from 1 (``"bkg:3"`` in a named model), or its name (``"gaussian"``).
    fraction : float, default 0.05
        The continuum is averaged within this fraction of the component's peak energy.
    spectrum, draws, xspec
        As for `flux`.

    Returns
    -------
    Derived
        One column, ``equivalent width`` (keV).
    """
    session = open_session(result, xspec)
    module, number = session.module, component_number(session.module, component)

    def measure() -> np.ndarray:
        module.AllModels.eqwidth(number, rangeFrac=float(fraction))
        return np.asarray(module.AllData(spectrum).eqwidth[:1])

    what = f"equivalent width of component {component}, spectrum {spectrum}"
    try:
        return _measured(result, session, "eqwidth", what, ["equivalent width"], ["keV"], measure, draws)
    except RuntimeError as error:
        raise RuntimeError(f"{error} It takes other additive components, as a continuum at the line.") from error


def derive(
    result: Result, function: Callable[[Mapping[str, np.ndarray]], np.ndarray], name: str = "derived", unit: str = ""
) -> Derived:
    """Any function of the parameters alone; costs no evaluation.

    Parameters
    ----------
    result : Result
    function : callable
        Takes a mapping of chain names to arrays (n,), gives an array (n,):
        ``lambda p: p["norm__5"] / p["norm__3"]``.
    name, unit : str
        What it is called.
    """
    index = np.flatnonzero(result.weights > 0)
    values = np.asarray(function(dict(zip(result.names, result.samples[index].T, strict=True))), dtype=float)
    if values.shape != (len(index),):
        raise ValueError(f"The function gave an array of shape {values.shape} for {len(index)} draws: one number each.")
    return Derived(name, [name], [unit], values[:, None], result.weights[index], index)


def derive_in_xspec(
    result: Result,
    function: Callable[[ModuleType], float | Sequence[float]],
    names: Sequence[str] = ("derived",),
    units: Sequence[str] = ("",),
    *,
    unabsorbed: bool | str | Sequence[str] = False,
    draws: int | None = DRAWS,
    xspec: ModuleType | None = None,
) -> Derived:
    """Any function of the XSPEC session, with the model at draws of the posterior.

    Parameters
    ----------
    result : Result
    function : callable
        Takes the `xspec` module, the model being set, and gives as many numbers as there are `names`. On real XSPEC it
        runs in forked processes: what it prints or assigns is lost, and the session is never touched.
    names, units : sequence of str
    unabsorbed, draws, xspec
        As for `flux`.
    """
    session = open_session(result, xspec)

    def measure() -> np.ndarray:
        return np.atleast_1d(np.asarray(function(session.module), dtype=float))

    what, names = ", ".join(names), list(names)
    return _measured(result, session, "derived", what, names, list(units), measure, draws, unabsorbed)


def flux_chain(
    result: Result,
    spectrum: Any,
    erange: str = "2.0 10.0",
    nsamples: int | None = None,
    i_src: int = 0,
    xspec: ModuleType | None = None,
) -> np.ndarray:
    """BXA's `create_flux_chain`: energy and photon flux of equal-weight posterior draws.

    Parameters
    ----------
    result : Result
    spectrum : Spectrum or int
    erange : str
        Argument of `AllModels.calcFlux`.
    nsamples : int, optional
        How many draws; default: the effective sample size.
    i_src : int
        Source (`bxa.xspec.solver.get_isrc`).
    xspec : module, optional
        As for `flux`.

    Returns
    -------
    ndarray (n, 2)
        erg cm^-2 s^-1, photons cm^-2 s^-1.
    """
    low, high = (float(x) for x in erange.replace(",", " ").split()[:2])
    number = spectrum if isinstance(spectrum, int) else int(spectrum.index)
    n = max(1, round(result.ess)) if nsamples is None else nsamples
    found = flux(result, low, high, spectrum=number, source=i_src, draws=n, xspec=xspec)
    repeats = np.rint(found.weights * n).astype(int)
    return np.repeat(found.samples, repeats, axis=0)


# -- how ---------------------------------------------------------------------------------------------------------------


def _band(
    result: Result,
    command: str,
    low: float,
    high: float,
    redshift: float | str | None,
    spectrum: int,
    source: int,
    unabsorbed: bool | str | Sequence[str],
    draws: int | None,
    xspec: ModuleType | None,
) -> Derived:
    if not 0 <= low < high:
        raise ValueError(f"{command} {low:g}-{high:g} keV: give the lower end of the band first, both in keV.")
    session = open_session(result, xspec)
    module = session.module
    holder = named_parameter(module, redshift) if isinstance(redshift, str) else None
    calculate = module.AllModels.calcFlux if command == "flux" else module.AllModels.calcLumin
    columns = [6 * source, 6 * source + 3][: 2 if command == "flux" else 1]

    def measure() -> np.ndarray:
        z = [] if redshift is None else [redshift if holder is None else holder.values[0]]
        calculate(" ".join(repr(float(x)) for x in (low, high, *z)))
        numbers = np.asarray(getattr(module.AllData(spectrum), command))
        if len(numbers) <= columns[-1]:
            raise ValueError(f"spectrum {spectrum} has {len(numbers) // 6} sources, not {source + 1}")
        return numbers[columns]

    names = ["energy flux", "photon flux"] if command == "flux" else ["luminosity"]
    units = [ERG, PHOTON] if command == "flux" else [LUMINOSITY]
    at = "" if redshift is None else f" at z = {redshift}"
    what = f"{'flux' if command == 'flux' else 'luminosity'} {low:g}-{high:g} keV{at}, spectrum {spectrum}"
    return _measured(result, session, command, what, names, units, measure, draws, unabsorbed)


def _measured(
    result: Result,
    session: Session,
    stage: str,
    what: str,
    names: list[str],
    units: list[str],
    measure: Callable[[], np.ndarray],
    draws: int | None,
    unabsorbed: bool | str | Sequence[str] = False,
) -> Derived:
    if len(names) != len(units):
        raise ValueError(f"There are {len(names)} names and {len(units)} units: give one unit each, '' where none.")
    if draws is None:
        index = np.flatnonzero(result.weights > 0)
        weights = result.weights[index]
    else:
        index, repeats = np.unique(result.resample(draws, return_index=True), return_counts=True)
        weights = repeats / repeats.sum()
    theta, prepare = result.samples[index].copy(), None
    if unabsorbed:
        columns, gone, prepare, check = without_absorption(session.module, session.parameters, unabsorbed)
        theta[:, columns] = 0.0
        what += f", unabsorbed ({', '.join(gone)} = 0)"
        plain = measure

        def measure() -> np.ndarray:
            check()
            return plain()

    before = session.evaluations[stage]
    values, reasons = session.measure(theta, measure, len(names), stage, prepare)
    spent = session.evaluations[stage] - before
    result.evaluations[stage] = result.evaluations.get(stage, 0) + spent
    good = np.array([not reason for reason in reasons]) & np.isfinite(values).all(axis=1)
    if not good.any():
        raise RuntimeError(f"XSPEC gave no {what} at any of {len(theta)} draws: {next(filter(None, reasons), 'NaN')}.")
    if not good.all():
        log.warning(
            "No %s at %d of %d draws, which are left out (%.2g of the posterior): %s",
            what, (~good).sum(), len(good), weights[~good].sum(), next(filter(None, reasons), "not finite"),
        )  # fmt: skip
    weights = weights[good] / weights[good].sum()
    return Derived(what, names, units, values[good], weights, index[good], spent)
