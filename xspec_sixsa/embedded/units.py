"""Units of energy axes: XSPEC's names for them, and their size against keV."""

from __future__ import annotations

from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["ENERGY_UNITS", "KEV_TO_ANGSTROM", "KEV_TO_ERG", "KEV_TO_HZ", "WAVE_UNITS", "range_in_kev"]

# CODATA 2014 as XSPEC 12.9.1 has them; its erg is CODATA 1986, and its axis in Hz rounds the factor.
KEV_TO_ANGSTROM = 12.39841974
KEV_TO_HZ = 2.4179884076620228e17
KEV_TO_ERG = 1.60217733e-9
ENERGY_UNITS = {"keV": 1.0, "MeV": 1e-3, "GeV": 1e-6, "Hz": 2.417965e17}
"""How many of the unit make a keV."""
WAVE_UNITS = {"angstrom": 1.0, "cm": 1e-8, "micron": 1e-4, "nm": 0.1}
"""How many of the unit make an angstrom (XSPEC 12.9.1 has 10 for nm, a slip)."""


def range_in_kev(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """An `ignore` or `notice` range of the unit that `Plot.xAxis` has set, in keV; None stays an open end.

    Raises
    ------
    XspecError
        For a wavelength that is not positive.
    """
    unit = session.energy_unit
    if unit in ENERGY_UNITS:
        factor = ENERGY_UNITS[unit]
        return (None if low is None else low / factor), (None if high is None else high / factor)
    for value in (low, high):
        if value is not None and value <= 0:
            raise XspecError(f"{value:g} {unit} is no wavelength: ranges are in the unit of Plot.xAxis, {unit!r}.")
    factor = KEV_TO_ANGSTROM * WAVE_UNITS[unit]
    # Long waves are low energies.
    return (None if high is None else factor / high), (None if low is None else factor / low)
