"""XSPEC's fit statistics, group by group (XSPEC 12.9.1; manual, appendix "Statistics in XSPEC").

With S source and B background counts, t_s and t_b their exposures (times AREASCAL, and for t_b times the ratio of
BACKSCAL, background over source) and y the folded model, all by noticed group:

* ``cstat``: Cash (1979) C; with a background W, where the background rate of each group is at its best value.
* ``pstat``: Poisson data, background rate known exactly.
* ``pgstat``: Poisson data, Gaussian background.
* ``chi``: Gaussian data, background subtracted.

Negative counts (of a net spectrum) count as none in C and in ``pstat``, as XSPEC 12.9.1 has it; W and ``pgstat`` with a
background are not a number there, and W where background counts are negative.

Everything is differentiable in the folded rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from xspec_sixsa.common.observation import STATISTICS, Observation, SpectrumData

__all__ = [
    "CHUNK",
    "FLOOR",
    "STATISTICS",
    "Bins",
    "ObservedStatistic",
    "bin_statistic",
    "safe_log",
    "wstat",
    "wstat_of",
]

# XSPEC never lets the model fall below this many counts in a group.
FLOOR = 1e-5

# Values at a time: temporaries that stay in the processor's cache make long spectra several times faster.
CHUNK = 1 << 18


@dataclass
class Bins:
    """What a spectrum contributes to its statistic; float64 tensors by noticed group.

    Attributes
    ----------
    s, log_s, ts : Tensor
        Source counts, their logarithm (0 where there are none), exposure times AREASCAL.
    has_background : bool
    difference, variance : Tensor
        Net rate and its variance (chi).
    model_variance : Tensor or None
        The background's part of the variance under model weighting, which then replaces `variance`; else None.
    b, log_b, tb : Tensor
        Background counts, their logarithm, exposure times AREASCAL times the BACKSCAL ratio.
    b_error : Tensor
        Variance of `b` (pgstat). XSPEC 12.9.1 has the variance of its rate times `tb` instead.
    """

    s: torch.Tensor
    ts: torch.Tensor
    log_s: torch.Tensor
    has_background: bool
    difference: torch.Tensor
    variance: torch.Tensor
    model_variance: torch.Tensor | None
    b: torch.Tensor
    tb: torch.Tensor
    log_b: torch.Tensor
    b_error: torch.Tensor

    @classmethod
    def of(cls, data: SpectrumData) -> Bins:
        """The constants of an observed spectrum."""
        ts, zero = data.area_time, np.zeros(data.n_bins)
        b, tb, b_error, has = zero, zero, zero, data.background is not None
        if data.background is not None and data.background_ratio is not None:  # they come together
            b, tb = data.background, ts / data.background_ratio
            b_error = zero if data.background_sigma is None else data.background_sigma**2
        net = (data.counts - data.expected_background) / ts
        variance = zero if data.sigma is None else (data.sigma / ts) ** 2

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.tensor(np.array(values, dtype=float))

        return cls(
            s=tensor(data.counts), ts=tensor(ts), log_s=tensor(safe_log(data.counts)), has_background=has,
            difference=tensor(net), variance=tensor(variance), model_variance=None, b=tensor(b), tb=tensor(tb),
            log_b=tensor(safe_log(b)), b_error=tensor(b_error),
        )  # fmt: skip


def safe_log(values: np.ndarray) -> np.ndarray:
    """Natural logarithm, 0 where there is nothing to take it of."""
    return np.log(np.where(values > 0, values, 1.0))


def bin_statistic(method: str, data: Bins, folded: torch.Tensor) -> torch.Tensor:
    """Contribution of every group to -2 ln L, up to a constant.

    Parameters
    ----------
    method : {"chi", "cstat", "pstat", "pgstat"}
    data : Bins
    folded : Tensor (batch, groups), float64
        Counts/s.

    Returns
    -------
    Tensor (batch, groups)
    """
    if method == "chi":
        return _chi(data, folded)
    if not data.has_background:
        return 2.0 * _cash(data.s, data.log_s, data.ts * _floored(folded, data.ts))
    if method == "pstat":
        return 2.0 * _known_background(data, folded)
    return 2.0 * (_wstat(data, folded) if method == "cstat" else _pgstat(data, folded))


def wstat(source: np.ndarray, background: np.ndarray, ratio: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """W of each bin.

    Parameters
    ----------
    source, background : ndarray (..., n)
        Recorded counts.
    ratio : ndarray (n,)
        Source over background exposure: ``ratio * background`` is expected in `source`.
    expected : ndarray (..., n)
        Expected source counts, without background.

    Returns
    -------
    ndarray (..., n)
    """
    given = (torch.tensor(np.asarray(x, dtype=float)) for x in (source, background, ratio, expected))
    return np.asarray(wstat_of(*given).numpy())


def wstat_of(
    source: torch.Tensor, background: torch.Tensor, ratio: torch.Tensor, expected: torch.Tensor
) -> torch.Tensor:
    """The same of tensors, differentiable in what is expected."""
    s, b, tb, m = torch.broadcast_tensors(source, background, 1.0 / ratio, expected)
    # W is in counts: any unit of time gives the same
    log_s, log_b = (torch.log(torch.where(x > 0, x, 1.0)) for x in (s, b))
    return 2.0 * _wstat(Bins(s, torch.ones_like(s), log_s, True, s, s, None, b, tb, log_b, b), m)


class ObservedStatistic:
    """The fit statistic of an observation, for many expected spectra at once.

    Only XSPEC's own number enters a result; this one, which leaves out what XSPEC alone knows (model weighting,
    systematics of the model), says where to look.

    Parameters
    ----------
    observation : Observation
    """

    def __init__(self, observation: Observation) -> None:
        self._spectra = [(s.statistic, Bins.of(s)) for s in observation.spectra]
        self._slices = observation.slices

    def log_likelihood(self, counts: torch.Tensor) -> torch.Tensor:
        """``-statistic/2`` for expected source counts (n, n_bins), float64, or float32 where 0.001 is good enough."""
        rows = max(1, CHUNK // max(counts.shape[-1], 1))
        return torch.cat([self._part(part) for part in counts.split(rows)])

    def _part(self, counts: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(len(counts), dtype=torch.float64)
        for (method, bins), where in zip(self._spectra, self._slices, strict=True):
            m = counts[:, where]
            if method in ("cstat", "pstat") and not bins.has_background:
                total = total + 2.0 * _cash_sum(bins.s, bins.log_s, m.clamp(min=FLOOR))
            else:
                total = total + bin_statistic(method, bins, m.double() / bins.ts).sum(dim=1)
        return -0.5 * total


def _floored(folded: torch.Tensor, ts: torch.Tensor) -> torch.Tensor:
    return torch.maximum(folded, FLOOR / ts)


def _cash(s: torch.Tensor, log_s: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Half of Cash's C for m expected counts, with Castor's constant that makes it zero at m = s."""
    s = s.clamp(min=0.0)
    return m - s + s * (log_s - torch.log(m))


def _cash_sum(s: torch.Tensor, log_s: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """`_cash` summed over bins, (n,), by a third of the passes over memory; in single precision bin by bin."""
    s = s.clamp(min=0.0)
    if m.dtype == torch.float32:
        # sums of m and of s log m are large, and nearly cancel
        s, log_m = s.float(), torch.log(m)
        return torch.addcmul(m, s, torch.sub(log_s.float() - 1, log_m, out=log_m), out=log_m).sum(dim=1).double()
    return m.sum(dim=1) - torch.log(m) @ s + (s * log_s - s).sum()


def _known_background(data: Bins, folded: torch.Tensor) -> torch.Tensor:
    return _cash(data.s, data.log_s, data.ts * _floored(folded + data.b / data.tb, data.ts))


def _wstat(data: Bins, folded: torch.Tensor) -> torch.Tensor:
    """Half of W: C of source and background with the background rate f of each group maximised out."""
    s, b, ts, tb = data.s, data.b, data.ts, data.tb
    t = ts + tb
    y = _floored(folded, ts)
    no_source, no_background = s == 0, b == 0
    # t f^2 + p f - b y = 0, the positive root; written so that neither sign of p cancels.
    p = t * y - s - b
    root = torch.sqrt(p * p + 4.0 * t * torch.clamp(b, min=1e-300) * y)
    # torch evaluates both branches: keep the unused denominator away from zero.
    f = torch.where(p >= 0, 2.0 * b * y / (root + torch.abs(p)), (root - p) / (2.0 * t))
    regular = ~(no_source | no_background)
    f = torch.where(regular, f, torch.ones_like(f))
    both = (
        ts * y
        + t * f
        - s * torch.log(ts * (y + f))
        - b * torch.log(tb * f)
        - s * (1 - data.log_s)
        - b * (1 - data.log_b)
    )
    without_s = ts * y - b * torch.log(tb / t)
    low = -tb * y - s * torch.log(ts / t)
    without_b = torch.where(y <= s / t, low, _cash(s, data.log_s, ts * y))
    undefined = (s < 0) | ((b < 0) & ~no_source)
    both = torch.where(undefined, torch.nan, torch.where(no_background, without_b, both))
    return torch.where(no_source, without_s, both)


def _pgstat(data: Bins, folded: torch.Tensor) -> torch.Tensor:
    """Half of PG: Poisson source, Gaussian background with the background rate f of each group maximised out."""
    s, b, v, ts, tb = data.s, data.b, data.b_error, data.ts, data.tb
    exact, no_source = v == 0, s == 0
    v = torch.where(exact, torch.ones_like(v), v)
    y, ratio = folded, ts / tb
    q2 = tb * tb
    p = ts * v - tb * b + q2 * y
    c = ts * v * y - s * v - tb * b * y
    sign = torch.where(p >= 0, 1.0, -1.0)
    q = -0.5 * (p + sign * torch.sqrt(torch.clamp(p * p - 4.0 * q2 * c, min=1e-300)))
    q = torch.where(q == 0, torch.full_like(q, -1e-300), q)
    f = q / q2
    f = torch.where(f < 0, c / q, f)
    usual = ~(exact | no_source)
    safe = torch.where(usual, ts * (y + f), torch.ones_like(y))
    gaussian = ts * (y + f) - s * torch.log(safe) + 0.5 * (b - tb * f) ** 2 / v - s * (1 - data.log_s)
    empty = ts * y + b * ratio - 0.5 * v * ratio * ratio
    gaussian = torch.where(s < 0, torch.nan, torch.where(no_source, empty, gaussian))
    return torch.where(exact, _known_background(data, folded), gaussian)


def _chi(data: Bins, folded: torch.Tensor) -> torch.Tensor:
    difference = data.difference - folded
    if data.model_variance is None:
        return difference * difference / data.variance
    return difference * difference / (data.variance + data.model_variance + folded / data.ts)
