"""Every evaluation ever made: parameters, statistic, stage, the density it was drawn from, what went wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._files import atomic_path

__all__ = ["Ledger"]

FORMAT = 1
ROW_FIELDS = ("u", "theta", "statistic", "log_density", "round", "ok", "stage", "reason")


class Ledger:
    """Record of all evaluations of one run; each row is one parameter set through all spectra.

    Parameters
    ----------
    names : sequence of str
        The free parameters' chain names, d of them.
    keep_counts : bool, default False
        Whether `append` keeps the expected counts too (float32).

    Attributes
    ----------
    names : list of str
    """

    def __init__(self, names: Sequence[str], keep_counts: bool = False) -> None:
        self.names = list(names)
        self.keep_counts = keep_counts
        self._stages: list[str] = []
        self._reasons: list[str] = [""]
        self._batches: list[dict[str, NDArray[Any]]] = []
        self._counts: list[NDArray[np.float32]] = []
        self._other: Counter[str] = Counter()

    def append(
        self,
        theta: ArrayLike,
        statistic: ArrayLike,
        stage: str,
        *,
        ok: ArrayLike | None = None,
        u: ArrayLike | None = None,
        log_density: ArrayLike | None = None,
        round: int = -1,
        reasons: Sequence[str] | None = None,
        counts: ArrayLike | None = None,
    ) -> None:
        """Add a batch of n evaluations.

        Parameters
        ----------
        theta : array_like (n, d)
            Physical parameter values.
        statistic : array_like (n,)
            Fit statistic; its value is of no meaning where `ok` is False.
        stage : str
            What they were made for ("round 1", "pilot", "check", ...).
        ok : array_like of bool (n,), optional
            Whether the model worked; by default where the statistic is finite.
        u : array_like (n, d), optional
            Unit-cube coordinates; NaN where not given.
        log_density : array_like (n,), optional
            Log density in the unit cube that they were drawn from; NaN where not given.
        round : int, default -1
            Round of the method; -1 outside the rounds.
        reasons : sequence of str, optional
            Why a row failed; "" for those that did not.
        counts : array_like (n, n_bins), optional
            Expected counts; kept only with `keep_counts`.
        """
        theta = np.array(theta, dtype=float, ndmin=2)
        n, d = theta.shape if theta.size else (0, len(self.names))
        if n == 0:
            return
        if d != len(self.names):
            raise ValueError(f"theta has {d} columns for {len(self.names)} parameters ({', '.join(self.names)}).")
        statistic = np.asarray(statistic, dtype=float)
        ok = np.isfinite(statistic) if ok is None else np.asarray(ok, dtype=bool)
        why = [""] * n if reasons is None else list(reasons)
        batch = {
            "theta": theta,
            "statistic": statistic.copy(),
            "ok": ok.copy(),
            "u": np.full((n, d), np.nan) if u is None else np.array(u, dtype=float),
            "log_density": np.full(n, np.nan) if log_density is None else np.array(log_density, dtype=float),
            "round": np.full(n, round, dtype=np.int64),
            "stage": np.full(n, self._code(self._stages, stage), dtype=np.int64),
            "reason": np.array([self._code(self._reasons, r) for r in why], dtype=np.int64),
        }
        for name, value in batch.items():
            if len(value) != n:
                raise ValueError(f"{name} has {len(value)} rows for {n} evaluations.")
        self._batches.append(batch)
        if self.keep_counts:
            if counts is None or np.shape(counts)[0] != n:
                raise ValueError(f"This ledger keeps counts: give an array of {n} rows with every batch.")
            self._counts.append(np.asarray(counts, dtype=np.float32))

    def add(self, stage: str, n: int) -> None:
        """Count n evaluations that leave no row: component curves, native fits (whose number is an estimate)."""
        self._other[stage] += int(n)

    # -- reading -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Evaluations in all, rows or not."""
        return self.n_rows + sum(self._other.values())

    @property
    def n_rows(self) -> int:
        """Evaluations that left a row."""
        return sum(len(b["theta"]) for b in self._batches)

    def _column(self, name: str) -> NDArray[Any]:
        if len(self._batches) > 1:  # joined once, not at every look
            self._batches = [{k: np.concatenate([b[k] for b in self._batches]) for k in self._batches[0]}]
        if self._batches:
            return self._batches[0][name]
        return np.empty((0, len(self.names)) if name in ("u", "theta") else 0)

    @property
    def theta(self) -> NDArray[np.float64]:
        """Physical parameters, (n, d)."""
        return self._column("theta")

    @property
    def u(self) -> NDArray[np.float64]:
        """Unit-cube coordinates, (n, d); NaN where none were given."""
        return self._column("u")

    @property
    def statistic(self) -> NDArray[np.float64]:
        """Fit statistic, (n,)."""
        return self._column("statistic")

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether the model worked, (n,)."""
        return self._column("ok").astype(bool)

    @property
    def log_density(self) -> NDArray[np.float64]:
        """Log density each was drawn from, (n,); NaN where none was given."""
        return self._column("log_density")

    @property
    def round(self) -> NDArray[np.int64]:
        """Round, (n,); -1 outside the rounds."""
        return self._column("round").astype(np.int64)

    @property
    def log_likelihood(self) -> NDArray[np.float64]:
        """``-statistic/2``; ``-inf`` where the model failed, (n,)."""
        return np.where(self.ok, -0.5 * self.statistic, -np.inf)

    @property
    def stages(self) -> list[str]:
        """The stage of every row."""
        return [self._stages[int(code)] for code in self._column("stage")]

    @property
    def reasons(self) -> list[str]:
        """Why each row failed; "" for those that did not."""
        return [self._reasons[int(code)] for code in self._column("reason")]

    @property
    def counts(self) -> NDArray[np.float32] | None:
        """Expected counts, (n, n_bins), or None where they are not kept."""
        if not self.keep_counts:
            return None
        if len(self._counts) > 1:
            self._counts = [np.concatenate(self._counts)]
        return self._counts[0] if self._counts else np.empty((0, 0), dtype=np.float32)

    @property
    def by_stage(self) -> dict[str, int]:
        """Evaluations by stage, in the order in which the stages began."""
        codes = np.bincount(self._column("stage").astype(int), minlength=len(self._stages))
        found = {stage: int(k) for stage, k in zip(self._stages, codes, strict=True) if k}
        for stage, k in self._other.items():
            found[stage] = found.get(stage, 0) + k
        return found

    @property
    def failures(self) -> dict[str, int]:
        """Failed evaluations by reason."""
        return dict(Counter(r or "no finite statistic" for r, ok in zip(self.reasons, self.ok, strict=True) if not ok))

    def failure_regions(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Where the model failed: for every reason, the range of each parameter over the failed rows.

        Returns
        -------
        dict
            ``{reason: {parameter name: (lowest, highest)}}``.
        """
        reasons, ok = np.array(self.reasons, dtype=object), self.ok
        regions = {}
        for reason in self.failures:
            rows = self.theta[~ok & (reasons == ("" if reason == "no finite statistic" else reason))]
            if len(rows):
                regions[reason] = {
                    name: (float(low), float(high))
                    for name, low, high in zip(self.names, rows.min(axis=0), rows.max(axis=0), strict=True)
                }
        return regions

    @property
    def best(self) -> tuple[NDArray[np.float64], float] | None:
        """Parameters and statistic of the best evaluation, or None where none worked."""
        log_likelihood = self.log_likelihood
        if not len(log_likelihood) or not np.isfinite(log_likelihood).any():
            return None
        row = int(np.argmax(log_likelihood))
        return self.theta[row].copy(), float(self.statistic[row])

    # -- files ---------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays that ``numpy.savez`` writes without pickle; `from_arrays` reads them back."""
        found: dict[str, NDArray[Any]] = {name: self._column(name) for name in ROW_FIELDS}
        found |= {
            "format": np.array(FORMAT),
            "names": np.array(self.names, dtype=str),
            "stage_names": np.array(self._stages, dtype=str),
            "reason_names": np.array(self._reasons, dtype=str),
            "other_names": np.array(list(self._other), dtype=str),
            "other_counts": np.array(list(self._other.values()), dtype=np.int64),
        }
        if self.keep_counts:
            found["counts"] = self.counts
        return found

    @classmethod
    def from_arrays(cls, arrays: Any) -> Ledger:
        """A ledger from what `arrays` gave."""
        if int(arrays["format"]) != FORMAT:
            raise ValueError(
                f"The ledger has format {int(arrays['format'])}, this version of xspec_sixsa reads {FORMAT}: "
                "start the run again with clobber=True."
            )
        ledger = cls([str(n) for n in arrays["names"]], keep_counts="counts" in arrays)
        ledger._stages = [str(s) for s in arrays["stage_names"]]
        ledger._reasons = [str(s) for s in arrays["reason_names"]]
        counts = (int(k) for k in arrays["other_counts"])
        ledger._other = Counter(dict(zip((str(s) for s in arrays["other_names"]), counts, strict=True)))
        if len(arrays["theta"]):
            ledger._batches = [{name: np.array(arrays[name]) for name in ROW_FIELDS}]
        if ledger.keep_counts and len(arrays["counts"]):
            ledger._counts = [np.array(arrays["counts"])]
        return ledger

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the ledger (npz, no pickle); the file is either whole or the old one."""
        path = Path(path)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **self.arrays())
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Ledger:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls.from_arrays({name: arrays[name] for name in arrays.files})

    @staticmethod
    def _code(known: list[str], name: str) -> int:
        if name not in known:
            known.append(name)
        return known.index(name)
