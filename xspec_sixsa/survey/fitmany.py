"""`fit_many`: posteriors of many spectra under one model and its priors, sharing what is evaluated."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xspec_sixsa.common.deadline import Stopped, interrupted_after
from xspec_sixsa.priors import PriorsLike, bind, normalise
from xspec_sixsa.run.options import checked, checked_settings
from xspec_sixsa.session import Session
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.session.files import refuse_folder
from xspec_sixsa.survey.entries import Spectra, entries_of
from xspec_sixsa.survey.fluxes import checked_bands
from xspec_sixsa.survey.folder import check_network, prepare
from xspec_sixsa.survey.survey import Survey
from xspec_sixsa.survey.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from distributed import Client

__all__ = ["BUDGET", "PICTURES", "fit_many"]

BUDGET = 2000  # evaluations for each spectrum, at most, where nothing else is said
PICTURES = ("predictive",)
SHARED = "variational"  # the estimator whose network serves spectra of other exposures and groups


def fit_many(
    spectra: Spectra,
    priors: PriorsLike = None,
    *,
    output: str | os.PathLike[str],
    target_ess: int | None = None,
    budget: int | None = None,
    estimator: str | None = None,
    exact: str | None = None,
    ignore: str | None = None,
    flux: Iterable[Sequence[float]] = (),
    seed: int | None = None,
    workers: int | None = None,
    dask: str | os.PathLike[str] | Client | None = None,
    network: str | os.PathLike[str] | None = None,
    batch: int = 100,
    pictures: Sequence[str] = PICTURES,
    resume: bool = False,
    clobber: bool = False,
    progress: bool = True,
    time_limit: float | None = None,
    xspec: ModuleType | None = None,
    settings: dict[str, Any] | None = None,
) -> Survey:
    """Posterior of each of many spectra, under the model that XSPEC holds.

    An evaluation gives the noiseless spectrum, whatever was observed: spectra of one response share training and
    evaluations, each with its own exposure, background, grouping and counts (`survey.sharing`). XSPEC's session is not
    touched: it says by its one spectrum which channels are fitted, and by its model and settings how.

    Parameters
    ----------
    spectra : list of path, pattern or dict
        Files (``"slices/*.pha"``), or tables with ``file`` and, as wanted, ``name``, ``time``, ``response``, ``arf``,
        ``background``. Relative names start in the current folder.
    priors : as for `fit`
        They are every spectrum's.
    output : path
        Folder for ``catalogue.fits`` and ``.csv``, ``overview.html``, and a result's folder for each spectrum
        (``spectra/NAME``).
    target_ess : int, default 1000
        Effective samples wanted for each spectrum.
    budget : int, default 2000
        Most evaluations for each spectrum, on average.
    estimator : {"variational"}, optional
        One guide for all spectra of a response, trained through the emulated likelihood over spectra of the prior and
        tuned to each: the exploration of an emulated posterior begins with its draws (`survey.guide`); default: with
        draws of the prior. The others that `fit` has are trained for one spectrum.
    exact : {"control", "draws"}, default "control"
        Whether 110 effective exact draws correct emulated ones, or every draw is exact: see `fit`.
    ignore : str, optional
        What XSPEC's `ignore` is told for each spectrum (``"**-0.5 10.0-**"``); default: what is noticed in the spectrum
        that XSPEC holds, by energy. Channels of bad quality are ignored always.
    flux : list of (low, high), optional
        Bands, keV, in which the model's flux goes into the catalogue: XSPEC's own at 200 draws of each posterior, an
        evaluation each for all bands together (counted under "flux"). Absorption is included, as in XSPEC's `flux`.
    seed : int, optional
        Same seed and machine, same answer; drawn and reported when not given.
    workers : int, optional
        Processes that evaluate, and that infer; default: all cores.
    dask : str, path or distributed.Client, optional
        As for `fit`.
    network : path, optional
        Folder of a survey of this model and these priors: what it measured through the same response is known from the
        start. Its evaluations are that survey's, and not counted here.
    batch : int, default 100
        Spectra that are inferred, and held in memory, together. Later ones begin with the curves of those before.
    pictures : sequence of str, default ("predictive",)
        Drawn for each spectrum's report; `sixsa plot DIRECTORY` draws the others.
    resume, clobber : bool, default False
        Continue the survey that `output` holds, or replace it.
    progress : bool, default True
    time_limit : float, optional
        Seconds after which the survey ends as after Ctrl-C: with what is finished, resumable.
    xspec : module, optional
        As for `fit`.
    settings : dict, optional
        As for `fit`: ``{"guide": "gaussian"}`` for a guide that is not bent by a flow.

    Returns
    -------
    Survey

    Raises
    ------
    ValueError, FileExistsError
        For priors, options, sessions or folders that cannot work, before any evaluation. A spectrum that cannot be
        fitted costs itself only: the catalogue says why.
    """
    given, options = normalise(priors)
    asked: dict[str, Any] = {"target_ess": target_ess, "budget": budget, "estimator": estimator, "exact": exact}
    asked |= {"seed": seed}
    options |= {key: value for key, value in asked.items() if value is not None}
    options = {"exact": "control", "budget": BUDGET} | options
    chosen, settings = checked(options), checked_settings(settings)
    if chosen.get("estimator", SHARED) != SHARED:
        raise ValueError(
            f'estimator = "{chosen["estimator"]}" is trained for one spectrum, and a survey has one estimator for all: '
            f'type "{SHARED}", or leave it out.'
        )
    if batch < 1:
        raise ValueError(f"batch is {batch}: at least one spectrum is inferred at a time.")
    entries = entries_of(spectra)
    cluster = None if dask is None else Cluster(dask)
    session = Session(xspec, workers=workers, cluster=cluster)
    template = Template(session, bind(given, session), ignore)
    folder = Path(output).absolute()
    refuse_folder(session.module, folder)
    record: dict[str, Any] = {
        "seed": options.get("seed"),
        "batch": batch,
        "options": {key: value for key, value in chosen.items() if key != "seed"},
        "settings": settings,
        "flux": [list(band) for band in checked_bands(flux)],
        "network": None if network is None else str(Path(network).absolute()),
        "fingerprint": template.fingerprint | {"priors": template.prior.to_dict()},
        "spectra": [entry.as_dict() for entry in entries],
    }
    if network is not None:
        check_network(Path(network).absolute(), record["fingerprint"])
    if cluster is not None:
        cluster.connect()
        cluster.close()  # the process that does the survey has a client of its own
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"A time limit of {time_limit:g} s leaves no time: give seconds above zero.")
    record = prepare(folder, record, resume=resume, clobber=clobber)
    # torch takes seconds to load: bad input has been refused by now
    from xspec_sixsa.compare.child import in_child
    from xspec_sixsa.survey.run import run

    try:
        with interrupted_after(time_limit):
            in_child(run, template, entries, record, folder, tuple(pictures), progress)
    except KeyboardInterrupt as stop:
        kept = f"what is evaluated is kept in {folder}, and resume=True (--resume) goes on with it"
        raise Stopped.of(stop, kept) from None
    return Survey.load(folder)
