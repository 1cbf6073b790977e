"""One ungrouped spectrum that stands for all of a response: what is evaluated for it serves every one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.embedded.ogip import write_pha
from xspec_sixsa.infer.sharedcurves import Fold
from xspec_sixsa.session import Session
from xspec_sixsa.session.settings import Silence
from xspec_sixsa.survey.template import Observed, Template

__all__ = ["EXPOSURE", "check_fold", "fold_of", "load_reference"]

EXPOSURE = 1e4  # seconds of the reference; nothing depends on it
FOLDS_AGREE = 1e-5  # of the largest count: XSPEC folds and groups in single precision here and there

Points = NDArray[np.float64]


def load_reference(template: Template, observed: Observed, file: Path) -> Session:
    """Load a spectrum of all channels, each with one count, through a response; the template's workers evaluate it.

    Parameters
    ----------
    template : Template
    observed : Observed
        One of the spectra that have the response.
    file : Path
        Where the reference is written.
    """
    response, n, module = observed.response, observed.response.channels, template.module
    pha = replace(
        observed.pha, path=str(file), values=np.ones(n), channels=np.arange(n) + response.first_channel,
        exposure=EXPOSURE, is_counts=True, poisson=True, stat_err=None, sys_err=None, quality=None, grouping=None,
        area_scale=np.ones(n), back_scale=np.ones(n), area_is_key=True, back_is_key=True, net=False, backfile="",
        corrfile="", respfile="", ancrfile="",
    )  # fmt: skip
    write_pha(file, pha)
    with Silence(module):
        module.AllData.clear()
        spectrum = module.Spectrum(str(file))
        # a header's card is too short for many a path
        spectrum.response = response.rmf
        if response.arf:
            spectrum.response.arf = response.arf
        module.Fit.statMethod = "cstat"
    return Session(module, workers=template.session.workers, cluster=template.session.cluster)


def fold_of(observed: Observed) -> Fold:
    """What makes a spectrum's own expected counts of the reference's."""
    seconds = observed.observation.spectra[0].area_time
    return Fold(observed.channels, observed.starts, seconds / EXPOSURE)


def check_fold(observed: Observed, reference: Points) -> None:
    """Compare the reference's counts (channels,), folded for a spectrum, with what XSPEC gave for it.

    Raises
    ------
    ValueError
        Where they differ: its channels, groups or AREASCAL are not what they seem.
    """
    ours, theirs = fold_of(observed)(reference[None])[0], observed.counts
    worst = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300))
    if worst > FOLDS_AGREE:
        raise ValueError(
            f"What the model gives in its groups is off by {worst:.2g} of XSPEC's own when it is folded from the "
            "response's channels, so evaluations cannot be shared. Fit it alone, with `fit`."
        )
