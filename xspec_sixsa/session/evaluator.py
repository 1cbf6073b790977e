"""One parameter set through XSPEC: set, read the folded models and the statistic, and know when not to trust them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.gain import Gain, gains
from xspec_sixsa.session.links import Links
from xspec_sixsa.session.parameters import applies, model_objects

__all__ = ["Evaluator", "outside_limits"]

READ_BACK = 5
"""Evaluations, in every process, whose parameters are read back."""
HAIR = 1e-6
"""Relative step to where a model that works gives another statistic."""


def outside_limits(theta: np.ndarray, parameters: list[FreeParameter]) -> list[str]:
    """Return, row by row, why XSPEC must not be given a parameter set; empty where it may.

    XSPEC prints a message and keeps the old value beyond a hard limit, so such a row would silently get the
    likelihood of another one.
    """
    reasons = [""] * len(theta)
    for column, parameter in enumerate(parameters):
        low, high = parameter.hard_limits
        values = theta[:, column]
        # Written so that NaN counts as outside.
        for row in np.flatnonzero(~((values >= low) & (values <= high))):
            reasons[row] = reasons[row] or (
                f"{parameter.chain_name} = {values[row]:g} is outside XSPEC's hard limits {low:g} to {high:g}"
            )
    return reasons


class Evaluator:
    """Evaluates parameter sets one at a time on the PyXspec session of this process.

    Parameters
    ----------
    module : module
        PyXspec.
    parameters : list of FreeParameter
    observation : Observation
    """

    def __init__(self, module: ModuleType, parameters: list[FreeParameter], observation: Observation) -> None:
        self._module = module
        self._parameters = parameters
        objects = model_objects(module)
        # (model, its parameters as (column of theta, local index)), for one call of setPars
        self._targets: list[tuple[Any, list[tuple[int, int]]]] = []
        for name, group, model in objects:
            pairs = [
                (k, p.index)
                for k, p in enumerate(parameters)
                if p.response is None and (p.model, p.group) == (name, group)
            ]
            if pairs:
                self._targets.append((model, pairs))
        self._gains: list[tuple[Gain, list[tuple[int, int]]]] = []
        for gain in gains(module):
            pairs = [(k, p.index) for k, p in enumerate(parameters) if p.response == (gain.spectrum, gain.source)]
            if pairs:
                self._gains.append((gain, pairs))
        self._folds: list[tuple[int, np.ndarray, slice, list[Any]]] = []
        for data, where in zip(observation.spectra, observation.slices, strict=True):
            models = [model for _, group, model in objects if group == data.data_group and applies(model, data.index)]
            if not models:
                raise ValueError(
                    f"No active model applies to spectrum {data.index} ({data.name}): define one for its source and "
                    f"data group {data.data_group}, give it a response, or unload it."
                )
            self._folds.append((data.index, data.area_time, where, models))
        self.n_bins = observation.n_bins
        self._links = Links(objects)
        self._unread = READ_BACK
        self._good: np.ndarray | None = None  # where the model was last computed

    def set(self, theta: np.ndarray) -> None:
        """Set the free parameters; limits are not looked at."""
        if self._gains:
            self.set_gain(theta)
        arguments: list[Any] = []
        for model, pairs in self._targets:
            arguments += [model, {index: float(theta[column]) for column, index in pairs}]
        if len(arguments) == 2:
            arguments[0].setPars(arguments[1])
        elif arguments:
            # one call, so that XSPEC computes the model once
            self._module.AllModels.setPars(*arguments)

    def set_gain(self, theta: np.ndarray) -> None:
        """Set the free response parameters alone."""
        for gain, pairs in self._gains:
            gain.set({index: float(theta[column]) for column, index in pairs})

    @property
    def names(self) -> list[str]:
        """Chain names."""
        return [parameter.chain_name for parameter in self._parameters]

    @property
    def hard_limits(self) -> np.ndarray:
        """Lowest and highest values XSPEC accepts, (d, 2)."""
        return np.array([parameter.hard_limits for parameter in self._parameters]).reshape(-1, 2)

    def limit(self, theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Set the free parameters, and their limits (d,), where these are finite: for a process that is thrown away."""
        places = [(model(index), column) for model, pairs in self._targets for column, index in pairs]
        places += [(gain.parameters[index - 1], column) for gain, pairs in self._gains for column, index in pairs]
        for parameter, k in places:
            old = parameter.values
            least, most = (
                float(new) if np.isfinite(new) else was for new, was in ((low[k], old[2]), (high[k], old[5]))
            )
            parameter.values = ",".join(repr(float(x)) for x in (theta[k], old[1], least, least, most, most))

    def get(self) -> np.ndarray:
        """Return the free parameters' present values, (d,)."""
        theta = np.empty(len(self._parameters))
        for model, pairs in self._targets:
            for column, index in pairs:
                theta[column] = model(index).values[0]
        for gain, pairs in self._gains:
            parameters = gain.parameters
            for column, index in pairs:
                theta[column] = parameters[index - 1].values[0]
        return theta

    def counts(self) -> np.ndarray:
        """Return expected source counts at the present values, all spectra one after the other, (n_bins,)."""
        counts = np.empty(self.n_bins)
        for number, area_time, where, models in self._folds:
            folded = np.asarray(models[0].folded(number))
            for model in models[1:]:
                folded = folded + np.asarray(model.folded(number))
            counts[where] = folded * area_time
        return counts

    def __call__(self, theta: np.ndarray) -> tuple[np.ndarray, float, str]:
        """Evaluate one parameter set.

        Returns
        -------
        counts : ndarray (n_bins,)
        statistic : float
        reason : str
            Why the evaluation failed; empty when it did not.
        """
        if self._good is None:
            self._good = self.get()
        before = float(self._module.Fit.statistic)
        self.set(theta)
        counts = self.counts()
        statistic = float(self._module.Fit.statistic)
        linked = self._links.outside()
        if linked:
            return counts, np.nan, linked
        if statistic == before and self._is_stale(theta, statistic):
            return counts, np.nan, (
                "XSPEC could not compute the model and kept the last spectrum (a table's or local model's error, "
                "which it only prints)"
            )  # fmt: skip
        if self._unread:
            self._unread -= 1
            present = self.get()
            # repr() round-trips through XSPEC's reader, up to one rounding
            wrong = np.flatnonzero(np.abs(present - theta) > 1e-12 * np.abs(theta))
            if len(wrong):
                name = self._parameters[wrong[0]].chain_name
                return counts, np.nan, (
                    f"{name} was set to {theta[wrong[0]]:.10g}, but XSPEC has {present[wrong[0]]:.10g}: it refused "
                    'the value, or moves norms by itself (then type Fit.renorm("none"))'
                )  # fmt: skip
        if not np.isfinite(statistic):
            return counts, statistic, f"the fit statistic is {statistic}"
        if statistic == -1.0:
            return counts, np.nan, "XSPEC could not compute the fit statistic (it gave -1)"
        if not np.isfinite(counts).all():
            return counts, np.nan, f"{int((~np.isfinite(counts)).sum())} expected counts are not finite"
        self._good = np.array(theta)
        return counts, statistic, ""

    def _is_stale(self, theta: np.ndarray, statistic: float) -> bool:
        """Whether the statistic, the same as before, is that of whatever was computed last; the model stays at `theta`.

        It is where going by another parameter set gives that one's. Where no other gives another, nothing shows it.
        """
        assert self._good is not None
        if np.array_equal(theta, self._good):
            return False
        low, high = self.hard_limits.T
        up = self._good * (1.0 + HAIR)
        near = np.where((up >= low) & (up <= high), up, self._good * (1.0 - HAIR))
        for other in (near, self._good):
            self.set(other)
            elsewhere = float(self._module.Fit.statistic)
            if elsewhere != statistic:
                break
        self.set(theta)
        return elsewhere != statistic and float(self._module.Fit.statistic) == elsewhere
