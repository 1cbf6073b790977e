"""Simulated spectra: PyXspec's `FakeitSettings` and `AllData.fakeit`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from xspec_sixsa.embedded.grouping import GroupedSpectrum
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.ogip import PHA, read_pha, write_pha
from xspec_sixsa.embedded.response import load_response, load_rmf
from xspec_sixsa.embedded.spectrum import Background, Spectrum
from xspec_sixsa.embedded.state import XspecError, session

__all__ = ["FakeitSettings", "fakeit"]


class FakeitSettings:
    """How one spectrum is simulated; everything left empty comes from the spectrum it replaces.

    Parameters
    ----------
    response, arf, background : str, default ""
        Files; `response` and `arf` count only where no spectrum with a response is replaced.
    exposure, correction, backExposure : str or float, default ""
        Seconds, correction norm, background seconds.
    fileName : str, default ""
        Output file; by default the original's or the response's name with ``.fak``.
    """

    _names = ("response", "arf", "background", "exposure", "correction", "backExposure", "fileName")

    def __init__(self, response: str | FakeitSettings = "", arf: str = "", background: str = "",
                 exposure: str | float = "", correction: str | float = "", backExposure: str | float = "",
                 fileName: str = "") -> None:  # fmt: skip
        if isinstance(response, FakeitSettings):
            for name in self._names:
                setattr(self, name, getattr(response, name))
            return
        self.response, self.arf, self.background, self.fileName = response, arf, background, fileName
        self.exposure, self.correction, self.backExposure = str(exposure), str(correction), str(backExposure)

    def __setattr__(self, name: str, value: str | float) -> None:
        if name not in self._names:
            raise XspecError(f"***Error: Attribute {name} does not exist in class FakeitSettings. Did you misspell?")
        object.__setattr__(self, name, value)

    def _stripped(self) -> FakeitSettings:
        copy = FakeitSettings(self)
        for name in self._names:
            setattr(copy, name, str(getattr(copy, name)).strip())
        if "none" in (copy.response.lower(), copy.arf.lower(), copy.background.lower(), copy.fileName.lower()):
            raise XspecError(
                'Error: "none" is not a valid option in PyXspec fakeit. When fakeit sets are based on '
                "pre-existing spectra, "
                "remove any unwanted auxiliary files prior to running fakeit."
            )
        return copy

    def _number(self, name: str) -> float | None:
        text = getattr(self, name)
        if not text:
            return None
        try:
            return float(text)
        except ValueError as error:
            raise XspecError(f"FakeitSettings.{name} is {text!r}; a number is needed.") from error


def _collect(
    settings: FakeitSettings | list[FakeitSettings] | dict[int, FakeitSettings] | None, count: int
) -> list[FakeitSettings]:
    if settings is None:
        given: list[FakeitSettings] = []
    elif isinstance(settings, FakeitSettings):
        given = [settings]
    elif isinstance(settings, dict):
        if max(settings) > count:
            raise XspecError(
                f"Error: Settings entry for spectrum {max(settings)} is beyond the number of fake spectra requested."
            )
        given = [settings.get(i, FakeitSettings()) for i in range(1, max(settings) + 1)]
    else:
        given = list(settings)
    given = [g._stripped() for g in given[:count]]
    return given + [FakeitSettings() for _ in range(count - len(given))]


def fakeit(
    n_spectra: int = 1,
    settings: FakeitSettings | list[FakeitSettings] | dict[int, FakeitSettings] | None = None,
    apply_stats: bool = True,
    file_prefix: str = "",
    no_write: bool = False,
    rng: np.random.Generator | None = None,
) -> None:
    """Replace all loaded spectra by simulated ones, from the current models, responses and backgrounds.

    Parameters
    ----------
    n_spectra : int, default 1
        At least as many as are loaded; those beyond need a response in their settings.
    settings : FakeitSettings, list, dict or None
        By spectrum, in order or by number from 1.
    apply_stats : bool, default True
        Draw Poisson counts (Gaussian rates for spectra that are not Poisson).  Without it the files hold rates.
    file_prefix : str, default ""
        Put before default file names.
    no_write : bool, default False
        Keep the spectra in memory only.
    rng : numpy.random.Generator, optional
        By default the engine's own, started by `Xset.seed`.

    Raises
    ------
    XspecError
        No model, no response, channels that do not match; nothing is replaced then.
    """
    if not session.models:
        raise XspecError("fakeit needs a model: define one first, e.g. Model('powerlaw').")
    originals = list(session.spectra)
    count = max(int(n_spectra), len(originals))
    records = _collect(settings, count)
    fakes, names = [], []
    for i, record in enumerate(records):
        original = originals[i] if i < len(originals) else None
        fakes.append(_from_original(original, record) if original else _from_response(record, i + 1))
        names.append(_file_name(original, record, i + 1, file_prefix))
    if rng is None:
        rng = session.generator
    try:
        session.spectra[:] = fakes
        session.touch()
        rates = [_model_rates(fake) for fake in fakes]
    except Exception:
        session.spectra[:] = originals
        session.touch()
        raise
    try:
        for fake, rate, name in zip(fakes, rates, names, strict=True):
            _simulate(fake, rate, apply_stats, rng, name)
        if not no_write:
            for fake in fakes:
                if fake._background is not None:
                    write_pha(fake._background._pha.path, fake._background._pha)
                write_pha(fake._pha.path, fake._pha)
    except Exception:
        session.spectra[:] = originals
        session.touch()
        raise
    session.touch()


def _from_original(original: Spectrum, record: FakeitSettings) -> Spectrum:
    exposure, correction = record._number("exposure"), record._number("correction")
    pha = dataclasses.replace(original._pha, exposure=original.exposure if exposure is None else exposure)
    _check_exposure(pha.exposure)
    fake = Spectrum.__new__(Spectrum)
    fake._set_pha(pha, original.dataGroup)
    # Grouping and scales stay those of the original's counts.
    fake._grouped, fake._stat_method = original._grouped, original._stat_method
    fake._cornorm = original.cornorm if correction is None else correction
    for source, response in original._responses.items():
        fake._responses[source] = type(response)(fake, response._rmf, response._arf, source)
    if not fake._responses:
        if not record.response:
            raise XspecError(f"A response is needed for spectrum {original.fileName}: FakeitSettings(response=file).")
        fake._responses[1] = load_response(fake, pha, record.response, record.arf)
    fake._correction = original._correction
    if record.background:
        fake._background = fake._read_background(record.background, original.fileName)
    elif original._background is not None:
        fake._background = Background(fake, original._background._pha, original._background._grouped)
    _set_back_exposure(fake, record)
    return fake


def _from_response(record: FakeitSettings, number: int) -> Spectrum:
    if not record.response:
        raise XspecError(
            f"A response is needed for fake spectrum {number}: FakeitSettings(response=file). "
            "XSPEC's dummy response is not available in the embedded engine."
        )
    back = read_pha(record.background, None, "background") if record.background else None
    exposure = record._number("exposure")
    if exposure is None:
        exposure = back.exposure if back else 1.0
    _check_exposure(exposure)
    rmf = load_rmf(record.response, None)
    n = rmf.detchans if back is None else back.values.size
    first = rmf.first_channel if back is None else back.first_channel
    start = first if back is None else int(back.channels[0])
    pha = PHA(
        path=record.response, values=np.zeros(n), channels=np.arange(start, start + n), exposure=exposure,
        first_channel=first, detchans=rmf.detchans if back is None else back.detchans,
        quality=np.zeros(n, int), grouping=np.ones(n, int),
        area_scale=np.ones(n) if back is None else back.area_scale,
        back_scale=np.ones(n) if back is None else back.back_scale,
        area_is_key=back is None or back.area_is_key, back_is_key=back is None or back.back_is_key,
        telescope=rmf.telescope, instrument=rmf.instrument, channel_type=rmf.channel_type,
    )  # fmt: skip
    fake = Spectrum.__new__(Spectrum)
    fake._set_pha(pha, 1)
    fake._cornorm = record._number("correction") or 1.0
    fake._responses[1] = load_response(fake, pha, record.response, record.arf)
    if record.background:
        fake._background = fake._read_background(record.background, None)
    _set_back_exposure(fake, record)
    return fake


def _check_exposure(exposure: float) -> None:
    if not exposure > 0:
        raise XspecError(f"fakeit: the exposure is {exposure} s; a positive one is needed.")


def _set_back_exposure(fake: Spectrum, record: FakeitSettings) -> None:
    seconds = record._number("backExposure")
    if seconds is not None and seconds > 0 and fake._background is not None:
        fake._background._exposure = seconds


def _file_name(original: Spectrum | None, record: FakeitSettings, number: int, prefix: str) -> str:
    if record.fileName:
        return record.fileName
    if original is not None:
        return prefix + Path(original.fileName).with_suffix(".fak").name
    return f"{prefix}{Path(record.response).stem}_{number}.fak"


def _model_rates(fake: Spectrum) -> np.ndarray:
    rate = np.zeros(fake._grouping.size)
    for source, name in AllModels.sources.items():
        if source in fake._responses:
            rate += np.asarray(AllModels(fake.dataGroup, name).folded(fake.index))
    return rate


def _spread(fake: Spectrum, grouped: np.ndarray) -> np.ndarray:
    """Put each group's value into its first channel, where XSPEC writes it."""
    out = np.zeros(fake._pha.values.size)
    out[fake._grouping.ends()[0]] = grouped
    return out


def _fill(fake: Spectrum, grouped: np.ndarray) -> np.ndarray:
    """Give every channel the value of its group; that of the first group to channels that are dropped."""
    return grouped[np.maximum(fake._grouping.group_of, 0)]


def _draw(
    rate: np.ndarray,
    variance: np.ndarray,
    to_counts: np.ndarray,
    poisson: bool,
    apply_stats: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Noise on rates: (rate, variance, whether Poisson)."""
    if not apply_stats:
        return rate, variance, False
    if poisson:
        drawn = rng.poisson(np.maximum(rate * to_counts, 0.0)) / to_counts
        return drawn, drawn / to_counts, True
    return rate + rng.standard_normal(rate.size) * np.sqrt(variance), variance, False


def _simulate(fake: Spectrum, model: np.ndarray, apply_stats: bool, rng: np.random.Generator, name: str) -> None:
    grouped, background = fake._grouped, fake._background
    if not np.isfinite(model).all():
        raise XspecError(
            f"fakeit: the folded model has {(~np.isfinite(model)).sum()} NaN or infinite bins. Check its parameters."
        )
    rate = model.copy()
    if fake._correction is not None:
        rate += fake._cornorm * fake._correction._grouped.rate
    if background is not None:
        rate += background._grouped.rate
    to_counts = fake.exposure * grouped.area_scale
    # As in XSPEC: without noise a Poisson source has no errors at all, its background keeps those it had.
    variance = np.zeros_like(rate) if grouped.poisson else grouped.variance
    new, variance, poisson = _draw(rate, variance, to_counts, grouped.poisson, apply_stats, rng)
    fake._grouped = dataclasses.replace(grouped, rate=new, variance=variance, poisson=poisson)
    path = Path(name)
    back_name = str(path.with_name(f"{path.stem}_bkg{path.suffix}"))
    response = fake._responses.get(1)
    pha = _with_rates(fake._pha, fake, new, variance, poisson, grouped, fake.exposure)
    fake._pha = dataclasses.replace(
        pha, path=name, corr_scale=fake._cornorm, backfile="" if background is None else back_name,
        respfile="" if response is None else response.rmf,
        ancrfile="" if response is None or not response.has_arf else response.arf,
    )  # fmt: skip
    if background is None:
        fake._cache.clear()
        return
    old = background._grouped
    # The background's own rate, without the ratio of the BACKSCALs that scales it to the source.
    ratio = old.back_scale / grouped.back_scale
    drawn, back_variance, back_poisson = _draw(
        old.rate, old.variance, background._to_counts(), old.poisson, apply_stats, rng
    )
    pha = _with_rates(
        background._pha, fake, drawn * ratio, back_variance * ratio**2, back_poisson, old, background._exposure
    )
    own = dataclasses.replace(pha, path=back_name, exposure=background._exposure, backfile="", respfile="", ancrfile="")
    new_grouped = dataclasses.replace(old, rate=drawn, variance=back_variance, poisson=back_poisson)
    fake._background = Background(fake, own, new_grouped)
    fake._cache.clear()


def _with_rates(
    pha: PHA, fake: Spectrum, rate: np.ndarray, variance: np.ndarray, poisson: bool, scales: GroupedSpectrum,
    exposure: float,
) -> PHA:  # fmt: skip
    """A PHA file that gives these grouped rates when it is read."""
    area = scales.area_scale
    if poisson:
        values, error = np.round(_spread(fake, rate * area * exposure)), None
    else:
        values, error = _spread(fake, rate * area), _spread(fake, np.sqrt(variance) * area)
    return dataclasses.replace(
        pha, values=values, is_counts=poisson, poisson=poisson, stat_err=error, sys_err=None, net=False,
        quality=np.where(fake._grouping.group_of < 0, 1, 0) if fake._pha.quality is None else fake._pha.quality,
        grouping=fake._pha.grouping,
        # One value in all channels of a group, so that grouping gives it back whatever the counts.
        area_scale=_fill(fake, scales.area_scale), back_scale=_fill(fake, scales.back_scale),
    )  # fmt: skip
