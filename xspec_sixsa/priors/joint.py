"""All priors of a session together: the map from the unit cube to XSPEC's parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xspec_sixsa.priors.kinds import KINDS
from xspec_sixsa.priors.prior import Prior, PriorError

__all__ = ["ROUNDING", "JointPrior"]

# Values beyond a limit by less than this share of it are rounding, and are put on the limit.
ROUNDING = 1e-9


class JointPrior:
    """The prior of all free parameters, in the session's order, over the unit cube.

    Parameters
    ----------
    names : sequence of str, length d
        Chain names.
    priors : sequence of Prior
        Their `parameter` is a chain name (a joint prior's: a tuple of them); each name occurs once.
    limits : array_like, shape (d, 2), optional
        Hard limits. Default: none.
    labels, units : sequence of str, optional
        For `describe`.

    Attributes
    ----------
    names : tuple of str
    priors : tuple of Prior
    limits : ndarray, shape (d, 2)
    support : ndarray, shape (d, 2)

    Examples
    --------
    >>> from xspec_sixsa import loguniform, uniform
    >>> names = ["PhoIndex__1", "norm__2"]
    >>> prior = JointPrior(names, [uniform(names[0], 1, 3), loguniform(names[1], 1e-4, 1e-2)])
    >>> print(prior.transform([[0.5, 0.5], [0.0, 1.0]]))
    [[2.e+00 1.e-03]
     [1.e+00 1.e-02]]
    """

    def __init__(
        self,
        names: Sequence[str],
        priors: Sequence[Prior],
        limits: ArrayLike | None = None,
        labels: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
    ) -> None:
        self.names = tuple(names)
        self.priors = tuple(priors)
        given = [name for prior in self.priors for name in prior.references]
        if sorted(map(str, given)) != sorted(self.names):
            raise PriorError(
                f"Priors of {', '.join(map(str, given))} do not match the parameters {', '.join(self.names)}."
            )
        self.columns = tuple([self.names.index(name) for name in prior.references] for prior in self.priors)
        unlimited = [[-math.inf, math.inf]] * len(self.names)
        self.limits = np.array(unlimited if limits is None else limits, dtype=np.float64).reshape(-1, 2)
        self.labels = tuple(labels) if labels is not None else self.names
        self.units = tuple(units) if units is not None else ("",) * len(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def transform(self, u: ArrayLike) -> NDArray[np.float64]:
        """Physical parameters at points of the unit cube.

        Parameters
        ----------
        u : array_like, shape (n, d)
            Coordinates in [0, 1], columns in the order of `names`.

        Returns
        -------
        ndarray, shape (n, d)
            In XSPEC's units, never beyond the hard limits.

        Raises
        ------
        PriorError
            If `u` has another shape or leaves the cube, or a user's function gives values that XSPEC would refuse.
        """
        u = np.asarray(u, dtype=np.float64)
        if u.ndim != 2 or u.shape[1] != len(self):
            raise PriorError(
                f"Unit-cube points have shape {u.shape}; (n, {len(self)}) is needed: {', '.join(self.names)}."
            )
        if not np.all((u >= 0.0) & (u <= 1.0)):
            raise PriorError("Unit-cube points must lie in [0, 1]; some do not, or are NaN.")
        theta = np.empty_like(u)
        for prior, columns in zip(self.priors, self.columns, strict=True):
            if prior.function is None:
                theta[:, columns[0]] = prior.ppf(u[:, columns[0]])
                continue
            values = np.asarray(prior.function(u[:, columns].copy()), dtype=np.float64)
            if values.shape != (len(u), len(columns)):
                raise PriorError(
                    f"The transform of the {prior.kind} prior of {prior.title} returned shape {values.shape} for "
                    "points of "
                    f"shape {(len(u), len(columns))}: it must return one physical value for each.",
                    prior.title,
                )
            theta[:, columns] = values
        return self._inside(theta)

    def cdf(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Unit-cube coordinates of physical parameters (n, d): the inverse of `transform`.

        Raises
        ------
        PriorError
            If one of the priors is a joint one, or has no inverse.
        """
        theta = np.asarray(theta, dtype=np.float64)
        if theta.ndim != 2 or theta.shape[1] != len(self):
            raise PriorError(
                f"Parameters have shape {theta.shape}; (n, {len(self)}) is needed: {', '.join(self.names)}."
            )
        u = np.empty_like(theta)
        for prior, columns in zip(self.priors, self.columns, strict=True):
            if prior.is_joint:
                raise PriorError(
                    f"The {prior.kind} prior of {prior.title} is a function from the unit cube only: values cannot "
                    "be turned "
                    "back into coordinates.",
                    prior.title,
                )
            u[:, columns[0]] = prior.cdf(theta[:, columns[0]])
        return u

    @property
    def support(self) -> NDArray[np.float64]:
        """Least and greatest value of each parameter, (d, 2), within the hard limits; those alone for joint priors."""
        found = np.array(self.limits)
        for prior, columns in zip(self.priors, self.columns, strict=True):
            if not prior.is_joint:
                found[columns[0]] = np.clip(prior.support, *self.limits[columns[0]])
        return found

    def describe(self) -> list[str]:
        """One line a parameter: name, label and unit, prior."""
        lines = []
        for i, name in enumerate(self.names):
            prior = next(prior for prior, columns in zip(self.priors, self.columns, strict=True) if i in columns)
            unit = f" ({self.units[i]})" if self.units[i] else ""
            lines.append(
                (name, f"{self.labels[i]}{unit}" if self.labels[i] != name else unit.strip(), prior.describe())
            )
        widths = [max((len(line[i]) for line in lines), default=0) for i in range(2)]
        return [f"{name:<{widths[0]}}  {label:<{widths[1]}}  {text}" for name, label, text in lines]

    def to_dict(self) -> dict[str, Any]:
        """Names and priors in numbers and texts alone, for a run's fingerprint.

        Functions are represented by what they return at fixed points, so that a changed one is noticed.
        """
        entries = []
        for prior, columns in zip(self.priors, self.columns, strict=True):
            entry: dict[str, Any] = {"parameters": list(prior.references), "kind": prior.kind, **prior.numbers}
            if prior.function is not None:
                # Golden-ratio steps: fixed points that no symmetric function confuses.
                probe = np.modf(np.outer(np.arange(1, 9), 0.6180339887498949 * np.arange(1, len(columns) + 1)))[0]
                entry["probe"] = np.asarray(prior.function(probe), dtype=np.float64).tolist()
            elif prior.kind not in KINDS and prior.distribution is not None:
                entry["probe"] = prior.ppf(np.linspace(0.05, 0.95, 10)).tolist()
            entries.append(entry)
        return {"names": list(self.names), "priors": entries}

    def _inside(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = self.limits.T
        with np.errstate(invalid="ignore"):
            slack_low, slack_high = (ROUNDING * np.where(np.isfinite(v), np.abs(v), 0.0) for v in (low, high))
            bad = ~((theta >= low - slack_low) & (theta <= high + slack_high) & np.isfinite(theta))
        if np.any(bad):
            row, column = np.argwhere(bad)[0]
            raise PriorError(
                f"{self.names[column]}: its prior gives {theta[row, column]:g} (in {int(bad[:, column].sum())} of "
                f"{len(theta)} "
                f"draws), beyond XSPEC's hard limits {low[column]:g} to {high[column]:g}. XSPEC would keep its old "
                "value there "
                "and the likelihood would be wrong: narrow the prior, or widen the parameter's limits.",
                self.names[column],
                float(theta[row, column]),
            )
        return np.clip(theta, low, high)
