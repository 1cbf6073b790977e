"""Additive components on their own, and which component is at fault when the whole gives nothing.

On real XSPEC both happen in forked processes: norms can be zeroed, links broken and models replaced there, and a
component that kills its process is found out, while the user's session is never touched.
The embedded engine is put back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.session.evaluator import Evaluator
from xspec_sixsa.session.measure import Row, Values
from xspec_sixsa.session.parameters import model_objects, parameters_of
from xspec_sixsa.session.workers import WorkerPool

__all__ = ["additive", "at_fault", "check_works", "embedded_components", "measured_components"]


def embedded_components(theta: np.ndarray, observation: Observation) -> dict[str, np.ndarray]:
    """Return expected counts (k, n_bins) of each additive component, from the embedded engine."""
    from xspec_sixsa.embedded.evaluate import evaluate_components

    area_time = observation.area_time
    return {
        label: np.concatenate([rate.numpy() for rate in rates], axis=1) * area_time
        for label, rates in evaluate_components(theta).items()
    }


def additive(objects: list[tuple[str, int, Any]]) -> list[tuple[str, str]]:
    """Return (model name, component name) of the additive components: those that end in a norm."""
    found: dict[tuple[str, str], None] = {}
    for name, _, model in objects:
        for component in model.componentNames:
            names = getattr(model, component).parameterNames
            if names and names[-1].lower() == "norm":
                found[name, component] = None
    return list(found)


def measured_components(
    module: ModuleType,
    evaluator: Evaluator,
    theta: np.ndarray,
    measure: Callable[[], np.ndarray],
    width: int,
    at_rows: Callable[[np.ndarray, Row, int], Values],
) -> tuple[dict[str, np.ndarray], int]:
    """Return what `measure` gives, (k, width), with each additive component alone, and how many evaluations that took.

    All parameter values are read at each `theta` with the links in place; then, with the links broken, the other
    components' norms are set to zero. A component whose norm is linked to another one's keeps its value that way.
    `at_rows` calls a function at rows of numbers, where the session may be left changed: forked, or put back after each
    call.
    """
    objects = model_objects(module)
    components = additive(objects)
    every = [(model, name, component, p) for name, _, model in objects for component, p in parameters_of(model)]

    def read(row: np.ndarray) -> tuple[np.ndarray, float, str]:
        evaluator.set(row)
        return np.array([p.values[0] for _, _, _, p in every]), 0.0, ""

    widened = False

    def one(row: np.ndarray) -> tuple[np.ndarray, float, str]:
        nonlocal widened
        kept, present = components[int(row[0])], row[1 : 1 + len(every)]
        evaluator.set_gain(row[1 + len(every) :])
        changes: dict[int, tuple[Any, dict[int, Any]]] = {}
        for (model, name, component, p), value in zip(every, present, strict=True):
            old = p.values
            if len(old) < 6:
                continue
            norm = p.name.lower() == "norm" and (name, component) in components
            number = 0.0 if norm and (name, component) != kept else float(value)
            text: Any = number
            if not widened:
                # user limits may exclude zero, and breaking a link brings the model's own limits back
                low, high = (-1e24, 1e24) if norm else (min(old[2], number), max(old[5], number))
                text = f"{number!r},{abs(old[1]) or 0.01!r},{low!r},{low!r},{high!r},{high!r}"
            changes.setdefault(id(model), (model, {}))[1][int(p._Parameter__index)] = text
        arguments: list[Any] = []
        for model, pairs in changes.values():
            arguments += [model, pairs]
        module.AllModels.setPars(*arguments)
        widened = True
        values = np.asarray(measure(), dtype=float)
        return values, 0.0, "" if np.isfinite(values).all() else "the component's numbers are not finite"

    values, _ = at_rows(theta, read, len(every))
    jobs = np.concatenate(
        [np.column_stack([np.full(len(theta), float(c)), values, theta]) for c in range(len(components))]
    )
    measured, reasons = at_rows(jobs, one, width)
    measured[[bool(reason) for reason in reasons]] = np.nan
    blocks = measured.reshape(len(components), len(theta), width)
    labels = [f"{name}:{component}" if name else component for name, component in components]
    return dict(zip(labels, blocks, strict=True)), len(jobs) + len(theta)


def check_works(
    module: ModuleType, observation: Observation, counts: np.ndarray, reason: str, time_limit: float
) -> None:
    """Refuse a model that fails, or gives nothing, at its present values: XSPEC often only gives zeros.

    Parameters
    ----------
    counts : ndarray (n_bins,)
        Expected ones, from the first evaluation of all.
    reason : str
        Why that failed; empty where it did not.

    Raises
    ------
    RuntimeError
        Naming the component at fault.
    """
    empty = [
        data.name
        for data, where in zip(observation.spectra, observation.slices, strict=True)
        if not reason and not counts[where].any()
    ]
    if not reason and not empty:
        return
    what = reason or f"the model gives no counts at all in {', '.join(empty)}"
    # a value that was not taken, or a link that leads too far, is nobody's missing model data
    fault = "" if " was set to " in what or " by its link " in what else at_fault(module, time_limit) + " "
    raise RuntimeError(
        f"The model cannot be evaluated at its present values: {what}. {fault}Put it right (see also `sixsa doctor`), "
        "or start from other values."
    )


def at_fault(module: ModuleType, time_limit: float) -> str:
    """Return a sentence on which component gives nothing, kills its process or is not finite, tried one by one.

    Empty on the embedded engine, which needs no model data.
    """
    if hasattr(module, "evaluate_batch"):
        return ""
    jobs: list[tuple[str, list[float], bool]] = []
    for _, group, model in model_objects(module):
        if group > 1:
            continue
        for component in model.componentNames:
            part = getattr(model, component)
            names = part.parameterNames
            values = [float(getattr(part, name).values[0]) for name in names]
            additive = bool(names) and names[-1].lower() == "norm"
            jobs.append((re.sub(r"_\d+$", "", component), values, additive))

    def alone(row: np.ndarray) -> tuple[np.ndarray, float, str]:
        name, values, additive = jobs[int(row[0])]
        model = module.Model(name if additive else f"{name}*powerlaw")
        model.setPars(*values)
        total = float(np.sum(model.folded(1)))
        return np.zeros(1), total, ""

    with WorkerPool(alone, 1, 1, min(time_limit, 60.0)) as pool:
        _, totals, reasons = pool.evaluate(np.arange(len(jobs), dtype=float)[:, None])
    guilty = []
    for (name, values, additive), total, reason in zip(jobs, totals, reasons, strict=True):
        if reason and "the worker" in reason:
            guilty.append(f"{name} ends its process or hangs ({reason})")
        elif not reason and not np.isfinite(total):
            guilty.append(f"{name} is not finite")
        elif not reason and total == 0.0:
            guilty.append(f"{name} gives zero" + (" (its norm is 0)" if additive and values[-1] == 0.0 else ""))
    if not guilty:
        return "No single component is at fault."
    return f"At fault: {'; '.join(guilty)}. Its model data are probably missing from this HEASoft."
