"""What the embedded engine remembers between calls: one session, as XSPEC has one.

Everything else in `xspec_sixsa.embedded` reads and changes this object, so that `AllData`, `AllModels`, `Fit`
and `Xset` always speak about the same data, models and settings.  It imports neither torch nor astropy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

import numpy as np

if TYPE_CHECKING:
    from xspec_sixsa.embedded.energies import Extension, Range
    from xspec_sixsa.embedded.loadedchain import LoadedChain
    from xspec_sixsa.embedded.parameterstate import ParameterState
    from xspec_sixsa.embedded.record import ModelRecord
    from xspec_sixsa.embedded.spectrum import Spectrum

__all__ = ["Abundances", "EngineSession", "LastFit", "XspecError", "session"]

Abundances = str | tuple[float, ...]
"""The name of a table, or atoms of hydrogen to zinc relative to hydrogen, (30,)."""


class XspecError(Exception):
    """Raised where PyXspec raises a plain ``Exception``; the message says what to type next."""


@dataclass(frozen=True)
class LastFit:
    """What the last fit found.

    Attributes
    ----------
    states : list of ParameterState
        The parameters that were free, in XSPEC's order.
    theta : ndarray (d,)
        Their best-fit values.
    covariance : ndarray (d, d)
        Rows and columns of pegged parameters are zero.
    """

    states: list[ParameterState]
    theta: np.ndarray
    covariance: np.ndarray


@dataclass
class EngineSession:
    """The loaded data, models and settings of the one engine session.

    Attributes
    ----------
    spectra : list of Spectrum
        Loaded spectra; spectrum number ``i`` (1-based, as in XSPEC) is ``spectra[i - 1]``.
    models : dict of str to ModelRecord
        Models by name in the order of their definition (``""`` = the unnamed one); kept by `record.py`.
    chains : list of LoadedChain
        Loaded chains in the order of their file names.
    abund : Abundances
        Abundance table; XSPEC 12.9.1's own default (``Xspec.init``).
    abund_file : str
        Absolute path of the file that `abund` came from, if from one.
    xsect : str
        Photoelectric cross-sections, likewise.
    cosmo : tuple of float
        H0 (km/s/Mpc), q0 and Lambda0.
    stat_method, stat_test, weight : str
        Fit statistic, test statistic and chi-squared weighting given to spectra loaded from now on.
    bayes : bool
        Whether -2 ln prior of the free parameters is part of the fit statistic.
    fit_iterations, critical_delta : int, float
        `Fit.nIterations` and `Fit.criticalDelta`.
    query, renorm : str
        `Fit.query`, and when `Fit.renorm` acts.
    error_delta : float
        Rise of the statistic that the last `Fit.error` looked for: the default of the next one.
    last_fit : LastFit or None
        None before the first fit.
    chatter, log_chatter : int
        How much is printed (0-25; 10 is XSPEC's default).
    log_file : text file or None
        The open log file.
    allow_prompting : bool
        Whether XSPEC would ask questions; the engine never does.
    allow_new_attributes : bool
        PyXspec's switch of that name; the engine's objects refuse new attributes in any case.
    energy_unit : str
        Unit of the real numbers in `ignore` and `notice`, set by `Plot.xAxis`.
    proportional_delta : float
        `Fit.delta`: fit deltas proportional to the parameter values (``Xspec.init``: 0.01); 0 for the parameters' own.
    eqwidth_range : float
        Half width of the continuum's range in `AllModels.eqwidth`, as a fraction of the energy (XSPEC's default 0.05).
    flux_band : tuple of float
        Ends of the band (keV) of the last `AllModels.calcFlux` or `calcLumin`: the default of the next one.
    flux_redshift : float
        Redshift of the last `calcLumin`, likewise; 0, which none accepts, before the first.
    model_strings : dict
        What `Xset.addModelString` has set.
    data_folder : str
        Folder of the compiled models' data that `xset mdatadir` has named; empty where it has not.
    energies : tuple of Range
        What `energies` has set in place of the responses' own; empty where it has not. The last ones stay behind in
        `ranges`, as defaults.
    extensions : dict of str to Extension
        By ``"low"`` and ``"high"``: what `energies extend` has set; the last one stays behind it as default.
    generator : numpy.random.Generator
        What fakeit and chains draw from, restarted by `Xset.seed`; no global state is touched.
    generation : int
        Rises with every change of data, noticed channels, responses, statistics, settings or model structure:
        the key of every cache.  Call `touch` after such a change.
    """

    spectra: list[Spectrum] = field(default_factory=list)
    models: dict[str, ModelRecord] = field(default_factory=dict)
    chains: list[LoadedChain] = field(default_factory=list)
    abund: Abundances = "angr"
    abund_file: str = ""
    xsect: str = "vern"
    cosmo: tuple[float, float, float] = (70.0, 0.0, 0.73)
    stat_method: str = "chi"
    stat_test: str = "chi"
    weight: str = "standard"
    bayes: bool = False
    fit_iterations: int = 10
    critical_delta: float = 0.01
    query: str = "on"
    renorm: str = "prefit"
    error_delta: float = 2.706
    last_fit: LastFit | None = None
    chatter: int = 10
    log_chatter: int = 10
    log_file: TextIO | None = None
    allow_prompting: bool = True
    allow_new_attributes: bool = False
    energy_unit: str = "keV"
    proportional_delta: float = 0.01
    eqwidth_range: float = 0.05
    flux_band: tuple[float, float] = (2.0, 10.0)
    flux_redshift: float = 0.0
    model_strings: dict[str, str] = field(default_factory=dict)
    data_folder: str = ""
    energies: tuple[Range, ...] = ()
    ranges: tuple[Range, ...] = ()
    extensions: dict[str, Extension] = field(default_factory=dict)
    last_extension: Extension | None = None
    generator: np.random.Generator = field(default_factory=np.random.default_rng)
    generation: int = 0

    def touch(self) -> int:
        """Make every cache stale after a change of data, response, setting or model structure."""
        self.generation += 1
        return self.generation

    def spectra_of_group(self, group: int) -> list[tuple[int, Spectrum]]:
        """Return ``(spectrum number, spectrum)`` of every spectrum in a data group."""
        return [(i, s) for i, s in enumerate(self.spectra, start=1) if int(s.dataGroup) == group]

    @property
    def settings_key(self) -> tuple[object, ...]:
        """What a model's value depends on besides its parameters and energies."""
        strings = tuple(sorted(self.model_strings.items()))
        return (self.abund, self.xsect, self.cosmo, strings, self.data_folder)


session = EngineSession()
"""The one session; import it as ``from xspec_sixsa.embedded.state import session``."""
