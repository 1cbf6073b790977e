"""Results in other people's formats: pandas, ArviZ, GetDist. Each is an extra, imported only here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import getdist
    import pandas

    from xspec_sixsa.result.predictive import SpectrumPredictive
    from xspec_sixsa.result.result import Result

__all__ = ["to_arviz", "to_getdist", "to_pandas"]


def to_pandas(result: Result) -> pandas.DataFrame:
    """All draws as a DataFrame.

    Columns: the parameters under their chain names, then ``weight`` (sums to 1), ``log_weight``, ``log_likelihood`` and
    ``log_proposal``. ``DataFrame.attrs`` carries units, log Z and the verdict.
    """
    pandas = _need("pandas", "pandas")
    frame = pandas.DataFrame(result.samples, columns=result.names)
    frame["weight"] = result.weights
    for key in ("log_weights", "log_likelihood", "log_proposal"):
        frame[key.removesuffix("s")] = getattr(result, key)
    frame.attrs = {
        "units": dict(zip(result.names, result.units, strict=True)),
        "log_z": result.log_z,
        "log_z_err": result.log_z_err,
        "status": result.status,
    }
    return frame


def to_arviz(
    result: Result, n: int | None = None, pointwise: Sequence[np.ndarray] | None = None, *, joint: bool = False
) -> Any:
    """Equal-weight draws (ArviZ knows no weights) as one chain, with the log-likelihood beside them.

    Parameters
    ----------
    result : Result
    n : int, optional
        Draws; default: the effective sample size. Of no account with `pointwise`.
    pointwise : sequence of ndarray (k, bins), optional
        Ln p of each spectrum's bins at the k rows `Result.predictive_index`, which then are the draws.
    joint : bool
        Make one variable of all spectra's bins.
    """
    arviz = _need("arviz", "arviz")
    index = result.resample(n, return_index=True) if pointwise is None else result.predictive_index
    groups = {
        "posterior": {name: result.samples[None, index, i] for i, name in enumerate(result.names)},
        "sample_stats": {"lp": result.log_likelihood[None, index]},
    }
    dims = {}
    if pointwise is not None:
        names, counts = _variables(result.predictive_data), [s.counts for s in result.predictive_data]
        if joint:
            names, counts, pointwise = ["counts"], [np.concatenate(counts)], [np.concatenate(pointwise, axis=1)]
        groups["log_likelihood"] = {name: log_p[None] for name, log_p in zip(names, pointwise, strict=True)}
        groups["observed_data"] = dict(zip(names, counts, strict=True))
        dims = {name: ["bin" if len(names) == 1 else f"bin_{i}"] for i, name in enumerate(names, 1)}
    attributes = {"log_z": result.log_z, "log_z_err": result.log_z_err, "ess": result.ess, "status": result.status}
    if int(arviz.__version__.split(".")[0]) >= 1:
        data = arviz.from_dict(groups, dims=dims)
    else:
        data = arviz.from_dict(**groups, dims=dims)
    data["posterior"].attrs.update(attributes)
    return data


def _variables(spectra: Sequence[SpectrumPredictive]) -> list[str]:
    """The spectra's file names, without folders, which are no names of variables; numbered where one comes twice."""
    names = [spectrum.name.split("/")[-1] for spectrum in spectra]
    return [f"{i}:{name}" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]


def to_getdist(result: Result) -> getdist.MCSamples:
    """Weighted draws as `getdist.MCSamples`, with labels and limits found from the draws."""
    getdist = _need("getdist", "getdist")
    keep = result.weights > 0
    weights = result.weights[keep]
    return getdist.MCSamples(
        samples=result.samples[keep],
        # GetDist judges its smoothing by the weights' sum as a number of draws.
        weights=weights * result.ess / weights.sum(),
        loglikes=-result.log_likelihood[keep],
        names=result.names,
        labels=[_latex(label, unit) for label, unit in zip(result.labels, result.units, strict=True)],
        settings={"ignore_rows": 0},
        sampler="uncorrelated",
    )


def _latex(label: str, unit: str) -> str:
    """Label for GetDist, which sets it in TeX's mathematics."""
    text = rf"\mathrm{{{label}}}".replace("_", r"\_").replace(" ", r"\ ")
    return text + (rf"\ [\mathrm{{{unit}}}]".replace("10^22", "10^{22}") if unit else "")


def _need(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} is not installed, so the result cannot be converted: pip install 'xspec_sixsa[{extra}]'."
        ) from error
