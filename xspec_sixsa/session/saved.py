"""A session written down, so that a process elsewhere can make it again and know that it is the same."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from xspec_sixsa.session.files import save_xcm
from xspec_sixsa.session.parameters import model_objects, parameters_of

__all__ = ["SavedSession", "exact_values", "take_exact_values"]

Values = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class SavedSession:
    """What makes a session again.

    Attributes
    ----------
    engine : {"xspec", "embedded"}
    text : str
        Its commands, as `files.save_xcm` writes them: data files have absolute names.
    values : tuple
        Every parameter's numbers in full, of which the commands have six digits; empty for those that are linked.
    weight : str
        Chi-squared weighting, which XSPEC does not save.
    fingerprint : dict
        What the copy's must be.
    statistic : float
        What the copy's must be, at its present values.
    time_limit : float
        Seconds that one evaluation may take.
    """

    engine: str
    text: str
    values: Values
    weight: str
    fingerprint: dict[str, Any]
    statistic: float
    time_limit: float

    @classmethod
    def of(cls, module: ModuleType, fingerprint: dict[str, Any], time_limit: float) -> SavedSession:
        """Write the session of this process down; XSPEC is silent already."""
        with tempfile.TemporaryDirectory(prefix="sixsa-") as folder:
            text = save_xcm(module, Path(folder) / "session.xcm").read_text(encoding="utf-8")
        engine = "embedded" if hasattr(module, "evaluate_batch") else "xspec"
        statistic = float(module.Fit.statistic)
        return cls(engine, text, exact_values(module), str(module.Fit.weight), fingerprint, statistic, time_limit)

    @property
    def key(self) -> str:
        """The same for sessions that evaluate the same."""
        what = json.dumps([self.engine, self.fingerprint, self.time_limit], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()


def exact_values(module: ModuleType) -> Values:
    """The numbers of all parameters, model by model; empty for those that are linked."""
    return tuple(
        () if parameter.link else tuple(float(value) for value in parameter.values)
        for _, _, model in model_objects(module)
        for _, parameter in parameters_of(model)
    )


def take_exact_values(module: ModuleType, values: Values) -> None:
    """Give parameters the numbers that `exact_values` has read from the same model.

    Raises
    ------
    ValueError
        Where there are not as many parameters.
    """
    parameters = [parameter for _, _, model in model_objects(module) for _, parameter in parameters_of(model)]
    if len(parameters) != len(values):
        raise ValueError(f"its models have {len(parameters)} parameters instead of {len(values)}")
    for parameter, numbers in zip(parameters, values, strict=True):
        if numbers and tuple(parameter.values) != numbers:
            parameter.values = ",".join(map(repr, numbers))
