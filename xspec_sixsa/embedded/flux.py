"""Model fluxes, luminosities and equivalent widths: `AllModels.calcFlux`, `calcLumin` and `eqwidth`."""

from __future__ import annotations

import math

import numpy as np

from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.evaluate import current, current_components, dummy_edges
from xspec_sixsa.embedded.record import ModelRecord
from xspec_sixsa.embedded.settings import fields
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["band_flux", "calculate", "equivalent_width", "luminosity_distance"]

ERG_PER_KEV = 1.602192e-9
"""XSPEC 12.9.1's own constant (twice 0.801096e-9), a hundredth of a per cent above CODATA's."""
TINY = 1.0e-35
"""Fluxes below it count as none in XSPEC's `eqwidth`."""
LUMINOSITY = 1.07057e13
"""4 pi (c/H0)^2 in 1e44 cm2 for H0 = 100 km/s/Mpc as XSPEC 12.9.1 has it; 0.45 per cent below 4 pi (9.2507e27 cm)^2."""


def band_flux(edges: np.ndarray, flux: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Integrate a model over a band.

    Parameters
    ----------
    edges : ndarray (nE + 1,)
        keV.
    flux : ndarray (nE,)
        Photons/cm2/s in each bin; bins cut by the band count in proportion, at the middle of the part inside.
    low, high : float
        keV.

    Returns
    -------
    ergs, photons : float
        erg/cm2/s and photons/cm2/s.
    """
    inside_low, inside_high = np.clip(edges[:-1], low, high), np.clip(edges[1:], low, high)
    photons = flux * (inside_high - inside_low) / np.diff(edges)
    return float(np.sum(photons * 0.5 * (inside_low + inside_high)) * ERG_PER_KEV), float(photons.sum())


def luminosity_distance(redshift: float) -> float:
    """Return the luminosity distance in units of c/H0 for `Xset.cosmo` (H0, q0, Lambda0), as XSPEC computes it.

    With Lambda0 a flat universe (q0 is not used) by the fit of Pen (1999, ApJS 120, 49), within 0.4 per cent of the
    integral; without it the closed form of Mattig (1958).
    """
    _, q0, lam = session.cosmo
    z = redshift
    if lam != 0.0:
        distance = (1.0 + z) * (_pen(1.0, 1.0 - lam) - _pen(1.0 / (1.0 + z), 1.0 - lam))
    elif q0 * z > 5.0e-5:
        distance = (q0 * z + (q0 - 1.0) * (math.sqrt(1.0 + 2.0 * q0 * z) - 1.0)) / q0**2
    else:
        distance = z + 0.5 * z**2 * (1.0 - q0 * (1.0 + z) + q0**2 * z)
    return distance


def _pen(a: float, matter: float) -> float:
    """Conformal time of scale factor `a` in a flat universe, equation 1 of Pen (1999)."""
    s3 = (1.0 - matter) / matter
    s = math.copysign(abs(s3) ** (1.0 / 3.0), s3)
    series = a**-4 - 0.1540 * s / a**3 + 0.4304 * s**2 / a**2 + 0.19097 * s**3 / a + 0.066941 * s**4
    return 2.0 * math.sqrt(s3 + 1.0) * series**-0.125


def calculate(command: str, luminosity: bool) -> None:
    """Carry out a `flux` or `lumin` command and store the results.

    A number that is left out (``"2"``, ``",,0.1"``) is that of the last command, of either kind, as in XSPEC.

    Raises
    ------
    XspecError
        For numbers that cannot be read, a band outside the response, ``err``, or when no model is loaded.
    """
    words = fields(command)
    what = "lumin" if luminosity else "flux"
    if any(word.lower().startswith("err") for word in words):
        raise XspecError(
            f"'{what} ... err' is not available in the embedded engine: take it from posterior samples, "
            f"or run it in XSPEC with the chain loaded."
        )
    numbers = [*session.flux_band, session.flux_redshift]
    words = [word for word in words if not word.lower().startswith("no")][: 3 if luminosity else 2]
    try:
        for i, word in enumerate(words):
            numbers[i] = float(word) if word else numbers[i]
    except ValueError:
        raise XspecError(f'Error: {what} {command!r}: give numbers, for instance "2 10".') from None
    low, high = sorted(numbers[:2])
    session.flux_band, session.flux_redshift = (low, high), numbers[2]
    redshift, factor = 0.0, 1.0
    if luminosity:
        redshift = session.flux_redshift
        if redshift <= 0.0:
            raise XspecError(f'Error: redshift must > 0 to compute luminosity, not {redshift}: calcLumin("2 10 0.05").')
        factor = LUMINOSITY * (luminosity_distance(redshift) / (session.cosmo[0] / 100.0)) ** 2
    low, high = low / (1.0 + redshift), high / (1.0 + redshift)
    active = [record for record in session.models.values() if record.active]
    if not active:
        raise XspecError(
            f"{what.capitalize()} Command Error: No model has energies within requested range: define a Model first."
        )
    present = current()
    attribute = "lumin" if luminosity else "flux"
    if not session.spectra:
        for record in active:
            ergs, photons = band_flux(dummy_edges(), present.dummy_flux(record), low, high)
            setattr(record, attribute, (ergs * factor, 0.0, 0.0, photons, 0.0, 0.0))
        return
    lines: list[str] = []
    for number, spectrum in enumerate(session.spectra, start=1):
        result: list[float] = []
        # One heading for all sources: 12.9.1 repeats it, which BXA's get_isrc cannot read.
        lines.append(f" Spectrum Number: {number}\n Data Group Number: {spectrum.dataGroup}")
        for record in sorted(session.models.values(), key=lambda r: r.source):
            if not record.active or not spectrum.has_source(record.source):
                continue
            edges = present.edges(record, number)
            if high <= edges[0] or low >= edges[-1]:
                raise XspecError(
                    f"{what.capitalize()} Command Error: {low:g}-{high:g} keV lies outside the response "
                    f"of spectrum {number} ({edges[0]:g}-{edges[-1]:g} keV)."
                )
            ergs, photons = band_flux(edges, present.flux(record, number), low, high)
            result += [ergs * factor, 0.0, 0.0, photons, 0.0, 0.0]
            lines.append(_report(record.source, result[-6:], (low, high), redshift))
        setattr(spectrum, f"_{attribute}", tuple(result))
    report("\n".join(lines))


def equivalent_width(record: ModelRecord, number: int, fraction: float) -> None:
    """Carry out an `eqwidth` command and store the result in the spectra, data group by data group.

    As the XSPEC manual defines it: the component's photon flux (with what multiplies it) over the flux density of all
    other components, averaged over the bins that touch E(1 -+ `fraction`), E the middle of the bin where the component
    is brightest per keV.

    Raises
    ------
    XspecError
        For a component that is not additive, or where there is no continuum.
    """
    components = record.expression.components
    if not 1 <= number <= len(components) or components[number - 1].kind != "add":
        raise XspecError(f"Eqwidth Command Error: Component {number} is not an additive component.")
    place = sum(component.kind == "add" for component in components[: number - 1])
    present = current()
    for group in record.groups:
        spectra = [(i, s) for i, s in session.spectra_of_group(group) if s.has_source(record.source)]
        peak = None
        for i, _ in spectra:
            edges = present.edges(record, i)
            part = current_components(record, group, i)[place]
            density = np.abs(part) / np.diff(edges)
            k = int(np.argmax(density))
            if peak is None or density[k] > peak[0]:
                peak = density[k], k, edges, part, present.flux(record, i)
        if peak is None:
            continue
        _, k, edges, part, total = peak
        width = 0.0
        if abs(part.sum()) > TINY:
            energy = 0.5 * (edges[k] + edges[k + 1])
            low = max(int(np.searchsorted(edges, energy * (1 - fraction), side="right")) - 1, 0)
            high = min(int(np.searchsorted(edges, energy * (1 + fraction), side="left")), len(edges) - 1)
            continuum = (total - part)[low:high].sum() / (edges[high] - edges[low])
            if abs(continuum) <= TINY:
                raise XspecError("Infinite equivalent width due to no continuum")
            width = float(part.sum() / continuum)
        for _, spectrum in spectra:
            spectrum._eqwidth = (width, 0.0, 0.0)
        report(f"\nData group number: {group}\nAdditive group equiv width for Component {number}:  {width:.6g} keV")


def _report(source: int, result: list[float], band: tuple[float, float], z: float) -> str:
    """XSPEC's own lines; programs find out from them which source comes where in `Spectrum.flux`."""
    energies = f"{band[0] * (1.0 + z):#.5g} - {band[1] * (1.0 + z):#.5g} keV"
    if z:
        return f" Source {source}\n Model Luminosity {result[0]:.5g} x 10^44 ergs/s ({energies} rest frame, z = {z:g})"
    return f" Source {source}\n Model Flux {result[3]:.5g} photons ({result[0]:.5g} ergs/cm^2/s) range ({energies})"
