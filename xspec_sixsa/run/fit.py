"""`fit`: from the session that XSPEC holds to an exact posterior, its files, and the chain in XSPEC."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xspec_sixsa.common.deadline import Stopped, interrupted_after
from xspec_sixsa.priors import PriorsLike, bind, normalise
from xspec_sixsa.result import Result
from xspec_sixsa.run.folder import in_words, prepare, release, run_began, what_is_kept
from xspec_sixsa.run.network import Network
from xspec_sixsa.run.options import checked, checked_settings
from xspec_sixsa.session import Session
from xspec_sixsa.session.cluster import Cluster
from xspec_sixsa.session.files import refuse_folder

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["fit"]

log = logging.getLogger(__name__)


def fit(
    priors: PriorsLike = None,
    *,
    target_ess: int | None = None,
    budget: int | None = None,
    compressor: str | None = None,
    estimator: str | None = None,
    training: str | None = None,
    emulator: str | None = None,
    exact: str | None = None,
    seed: int | None = None,
    workers: int | None = None,
    dask: str | os.PathLike[str] | Client | None = None,
    network: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    clobber: bool = False,
    polish: bool = True,
    replace_chains: bool = False,
    progress: bool = True,
    time_limit: float | None = None,
    truth: Mapping[str, float] | None = None,
    xspec: ModuleType | None = None,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Posterior of the model and data loaded in XSPEC, under XSPEC's own fit statistic.

    The session is left as it was but for the model's values (at the best fit) and the chain (loaded).

    Parameters
    ----------
    priors : list of Prior, list of BXA transformations, path of a TOML file, or None
        One prior per free parameter; those without one take XSPEC's own limits and `bayes` setting, and are printed.
    target_ess : int, default 1000
        Effective samples wanted.
    budget : int, default 20000
        Most evaluations of the model.
    compressor : {"autoencoder", "pca", "bands", "score", "none"}, default "autoencoder"
    estimator : {"npe", "lbf", "variational"}, default "npe"
        What learns the posterior of compressed spectra, as a second finder of modes: a neural spline flow; a sum of
        basis functions for the log density; or a guide that is moved to where the emulated likelihood is (the last two
        not with "simulated" training).
    training : {"emulated", "unfactored", "simulated"}, default "emulated"
        What the proposal is learned from: spectra that an emulator of the model makes, component by component where the
        model is linear in its norms; the same with the model emulated as a whole, which takes a thousand evaluations
        more; or XSPEC's simulations only, in rounds (SIXSA III), which takes several times as many.
    emulator : {"linear", "paired"}, default "linear"
        Spectra are emulated by principal components and kernels, in closed form; or by networks, paired auto-encoders
        (Chung et al., arXiv 2405.13220), which see whole spectra only and are trained anew at each step.
    exact : {"draws", "control"}, default "draws"
        Whether each draw of the result is an exact evaluation; or a few hundred exact ones, a control variate, correct
        as many emulated draws as are wanted. Where that correction is not small, all are made exact after all.
    seed : int, optional
        Same seed and machine, same answer; drawn and reported when not given.
    workers : int, optional
        Processes that evaluate XSPEC's models; default: one for each core that this process may use (affinity mask,
        CPU quota, ``OMP_NUM_THREADS``).
    dask : str, path or distributed.Client, optional
        Dask workers evaluate the model instead (`session.cluster`): a scheduler's address or file, or a client. The
        answer is the same.
    network : path, optional
        Folder of an earlier run with this model and response, whose curves or spectra are known from the start:
        exposure, background, counts and priors may be others, groups coarser (`run.network`). Their evaluations are
        that run's, and not counted here. The compressor and the estimator that it has trained take the place of those
        that would be trained here, for the same priors and groups: as they are, or trained on (`rounds.Rounds.train`).
    output : path, optional
        Folder for the result's files (DESIGN: summary.json, posterior.npz, chain.fits, pictures ...). Without one
        nothing is written, and no chain is loaded into XSPEC.
    resume, clobber : bool, default False
        Continue the run that `output` holds, or replace it; a folder with something in it is refused otherwise.
    polish : bool, default True
        End with a short native fit from the best draw, which leaves XSPEC with a valid fit; False leaves the model as
        it was.
    replace_chains : bool, default False
        Unload chains that you have loaded in XSPEC; they are refused otherwise. An earlier fit's is replaced.
    progress : bool, default True
        Bars on a terminal.
    time_limit : float, optional
        Seconds after which the run ends as after Ctrl-C: with what it has, resumable. Leave time for the pictures.
    truth : dict of parameter's name to value, optional
        What the spectra were simulated from: marked in the corner plot beside the best fit, and not used otherwise.
    xspec : module, optional
        The PyXspec to use; default: the real one where it can be imported, else the embedded engine.
    settings : dict, optional
        Further fields of `infer.settings.Settings` (``rounds``, ``first``, ``flow_steps`` ...), for studies.

    Returns
    -------
    Result

    Raises
    ------
    OSError
        When the folder's disk is full, or the folder was removed; what to do is said.
    ValueError, FileExistsError
        For priors, options, sessions or folders that cannot work; before any evaluation, but for an observation
        outside the prior's reach (`coverage.CoverageError`), which takes the first of a run.

    References
    ----------
    Barret & Dupourque, SIXSA III, arXiv 2512.16709.
    """
    given, options = normalise(priors)
    asked: dict[str, Any] = {"target_ess": target_ess, "budget": budget, "compressor": compressor}
    asked |= {"estimator": estimator, "training": training, "emulator": emulator, "exact": exact, "seed": seed}
    options |= {key: value for key, value in asked.items() if value is not None}
    chosen, settings = checked(options), checked_settings(settings)
    if network is not None and chosen.get("training") == "simulated":
        raise ValueError('network= is what an emulator has learned, and training = "simulated" has none: drop one.')
    cluster = None if dask is None else Cluster(dask)
    session = Session(xspec, workers=workers, cluster=cluster)
    prior = bind(given, session)
    if unknown := set(truth or {}) - set(prior.names):
        raise ValueError(
            f"truth= has {', '.join(sorted(unknown))}, and no free parameter is called that: they are "
            f"{', '.join(prior.names)}."
        )
    learned = None if network is None else Network.load(network, session, prior)
    if learned is not None and learned.is_factored:
        if chosen.get("training") == "unfactored" or chosen.get("emulator") == "paired":
            raise ValueError(
                f"The network in {learned.folder} knows curves of components, which an emulator of whole spectra "
                '(training = "unfactored", emulator = "paired") has no use for: drop one.'
            )
    record = {
        "seed": options.get("seed"),
        "compressor": chosen.get("compressor", "autoencoder"),
        "estimator": chosen.get("estimator", "npe"),
        "training": chosen.get("training", "emulated"),
        "emulator": chosen.get("emulator", "linear"),
        "settings": settings,
        "network": None if learned is None else learned.digest,
        "fingerprint": session.fingerprint() | {"priors": prior.to_dict()},
    }
    folder = None if output is None else Path(output)
    try:
        with interrupted_after(time_limit):
            if cluster is not None:
                cluster.connect()
            if folder is not None:
                refuse_folder(session.module, folder)
                if not replace_chains:
                    session.refuse_chains()
                if clobber:
                    session.unload_chains(folder)
                record = prepare(folder, record, resume=resume, clobber=clobber)
            elif resume:
                raise ValueError("resume=True needs the output folder of the run to be resumed.")
            for line in prior.describe():
                log.info("prior  %s", line)
            # torch takes seconds to load: bad input has been refused by now
            from xspec_sixsa.run.run import Run

            run = Run(session, prior, record, chosen, settings, folder, learned, resume=resume, progress=progress)
            return run.result(polish=polish, replace_chains=replace_chains, truth=truth)
    except KeyboardInterrupt as stop:
        raise Stopped.of(stop, what_is_kept(folder)) from None
    except OSError as error:
        if folder is None or not run_began(folder):
            raise
        raise in_words(error, folder) from error
    finally:
        if cluster is not None:
            cluster.close()
        if folder is not None:
            release(folder)
