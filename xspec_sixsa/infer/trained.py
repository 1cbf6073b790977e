"""A compressor and an estimator that an earlier run has trained, as plain numbers, and whether they serve here.

They belong to priors and bins, which the run's folder knows (`run.network`), to their own settings, and to the noise
of the spectra that they were trained on: exposure, background, errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xspec_sixsa.infer.estimate import Amortised
    from xspec_sixsa.infer.noise import Noise

__all__ = ["Trained", "named", "within"]

NEARLY = 0.5  # standard deviations of a spectrum's counts, that another exposure may move them by
UNLIKE = 5.0  # standard deviations of chi-squared, by which two recorded backgrounds may differ
ERRORS = 0.1  # by which errors of chi-squared may differ, root mean square

WORDS = {"exposure": "exposure {:.6g} s, now {:.6g} s", "ratio": "background times {:.4g}, now {:.4g}"}

Value = TypeVar("Value")
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a round has trained.

    Attributes
    ----------
    settings : dict
        ``compressor``, ``estimator``, ``steps``, ``statistics`` (by spectrum), and the estimator's own options.
    arrays : dict of str to ndarray
        ``state.*`` (`Amortised.state`); of each bin, ``noise.exposure`` (seconds times AREASCAL), ``noise.background``
        (counts), ``noise.ratio`` and ``noise.sigma``, zero where there is none.
    folder : str
        Of the run that has it.
    why_not : str
        Why it cannot be used for the spectrum at hand; empty where it may be.
    """

    settings: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    folder: str = ""
    why_not: str = ""

    @classmethod
    def of(cls, network: Amortised, settings: dict[str, Any], noise: Noise) -> Trained | None:
        """What was trained on spectra with this noise; None where it serves one observation only."""
        state = {key: value.numpy() for key, value in network.state.items()}
        return cls(settings, named("state", state) | named("noise", _noise(noise))) if state else None

    def other_settings(self, settings: Mapping[str, Any]) -> str:
        """What is otherwise in these settings, in words; empty where nothing is."""
        keys = [key for key in {**self.settings, **settings} if self.settings.get(key) != settings.get(key)]
        return ", ".join(f"{key} {self.settings.get(key, 'none')}, now {settings.get(key, 'none')}" for key in keys)

    def other_noise(self, noise: Noise) -> list[str]:
        """What of this noise is not nearly that of the training, in words."""
        then, now, found = within("noise", self.arrays), _noise(noise), []
        for s, part in zip(noise.observation.spectra, noise.observation.slices, strict=True):
            before, after = ({key: value[part] for key, value in one.items()} for one in (then, now))
            found += [f"spectrum {s.index}: {what}" for what in _differences(before, after, float(s.counts.sum()))]
        return found


def _differences(before: Arrays, after: Arrays, counts: float) -> Iterator[str]:
    """What is not nearly the same in the noise of one spectrum, now of so many counts, in words."""
    for key, words in WORDS.items():
        if np.abs(after[key] - before[key]).max() * max(counts, 1.0) ** 0.5 > NEARLY * after[key].max():
            yield words.format(before[key].mean(), after[key].mean())
    then, now = before["background"], after["background"]
    seen = then + now > 0
    chi2, dof = float(((now - then)[seen] ** 2 / (now + then)[seen]).sum()), int(seen.sum())
    if chi2 - dof > UNLIKE * (2 * dof) ** 0.5:
        yield f"{then.sum():.6g} background counts, now {now.sum():.6g}"
    sigma = after["sigma"]
    off = (before["sigma"] - sigma)[sigma > 0] / sigma[sigma > 0]
    if len(off) and (off**2).mean() > ERRORS**2:
        yield f"errors off by {100 * (off**2).mean() ** 0.5:.0f} %"


def _noise(noise: Noise) -> dict[str, NDArray[np.float64]]:
    spectra = noise.observation.spectra

    def all_of(name: str) -> NDArray[np.float64]:
        found = [getattr(s, name) for s in spectra]
        return np.concatenate([np.zeros(s.n_bins) if x is None else x for s, x in zip(spectra, found, strict=True)])

    return {
        "exposure": noise.observation.area_time, "background": all_of("background"),
        "ratio": all_of("background_ratio"), "sigma": all_of("sigma"),
    }  # fmt: skip


def named(name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values, their names below `name`: ``name.key``."""
    return {f"{name}.{key}": value for key, value in values.items()}


def within(name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values whose names are below `name`, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}
