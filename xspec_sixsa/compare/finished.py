"""Runs of others that are there already: a BXA folder, an XSPEC chain, a folder of this package."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xspec_sixsa.compare.chains import read_chains
from xspec_sixsa.compare.posterior import CompareError, Posterior
from xspec_sixsa.result import Result

__all__ = ["read_finished"]

RESULTS, DRAWS = Path("info", "results.json"), Path("chains", "weighted_post.txt")


def read_finished(path: str | os.PathLike[str], names: Sequence[str]) -> Posterior:
    """Read what another method left.

    Parameters
    ----------
    path : path
        A BXA folder (`outputfiles_basename`), a chain in XSPEC's FITS format, or a folder of this package.
    names : sequence of str
        Chain names of the parameters, in the order wanted.

    Raises
    ------
    FileNotFoundError
    CompareError
        For something else, or a run of other parameters.
    """
    path = Path(path)
    if path.is_dir():
        if (path / RESULTS).is_file():
            return _bxa_folder(path, names)
        if (path / "posterior.npz").is_file():
            result = Result.load(path)
            if sorted(result.names) != sorted(names):
                raise CompareError(_other_parameters(path, result.names, names))
            found = Posterior.of(result, path.name)
            found.samples = found.samples[:, [result.names.index(name) for name in names]]
            return found
        raise CompareError(
            f"{path} is neither a BXA folder ({RESULTS} is missing) nor one of xspec_sixsa (posterior.npz is missing)."
        )
    if not path.is_file():
        raise FileNotFoundError(f"No file or folder {path}.")
    return read_chains([path], names, path.name)[0]


def _bxa_folder(path: Path, names: Sequence[str]) -> Posterior:
    results = json.loads((path / RESULTS).read_text(encoding="utf-8"))
    lines = (path / DRAWS).read_text(encoding="utf-8").split("\n", 1)
    columns = lines[0].lstrip("# ").split()[2:]
    table = np.atleast_2d(np.loadtxt(path / DRAWS, skiprows=1))
    weights, log_likelihood, values = table[:, 0], table[:, 1], table[:, 2:]
    if len(columns) != len(names):
        raise CompareError(_other_parameters(path, columns, names))
    samples = np.full_like(values, np.nan)
    for i, column in enumerate(columns):
        match = re.fullmatch(r"log\((.+)\)", column)
        bare = match[1] if match else column
        if bare != names[i].split("__")[0]:
            raise CompareError(
                f"{_other_parameters(path, columns, names)} BXA's columns have no numbers: their order must be XSPEC's."
            )
        samples[:, i] = 10.0 ** values[:, i] if match else values[:, i]
    keep = weights > 0
    return Posterior(
        path.name, samples[keep], weights[keep], float(results["ess"]), float(results["logz"]),
        float(results["logzerr"]), int(results["ncall"]), best_statistic=float(-2 * log_likelihood.max()),
        notes=["values of custom priors are taken as they stand: BXA does not record their transforms"],
    )  # fmt: skip


def _other_parameters(path: Path, found: Sequence[str], wanted: Sequence[str]) -> str:
    return f"{path} has the parameters {', '.join(found)}, and the run here {', '.join(wanted)}."
