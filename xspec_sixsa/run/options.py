"""What a user may ask of a run, checked before anything is spent."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from xspec_sixsa.infer.settings import COMPRESSORS, EMULATORS, ESTIMATORS, EXACT, GUIDES, TRAINING, Settings

__all__ = ["SETTINGS", "checked", "checked_settings"]

SMALL_BUDGET = 2000  # below it, and unless more are asked for, half as many effective samples are wanted
POSITIVE = ("target_ess", "budget")
SETTINGS = (*POSITIVE, "compressor", "estimator", "training", "emulator", "exact")
"""Options that are fields of `infer.settings.Settings`."""


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that are `SETTINGS`, whole numbers as such.

    Raises
    ------
    ValueError
        For one that cannot work.
    """
    chosen = {k: v for k, v in options.items() if k in SETTINGS}
    for key in POSITIVE:
        if key in chosen:
            if not (chosen[key] > 0 and int(chosen[key]) == chosen[key]):
                raise ValueError(f"{key} is {chosen[key]}: it must be a whole number above zero.")
            chosen[key] = int(chosen[key])
    if "target_ess" not in chosen and chosen.get("budget", SMALL_BUDGET) < SMALL_BUDGET:
        # half for the search: what such a budget allows at best
        chosen["target_ess"] = max(chosen["budget"] // 2, 1)
    if chosen.get("training", "emulated") not in TRAINING:
        raise ValueError(f"Unknown training {chosen['training']!r}: type one of {', '.join(TRAINING)}.")
    if chosen.get("compressor", "autoencoder") not in COMPRESSORS:
        raise ValueError(f"Unknown compressor {chosen['compressor']!r}: type one of {', '.join(COMPRESSORS)}.")
    if chosen.get("estimator", "npe") not in ESTIMATORS:
        raise ValueError(f"Unknown estimator {chosen['estimator']!r}: type one of {', '.join(ESTIMATORS)}.")
    if chosen.get("estimator", "npe") != "npe" and chosen.get("training") == "simulated":
        raise ValueError(
            f'training = "simulated" draws its rounds from within a flow, and estimator = "{chosen["estimator"]}" is '
            "none: drop one."
        )
    if chosen.get("emulator", "linear") not in EMULATORS:
        raise ValueError(f"Unknown emulator {chosen['emulator']!r}: type one of {', '.join(EMULATORS)}.")
    if chosen.get("emulator") == "paired" and chosen.get("training") == "simulated":
        raise ValueError('emulator = "paired" emulates spectra, and training = "simulated" has no emulator: drop one.')
    exact = chosen.get("exact", "draws")
    if exact not in EXACT:
        raise ValueError(f"Unknown exact {exact!r}: type one of {', '.join(EXACT)}.")
    if exact == "control" and chosen.get("training") == "simulated":
        raise ValueError(
            'exact = "control" corrects emulated draws, and training = "simulated" has no emulator: drop one.'
        )
    if exact == "draws" and "target_ess" in chosen and "budget" in chosen and chosen["budget"] < chosen["target_ess"]:
        raise ValueError(
            f"A budget of {chosen['budget']} evaluations cannot give {chosen['target_ess']:g} effective samples: each "
            "needs at least one. Raise budget or ask for fewer."
        )
    return chosen


def checked_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Further fields of `Settings`, as they are.

    Raises
    ------
    ValueError
        For a field or a guide that there is not.
    """
    settings, known = settings or {}, [field.name for field in fields(Settings)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"Unknown settings {', '.join(unknown)}: they are {', '.join(known)}.")
    if settings.get("guide", GUIDES[0]) not in GUIDES:
        raise ValueError(f"Unknown guide {settings['guide']!r}: type one of {', '.join(GUIDES)}.")
    return settings
