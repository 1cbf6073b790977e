"""The demonstration: an EPIC-pn-like response and spectrum made here, fitted as any session from the shell would be.

The response imitates the shape of XMM-Newton's EPIC-pn (Strueder et al. 2001, A&A 365, L18): silicon's Fano-limited
resolution, an effective area with the edges of oxygen, silicon and gold. It is no calibration.
"""

from __future__ import annotations

import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xspec_sixsa import embedded
from xspec_sixsa.embedded.ogip import ARF, PHA, RMF, write_arf, write_pha, write_rmf
from xspec_sixsa.interfaces.batch import fit_session

if TYPE_CHECKING:
    from types import ModuleType

    from xspec_sixsa.result import Result

__all__ = ["TRUTH", "DemoReport", "make_demo_data", "run_demo"]

log = logging.getLogger(__name__)

MODEL = "TBabs*(bbodyrad+powerlaw)"
TRUTH = {"nH__1": 0.096, "kT__2": 0.744, "norm__3": 0.1956, "PhoIndex__4": 2.03, "norm__5": 2.618e-4}
# The session does not start at the truth: nobody could say then that the fit had found it.
START = {"nH__1": 0.2, "kT__2": 1.0, "norm__3": 0.1, "PhoIndex__4": 2.5, "norm__5": 1e-4}
PRIORS = {
    "nH__1": ("uniform", 0.0, 0.5),
    "kT__2": ("uniform", 0.01, 2.0),
    "norm__3": ("loguniform", 1e-2, 1.0),
    "PhoIndex__4": ("uniform", 0.0, 5.0),
    "norm__5": ("loguniform", 1e-5, 1e-2),
}
PARAMETER_LINES = """\
          {nH__1!r}      0.001          0          0     100000      1e+06
          {kT__2!r}       0.01     0.0001       0.01        100        200
         {norm__3!r}       0.01          0          0      1e+20      1e+24
           {PhoIndex__4!r}       0.01         -3         -2          9         10
      {norm__5!r}       0.01          0          0      1e+20      1e+24
"""
EXPOSURE, FAKE_SEED, MINIMUM = 18000.0, 1, 20
IGNORE = "**-0.5 10.0-**"
NAMES = ("demo_pn.rmf", "demo_pn.arf", "demo_pn.pha", "session.xcm", "priors.toml")
RUN = "run"
# A run repeated with another seed should meet the same spectrum: FAKE_SEED is fixed and this is only the fit's.
DEFAULT_SEED = 1

# Effective area, cm2: logarithmic interpolation between these points; pairs at the edges make the jumps.
AREA = (
    (0.10, 60.0), (0.20, 330.0), (0.30, 600.0), (0.40, 760.0), (0.5320, 1000.0), (0.5321, 900.0), (0.80, 1170.0),
    (1.00, 1210.0), (1.50, 1320.0), (1.8389, 1290.0), (1.8390, 1170.0), (2.2056, 1090.0), (2.2057, 920.0),
    (3.00, 860.0), (4.00, 890.0), (5.00, 890.0), (6.00, 850.0), (7.00, 790.0), (8.00, 610.0), (9.00, 440.0),
    (10.0, 300.0), (12.0, 130.0), (15.0, 35.0),
)  # fmt: skip


@dataclass(frozen=True)
class DemoReport:
    """The demo's result beside the truth.

    Attributes
    ----------
    result : Result
    mass : float
        Posterior mass nearer to the mean than the truth (`Result.credible_mass`); inside the 99 % region below 0.99.
    inside : dict of name to bool
        Whether each parameter's truth lies in its own 99 % interval.
    folder : Path
        Where the data, `session.xcm` and `priors.toml` are.
    """

    result: Result
    mass: float
    inside: dict[str, bool]
    folder: Path

    @property
    def recovered(self) -> bool:
        """Whether the truth lies in the joint 99 % region and in every parameter's 99 % interval."""
        return self.mass < 0.99 and all(self.inside.values())

    def text(self) -> str:
        """Truth beside the 99 % intervals, the verdict on it, and the command that repeats the fit."""
        result, lines = self.result, ["Was the truth recovered?"]
        for i, name in enumerate(result.names):
            low, high = result.interval(0.99)[i]
            word = "inside" if self.inside[name] else "OUTSIDE"
            lines.append(f"  {result.labels[i]:<20} true {TRUTH[name]:<10g} 99 %: {low:.4g} .. {high:.4g}   {word}")
        word = "inside" if self.mass < 0.99 else "OUTSIDE"
        lines.append(f"  jointly: {word} the 99 % region (nearer to the mean than the truth: {100 * self.mass:.1f} %)")
        lines.append("All true parameters are recovered." if self.recovered else "The truth is NOT recovered.")
        session, priors = (shlex.quote(str(self.folder / name)) for name in ("session.xcm", "priors.toml"))
        lines.append(f"Repeat with your own options: sixsa fit {session} --priors {priors} --output run1")
        return "\n".join(lines)


def run_demo(
    output: str | os.PathLike[str],
    *,
    engine: str = "embedded",
    clobber: bool = False,
    seed: int | None = None,
    **options: Any,
) -> DemoReport:
    """Make the data in `output`, fit them, and compare with the truth.

    Parameters
    ----------
    output : path
        Folder for the data; the result goes to its folder `run`.
    engine : {"embedded", "xspec", "auto"}
        What fits; the spectrum is always made by the embedded engine.
    clobber : bool
        Replace an earlier demo (only its own files).
    seed : int
        Default 1, so that everybody sees the same numbers.
    **options
        As `xspec_sixsa.fit`.
    """
    folder = Path(output).absolute()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, not a folder: give another --output.")
    if folder.is_dir() and any(folder.iterdir()) and not clobber:
        raise FileExistsError(f"The folder {folder} exists: replace its demo with --clobber, or give another --output.")
    make_demo_data(folder)
    result = fit_session(
        folder / "session.xcm",
        folder / "priors.toml",
        output=folder / RUN,
        engine=engine,
        clobber=clobber,
        seed=DEFAULT_SEED if seed is None else seed,
        truth=TRUTH,
        **options,
    )
    truth = np.array([TRUTH[name] for name in result.names])
    bounds = result.interval(0.99)
    inside = {name: bool(bounds[i, 0] <= truth[i] <= bounds[i, 1]) for i, name in enumerate(result.names)}
    return DemoReport(result, result.credible_mass(truth), inside, folder)


def make_demo_data(folder: Path) -> Path:
    """Write response, effective area, spectrum, session and priors; return the session file.

    The spectrum: expected counts of `MODEL` at `TRUTH` in every channel, drawn with ``numpy.random.default_rng(1)``,
    grouped to at least 20 counts; about 10,000 counts in 0.5-10 keV.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rmf, arf = make_response()
    write_rmf(folder / "demo_pn.rmf", rmf)
    write_arf(folder / "demo_pn.arf", arf)
    pha = PHA(
        path="demo_pn.pha",
        values=np.ones(rmf.detchans),
        channels=np.arange(rmf.detchans),
        exposure=EXPOSURE,
        first_channel=0,
        detchans=rmf.detchans,
        respfile="demo_pn.rmf",
        ancrfile="demo_pn.arf",
        telescope="XMM",
        instrument="EPN",
        channel_type="PI",
    )
    # Folding needs a spectrum to fold for: one with a count in every channel, replaced at once.
    write_pha(folder / "demo_pn.pha", pha)
    expected = _expected_counts(embedded, folder / "demo_pn.pha")
    pha.values = np.random.default_rng(FAKE_SEED).poisson(expected).astype(float)
    pha.grouping = group_minimum(pha.values, MINIMUM)
    write_pha(folder / "demo_pn.pha", pha)
    log.info("Made %s: %d counts, %s", folder / "demo_pn.pha", pha.values.sum(), MODEL)
    (folder / "session.xcm").write_text(_session_text(), encoding="ascii")
    (folder / "priors.toml").write_text(_priors_text(), encoding="ascii")
    return folder / "session.xcm"


def make_response() -> tuple[RMF, ARF]:
    """Response and effective area: 2,000 energies in 0.1-15 keV, 1,500 channels of 10 eV."""
    from scipy.sparse import csr_array
    from scipy.special import ndtr

    edges = np.geomspace(0.1, 15.0, 2001)
    bounds = np.arange(1501) * 0.010
    centre = np.sqrt(edges[:-1] * edges[1:])
    # Silicon: variance = noise^2 + Fano factor * energy per electron-hole pair * energy; the noise is such that the
    # width is 151 eV (FWHM) at 5.9 keV.
    sigma = np.sqrt(0.039**2 + 0.12 * 3.65e-3 * centre)
    cumulative = ndtr((bounds[:, None] - centre) / sigma)
    matrix = np.diff(cumulative, axis=0)
    # Beyond 4.5 sigma there is less than 1e-5 of the line.
    middle = 0.5 * (bounds[1:] + bounds[:-1])
    matrix[np.abs(middle[:, None] - centre) > 4.5 * sigma] = 0.0
    rmf = RMF(
        path="demo_pn.rmf",
        energy_lo=edges[:-1],
        energy_hi=edges[1:],
        e_min=bounds[:-1],
        e_max=bounds[1:],
        matrix=csr_array(matrix),
        first_channel=0,
        channel_type="PI",
        telescope="XMM",
        instrument="EPN",
    )
    energy, area = np.array(AREA).T
    area = np.exp(np.interp(np.log(centre), np.log(energy), np.log(area)))
    arf = ARF("demo_pn.arf", energy_lo=edges[:-1], energy_hi=edges[1:], area=area, telescope="XMM", instrument="EPN")
    return rmf, arf


def group_minimum(counts: np.ndarray, minimum: int) -> np.ndarray:
    """OGIP GROUPING flags (1 starts a group, -1 continues it): `minimum` counts or more in each group but the last."""
    flags, inside = np.empty(len(counts), dtype=np.int16), 0.0
    start = True
    for i, count in enumerate(counts):
        flags[i] = 1 if start else -1
        inside = count if start else inside + count
        start = inside >= minimum
    return flags


def _expected_counts(xspec: ModuleType, spectrum_file: Path) -> np.ndarray:
    """Counts per channel at the truth, by the engine itself; the session is left empty."""
    xspec.AllData.clear()
    xspec.AllModels.clear()
    chatter, xspec.Xset.chatter = xspec.Xset.chatter, 0
    try:
        xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
        spectrum = xspec.Spectrum(str(spectrum_file))
        model = xspec.Model(MODEL)
        model.setPars(*TRUTH.values())
        return np.asarray(model.folded(1)) * spectrum.exposure
    finally:
        xspec.AllModels.clear()
        xspec.AllData.clear()
        xspec.Xset.chatter = chatter


def _session_text() -> str:
    return (
        "# Session of `sixsa demo`; paths are relative to this folder.\n"
        "statistic cstat\n"
        "data 1:1 demo_pn.pha\n"
        "response  1:1 demo_pn.rmf\n"
        "arf 1:1 demo_pn.arf\n"
        f"ignore 1:{IGNORE}\n"
        "method leven 10 0.01\n"
        "abund wilm\n"
        "xsect vern\n"
        "cosmo 70 0 0.73\n"
        "systematic 0\n"
        "model  TBabs(bbodyrad + powerlaw)\n" + PARAMETER_LINES.format(**START) + "bayes off\n"
    )


def _priors_text() -> str:
    tables = [
        f'["{name}"]\nkind = "{kind}"\nlow = {low!r}\nhigh = {high!r}\n' for name, (kind, low, high) in PRIORS.items()
    ]
    return "# Priors of `sixsa demo`, by the parameters' names in XSPEC's chains.\n\n" + "\n".join(tables)
