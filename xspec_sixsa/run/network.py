"""What a run has learned of its model, kept in its folder (numbers and texts, no pickle) for spectra to come.

Of a factored model these are the curves of its parts, of another one the evaluated spectra. They belong to model,
response and frozen values; exposure, background, counts and priors may be others, and groups may be coarser. Emulators
are fitted to them anew: that takes no evaluation, and depends on the observation's noise. A compressor and an estimator
that the run has trained are kept, too; they are of its priors and groups.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.files import content_digest, plain
from xspec_sixsa.common.fitsfile import split_name
from xspec_sixsa.common.observation import Observation
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.sharedcurves import Fold
from xspec_sixsa.infer.trained import Trained, within
from xspec_sixsa.priors import JointPrior
from xspec_sixsa.session import Session, difference

__all__ = ["ARRAYS", "FACTORED", "FILE", "TRAINED", "WHOLE", "Network", "definition", "structure"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

FILE, ARRAYS = "network.json", "network.npz"
TRAINED = "trained"  # below which the arrays of compressor and estimator are named
FACTORED, WHOLE = "factored", "whole"  # kinds: curves of parts are known, or whole spectra
RANGE = (0.001, 0.999)  # quantiles of a prior that stand for its range
AGREES = 1e-4  # of the largest count: what is known is checked by an evaluation, and single precision folds it
SAME_EDGE = 1e-5  # relative difference of energies: files have them in single precision
MODEL = ("models", "free", "frozen", "links", "gain", "abund", "xsect", "cosmo", "model_strings")
"""What of a session's fingerprint the curves depend on, beside responses and energies."""


@dataclass(eq=False)
class Network:
    """What a run has learned, for the spectrum at hand.

    Attributes
    ----------
    folder : Path
        Of the run that left it.
    about : dict
        What `definition` gives, and ``kind``, ``structure``, ``known`` (curves or spectra), ``measured`` (range of each
        parameter where they are), ``emulator`` (what it was worth there), ``evaluations`` (of that run), and
        ``trained`` (`Trained.settings`) where that run has trained a compressor and an estimator.
    arrays : dict of str to ndarray
        ``rate_k`` (m, n_bins): counts over exposure and AREASCAL, at ``theta_k`` (m, inputs) and ``x_k`` in that run's
        unit cube. ``trained.*``: `Trained.arrays`.
    prior : JointPrior
        Of the spectrum at hand.
    fold : Fold
        From the run's groups to those at hand.
    same_prior : bool
    beyond : list of str
        Where the priors at hand reach beyond those of the run.
    taught : int
        Curves or spectra of it that the run at hand has begun with.
    """

    folder: Path
    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    prior: JointPrior
    fold: Fold
    same_prior: bool
    beyond: list[str]
    taught: int = 0

    @classmethod
    def load(cls, folder: str | os.PathLike[str], session: Session, prior: JointPrior) -> Network:
        """Read what a run has left, and see that it is of this model and response.

        Raises
        ------
        FileNotFoundError
            Where there is none.
        ValueError
            For another model or response, with what differs, and for groups that are not made of the run's.
        """
        folder = Path(folder).absolute()
        if not (folder / FILE).is_file():
            raise FileNotFoundError(
                f"{folder} holds no network ({FILE} is missing): give the folder of a run that has come to its end. "
                "Those with training = simulated leave none."
            )
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
        now = plain(definition(session, prior))
        changes = difference(_with_files_of(about["model"], now["model"]), now["model"])
        if changes:
            raise ValueError(
                f"The network in {folder} is of another model or response: {'; '.join(changes)}. Undo that, or fit "
                "without it."
            )
        with np.load(folder / ARRAYS, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        fold = _fold(arrays["energies"], about["bins"], session.observation, folder)
        found = cls(folder, about, arrays, prior, fold, about["prior"] == now["prior"], _beyond(about, now))
        if not found.same_prior:
            prior.cdf(prior.transform(np.full((1, len(prior)), 0.5)))  # refuses joint priors, which have no inverse
        return found

    @property
    def digest(self) -> str:
        """What a resumed run must begin with, too."""
        return content_digest(str(self.folder / ARRAYS))

    @property
    def is_factored(self) -> bool:
        """Whether it knows curves of parts, and not whole spectra."""
        return bool(self.about["kind"] == FACTORED)

    @property
    def trained(self) -> Trained | None:
        """The compressor and the estimator that the run has trained, where it has."""
        if TRAINED not in self.about:
            return None
        bins = len(self.arrays["energies"])
        same_bins = self.fold.n_bins == bins and np.array_equal(self.fold.channels, np.arange(bins))
        other = [what for what, same in (("priors", self.same_prior), ("bins", same_bins)) if not same]
        arrays = within(TRAINED, self.arrays)
        return Trained(self.about[TRAINED], arrays, str(self.folder), " and ".join(other))

    def __str__(self) -> str:
        what = "curves" if self.is_factored else "spectra"
        text = f"network: {self.about['known']} {what} are known from {self.folder}"
        if self.beyond:
            text += f"; curves are measured over the whole priors, which reach beyond it: {', '.join(self.beyond)}"
        return text

    def known(self, k: int, columns: Sequence[int]) -> tuple[Points, Points]:
        """Points (m, inputs) of the prior's cube, and counts (m, n_bins) of the spectrum's groups: of the k-th curve.

        `columns` are its inputs. What lies outside the prior is left out.
        """
        x, theta, counts = self.arrays[f"x_{k}"], self.arrays[f"theta_{k}"], self.fold(self.arrays[f"rate_{k}"])
        if self.same_prior or not x.shape[1]:
            return x, counts
        low, high = self.prior.support[list(columns)].T
        inside = ((theta >= low) & (theta <= high)).all(axis=1)
        whole = np.tile(self.prior.transform(np.full((1, len(self.prior)), 0.5)), (int(inside.sum()), 1))
        whole[:, columns] = theta[inside]
        return self.prior.cdf(whole)[:, columns], counts[inside]

    def teach(self, factors: Factors) -> None:
        """Let the curves be known to the model's factors; an evaluation of each sees that it holds.

        Raises
        ------
        ValueError
            Where the model gives another curve than the known one.
        """
        if structure(factors, self.prior) != self.about["structure"]:
            log.warning("network: the model is taken apart into other parts than in %s: none is known.", self.folder)
            return
        for k, parts in enumerate(factors.sharing):
            x, curves = self.known(k, factors.parts[parts[0]].inputs)
            if len(x):
                self.check(factors.curves(parts[0], x[:1]), curves[:1])
            before = factors.known[parts[0]]
            factors.known[parts[0]] = np.concatenate([before[0], x]), np.concatenate([before[1], curves])
            self.taught += len(x)
        factors.surveyed = not self.beyond

    def check(self, now: Points, known: Points) -> None:
        """Refuse what the model gives otherwise now."""
        worst = float(np.abs(now - known).max() / max(np.abs(known).max(), 1e-300))
        if not worst <= AGREES:
            raise ValueError(
                f"What is known from {self.folder} is not this model's: a spectrum of it is off by {worst:.2g} of its "
                "largest count (a table or a response of the same name that has changed?). Fit without network."
            )


def definition(session: Session, prior: JointPrior) -> dict[str, Any]:
    """What curves belong to (``model``), where they are to hold (``prior``, ``ranges``), and ``bins`` by spectrum."""
    found = session.fingerprint()
    model = {key: found[key] for key in MODEL if key in found}
    model["responses"] = _responses(session)
    model["energies"] = {
        f"spectrum {number}, source {source}": text
        for number, spectrum in enumerate(found["spectra"], start=1)
        for source, text in spectrum.get("energies", {}).items()
    }
    ends = prior.transform(np.outer(RANGE, np.ones(len(prior))))
    return {
        "model": model,
        "prior": prior.to_dict(),
        "ranges": {name: sorted(column) for name, column in zip(prior.names, ends.T.tolist(), strict=True)},
        "bins": [spectrum.n_bins for spectrum in session.observation.spectra],
    }


def _responses(session: Session) -> dict[str, str]:
    """Names and digests of the files, whose places only a saved session tells."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sixsa-") as folder:
        text = session.save_xcm(Path(folder) / "session.xcm").read_text(encoding="utf-8")
    for command, source, number, name in re.findall(r"(?m)^\s*(response|arf)\s+(\d+):(\d+)\s+(\S.*?)\s*$", text):
        known = f" ({content_digest(name)[:12]})" if Path(split_name(name)[0]).exists() else ""
        found[f"{command} {source}:{number}"] = f"{Path(name).name}{known}"
    return found


def _with_files_of(then: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The earlier definition with the present names of files that have one content, or of which that is not known."""
    files, digests = dict(then["responses"]), re.compile(r" \((\w{12})\)$")
    for key in files.keys() & now["responses"].keys():
        before, after = (digests.search(text[key]) for text in (files, now["responses"]))
        if before is None or after is None or before[1] == after[1]:
            files[key] = now["responses"][key]
    return then | {"responses": files}


def structure(factors: Factors, prior: JointPrior) -> list[Any]:
    """The parts in words: norm, inputs, and whose curve each has."""

    def name(column: int | None) -> str:
        return "" if column is None else prior.names[column]

    return [[name(part.norm), [name(c) for c in part.inputs], part.curve] for part in factors.parts]


def _beyond(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = []
    for name, (low, high) in now["ranges"].items():
        least, most = then["ranges"][name]
        slack = 1e-9 * max(abs(least), abs(most))
        if low < least - slack or high > most + slack:
            found.append(f"{name} {low:.4g} to {high:.4g} (trained for {least:.4g} to {most:.4g})")
    return found


def _fold(edges: Points, bins: Sequence[int], observation: Observation, folder: Path) -> Fold:
    """From groups of energies (n, 2), so many by spectrum, to the observation's."""
    members: list[NDArray[np.int_]] = []
    first = 0
    for data, n in zip(observation.spectra, bins, strict=True):
        own = np.sort(edges[first : first + n], axis=1)
        order = np.argsort(own[:, 0])
        low, high = own[order].T
        for start, end in np.sort(data.energies, axis=1):
            i, j = np.argmin(np.abs(low - start)), np.argmin(np.abs(high - end))
            off = max(abs(low[i] / start - 1), abs(high[j] / end - 1)) if start > 0 else np.inf
            whole = j >= i and np.allclose(low[i + 1 : j + 1], high[i:j], rtol=SAME_EDGE)
            if off > SAME_EDGE or not whole:
                raise ValueError(
                    f"The network in {folder} knows {n} groups of spectrum {data.index}, and the group {start:.4g}-"
                    f"{end:.4g} keV of {data.name} is none of them, nor made of some: group it as that run's, or "
                    "coarser, and notice no more. (A survey's network has all channels: fit_many, sixsa survey.)"
                )
            members.append(first + order[i : j + 1])
        first += n
    starts = np.cumsum([0, *(len(one) for one in members[:-1])])
    return Fold(np.concatenate(members), starts, observation.area_time)
