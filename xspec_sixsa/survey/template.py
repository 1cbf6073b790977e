"""What every spectrum of a survey has in common, and one spectrum after the other loaded with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import content_digest, working_directory
from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.embedded.grouping import make_grouping
from xspec_sixsa.embedded.ogip import PHA, read_pha
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.session import Session
from xspec_sixsa.session.settings import Silence
from xspec_sixsa.survey.entries import Entry

__all__ = ["Observed", "Response", "Template", "check_statistic"]

Points = NDArray[np.float64]

STATISTIC_AGREES = 1e-6  # of XSPEC's: both sum up the same formula, XSPEC from its own folding
STATISTIC_NOISE = 1e-4  # difference of statistics that rounding leaves, and that changes nothing


@dataclass(frozen=True)
class Response:
    """What folds a model for a spectrum: spectra with the same one share evaluations.

    Attributes
    ----------
    rmf, arf : str
        Files; `arf` is empty where there is none.
    first_channel, channels : int
        Number of the lowest channel, and how many there are.
    digest : str
        Of the files' contents: copies of one response are one.
    """

    rmf: str
    arf: str
    first_channel: int
    channels: int
    digest: str

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes two of them the same."""
        return self.digest, self.first_channel, self.channels


@dataclass(frozen=True, eq=False)
class Observed:
    """A spectrum that was loaded once: what its posterior needs, and no file open.

    Attributes
    ----------
    entry : Entry
    observation : Observation
    fingerprint : dict
    response : Response
    channels, starts : ndarray of int
        As those of `infer.sharedcurves.Fold`.
    theta : ndarray (d,)
        Where XSPEC evaluated it.
    counts : ndarray (n,)
        XSPEC's expected counts there.
    pha : PHA
        Of its file, without counts: what a spectrum of this response looks like.
    """

    entry: Entry
    observation: Observation
    fingerprint: dict[str, Any]
    response: Response
    channels: NDArray[np.int_]
    starts: NDArray[np.int_]
    theta: Points
    counts: Points
    pha: PHA


class Template:
    """The session that XSPEC holds, as what each spectrum of a survey is fitted with.

    Its model, settings and statistic are every spectrum's. Without `ignore`, its one spectrum says by its energies what
    is noticed: those groups of a spectrum whose middle lies where the template's are. Channels of bad quality are not.

    Parameters
    ----------
    session : Session
    prior : JointPrior
    ignore : str, optional
        What XSPEC's `ignore` is told for each spectrum: ``**-0.5 10.0-**``.

    Raises
    ------
    ValueError
        For a session with several spectra or sources, or a free gain: `fit` fits these.
    """

    def __init__(self, session: Session, prior: JointPrior, ignore: str | None = None) -> None:
        self.session, self.prior, self.ignore = session, prior, ignore
        self.module: ModuleType = session.module
        found = session.fingerprint()
        if len(found["spectra"]) != 1:
            raise ValueError(
                f"XSPEC holds {len(found['spectra'])} spectra: a survey takes model and channels from a session with "
                "one, and fits each spectrum alone. Unload the others (AllData -= 2), or fit them together with `fit`."
            )
        if session.why_no_chain or found.get("gain"):
            raise ValueError(
                "A gain changes the response, which the spectra of a survey share: fix the gain's parameters at none "
                "(response.gain.off()), or fit each spectrum with `fit`."
            )
        if len(found["spectra"][0]["responses"]) != 1:
            raise ValueError(
                "The session has models of several sources: a survey shares one response. Fit each spectrum with `fit`."
            )
        self.statistic = found["spectra"][0]["statistic"]
        self.noticed = np.sort(session.observation.spectra[0].energies, axis=1)
        self.fingerprint = {key: value for key, value in found.items() if key != "spectra"} | {
            "statistic": self.statistic,
            "noticed": ignore or [[float(low), float(high)] for low, high in _merged(self.noticed)],
        }

    def load(self, entry: Entry) -> Session:
        """Load a spectrum in place of what there is, with the template's model, channels and statistic.

        Raises
        ------
        Exception
            Whatever is wrong with its files.
        """
        module, (file, _, _) = self.module, split_name(str(entry.file))
        if not Path(file).is_file():
            raise FileNotFoundError(f"There is no file {file}.")
        with Silence(module), working_directory(entry.file.parent):
            # first: it says what is wrong with a file, as XSPEC does not
            quality = make_grouping(read_pha(entry.file.name)).quality
            module.AllData.clear()
            spectrum = module.Spectrum(entry.file.name)
            if entry.response is not None:
                spectrum.response = str(entry.response)
            if entry.arf is not None:
                spectrum.response.arf = str(entry.arf)
            if entry.background is not None:
                spectrum.background = str(entry.background)
            module.Fit.statMethod = self.statistic
            self._notice(spectrum, quality)
            return Session(module, workers=1)

    def _notice(self, spectrum: Any, quality: NDArray[np.int_]) -> None:
        if self.ignore:
            spectrum.ignore(self.ignore)
        numbers = np.asarray(spectrum.noticed, dtype=int)
        wanted = quality[numbers - 1] == 0
        if not self.ignore:
            middle = np.asarray(spectrum.energies, dtype=float).reshape(-1, 2).mean(axis=1)
            wanted &= ((middle[:, None] > self.noticed[:, 0]) & (middle[:, None] < self.noticed[:, 1])).any(axis=1)
        if not wanted.any():
            raise ValueError(f"None of its {len(quality)} groups lies in the energies that are to be fitted.")
        if not wanted.all():
            spectrum.ignore(_ranges(numbers[~wanted]))

    def read(self, entry: Entry) -> Observed:
        """Load a spectrum, and keep what its posterior needs; two evaluations, which show whether it can share them.

        Raises
        ------
        ValueError
            Where XSPEC's statistic is not that of the counts and backgrounds that were read.
        """
        session = self.load(entry)
        if session.names != self.session.names:
            raise ValueError(f"Its free parameters are {', '.join(session.names)}, not the template's.")
        with session, working_directory(entry.file.parent):
            spectrum, data = self.module.AllData(1), session.observation.spectra[0]
            pha = read_pha(entry.file.name)
            response = _response(spectrum, pha, entry.file.parent)
            found = session.evaluate(np.array([[p.values[0] for p in session.parameters]]), "check")
            if not found.ok[0]:
                raise ValueError(f"The model cannot be evaluated there: {found.reasons[0]}.")
            check_statistic(session.observation, found.counts, float(found.statistic[0]))
            channels, starts = _channels(pha, np.asarray(spectrum.noticed, dtype=int), response)
            if len(starts) != data.n_bins:
                raise ValueError(f"Its {data.n_bins} noticed groups are {len(starts)} in the file's GROUPING.")
        pha.values = np.zeros_like(pha.values)
        return Observed(
            entry, session.observation, session.fingerprint(), response, channels, starts, found.theta[0],
            found.counts[0], pha,
        )  # fmt: skip


def check_statistic(observation: Observation, counts: Points, statistic: float) -> None:
    """Refuse a spectrum whose statistic XSPEC computes otherwise (model weighting, systematics of the model)."""
    import torch

    from xspec_sixsa.common.fitstatistic import ObservedStatistic

    ours = -2.0 * float(ObservedStatistic(observation).log_likelihood(torch.tensor(counts))[0])
    if abs(ours - statistic) > STATISTIC_AGREES * abs(statistic) + STATISTIC_NOISE:
        raise ValueError(
            f"XSPEC's statistic is {statistic:.9g} where its data and model give {ours:.9g}: it knows more of this "
            "spectrum than can be shared (model weighting, a systematic error of the model). Fit it alone, with `fit`."
        )


def _merged(ranges: Points) -> Points:
    """Ranges of energy (m, 2), those that touch made one."""
    ordered = ranges[np.argsort(ranges[:, 0])]
    apart = ordered[1:, 0] > ordered[:-1, 1] * (1 + 1e-6)
    return np.stack([ordered[np.append(True, apart), 0], ordered[np.append(apart, True), 1]], axis=1)


def _ranges(numbers: NDArray[np.int_]) -> str:
    """Channel numbers as XSPEC takes them: ``1-12,300-454``."""
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    starts, ends = numbers[np.append(0, breaks + 1)], numbers[np.append(breaks, len(numbers) - 1)]
    return ",".join(f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _channels(pha: PHA, noticed: NDArray[np.int_], response: Response) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    group_of = make_grouping(pha).group_of
    parts = [pha.channels[group_of == number - 1] - response.first_channel for number in noticed]
    lengths = [len(part) for part in parts]
    return np.concatenate(parts), np.cumsum([0, *lengths[:-1]])


def _response(spectrum: Any, pha: PHA, folder: Path) -> Response:
    rmf = str((folder / spectrum.response.rmf).absolute())
    try:
        arf = str((folder / spectrum.response.arf).absolute())
    except Exception:  # PyXspec raises plain Exception where there is none
        arf = ""
    digest = "-".join(content_digest(name) for name in (rmf, arf) if name)
    return Response(rmf, arf, pha.first_channel, pha.detchans or len(pha.values), digest)
