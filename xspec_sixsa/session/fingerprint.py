"""What defines a posterior besides its priors: data, responses, models, settings; and how two of them differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xspec_sixsa.common.observation import Observation
from xspec_sixsa.session.freeparameter import FreeParameter
from xspec_sixsa.session.gain import gains
from xspec_sixsa.session.observe import saved_lines
from xspec_sixsa.session.parameters import chain_name, model_objects, parameters_of

__all__ = ["difference", "fingerprint", "without_folders"]

DIGITS = 1e-6  # of energies: PyXspec gives ten digits, and replaces zero by a small number
_WORDS = {
    "free": "the free parameters",
    "limits": "the hard limits",
    "frozen": "the frozen value",
    "links": "the link",
    "gain": "the fixed gain of",
    "models": "the model",
    "abund": "the abundance table",
    "xsect": "the cross-sections",
    "cosmo": "the cosmology",
    "weight": "the chi-squared weighting",
    "model_strings": "the xset strings",
    "spectra": "spectrum",
    "responses": "the file of",
    "energies": "the energies of",
}


def fingerprint(module: ModuleType, parameters: list[FreeParameter], observation: Observation) -> dict[str, Any]:
    """Return the session's definition, JSON-able; present values of free parameters are no part of it.

    Parameters
    ----------
    module : module
        PyXspec or the embedded engine.
    parameters : list of FreeParameter
    observation : Observation
    """
    frozen, links, models = {}, {}, {}
    for name, _, model in model_objects(module):
        models[name] = model.expression
        start = model.startParIndex
        for offset, (_, parameter) in enumerate(parameters_of(model)):
            key = chain_name(parameter.name, name, start + offset)
            values = parameter.values
            if parameter.link:
                links[key] = parameter.link.strip()
            elif len(values) < 6 or parameter.frozen or values[1] <= 0.0:
                frozen[key] = float(values[0])
    fixed_gain = {
        f"spectrum {gain.spectrum}, source {gain.source}": gain.fixed() for gain in gains(module) if gain.fixed()
    }
    return {
        "spectra": [_spectrum(module, data) for data in observation.spectra],
        "models": models,
        "free": [p.chain_name for p in parameters],
        "limits": {p.chain_name: [float(x) for x in p.hard_limits] for p in parameters},
        "frozen": frozen,
        "links": links,
        "abund": _abundances(module),
        "xsect": str(module.Xset.xsect).split()[0].rstrip(":"),
        "cosmo": [float(x) for x in module.Xset.cosmo],
        "model_strings": {str(k): str(v) for k, v in tuple(module.Xset.modelStrings)},
        "weight": str(module.Fit.weight),
        **({"gain": fixed_gain} if fixed_gain else {}),
    }


def _abundances(module: ModuleType) -> str:
    """The name of the abundance table; of a file's its own and the digest of what is in it."""
    name = str(module.Xset.abund).split()[0].rstrip(":")
    if name != "file":
        return name
    folder = Path()
    for line in saved_lines(module):
        words = line.split(maxsplit=2)
        if words[:1] == ["cd"]:
            folder = Path(line.split(maxsplit=1)[1])
        elif words[:2] == ["abund", "file"]:
            path = folder / words[2].strip()
            known = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "not there any more"
            return f"file {path.name} ({known})"
    return name


def _spectrum(module: ModuleType, data: Any) -> dict[str, Any]:
    spectrum = module.AllData(data.index)
    hashes = hashlib.sha256()
    for array in (data.counts, data.background, data.background_ratio, data.sigma, data.area_time):
        hashes.update(b"none" if array is None else np.ascontiguousarray(array, dtype="<f8").tobytes())
    responses = {}
    for source in sorted(module.AllModels.sources):
        try:
            response = spectrum.multiresponse[source - 1]
        except Exception:  # PyXspec raises plain Exception for a source without a response
            continue
        try:
            arf = response.arf
        except Exception:  # no ARF
            arf = ""
        responses[str(source)] = [response.rmf, arf]
    try:
        background = spectrum.background.fileName
    except Exception:  # none attached
        background = ""
    return {
        "file": spectrum.fileName,
        "background": background,
        "responses": responses,
        "group": data.data_group,
        "noticed": spectrum.noticedString(),
        "exposure": data.exposure,
        "statistic": data.statistic,
        "systematic": data.systematic,
        "counts_sha256": hashes.hexdigest(),
        **_other_energies(module, data),
    }


def _other_energies(module: ModuleType, data: Any) -> dict[str, Any]:
    """Energies that models are evaluated on, where these are not the response's own (XSPEC's `energies`)."""
    found: dict[str, str] = {}
    if any(gain.spectrum == data.index for gain in gains(module)):  # it moves the response's
        return {}
    for source, name in sorted(module.AllModels.sources.items()):
        try:
            response = module.AllData(data.index).multiresponse[source - 1]
            used = np.array(module.AllModels(data.data_group, name).energies(data.index), dtype=float)
        except Exception:  # PyXspec raises plain Exception for a source without a response
            continue
        own = np.asarray(response.energies, dtype=float)
        if used.shape != own.shape or not np.allclose(used, own, rtol=DIGITS, atol=1e-9):
            text = " ".join(f"{energy:.7g}" for energy in used)
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            found[str(source)] = f"{used[0]:g}-{used[-1]:g} keV in {len(used) - 1} bins ({digest})"
    return {"energies": found} if found else {}


def difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words how two fingerprints differ; empty when they do not.

    Parameters
    ----------
    before, now : dict
        From `fingerprint`; also after a round trip through JSON.
    """
    changes = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        what = _WORDS.get(key, key)
        if key == "spectra":
            changes += _spectra(old or [], new or [])
        elif isinstance(old, dict) and isinstance(new, dict):
            for name in dict.fromkeys([*old, *new]):
                if old.get(name) != new.get(name):
                    called = f" {name}" if name else ""
                    changes.append(f"{what}{called} was {_shown(old.get(name))} and is {_shown(new.get(name))}")
        else:
            changes.append(f"{what} was {_shown(old)} and is {_shown(new)}")
    return changes


def _spectra(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    if len(old) != len(new):
        return [f"there were {len(old)} spectra and are {len(new)}"]
    changes = []
    for number, (a, b) in enumerate(zip(old, new, strict=True), start=1):
        fields = [field for field in dict.fromkeys([*a, *b]) if a.get(field) != b.get(field)]
        for field in fields:
            if field != "counts_sha256":
                changes.append(f"spectrum {number}: {field} was {_shown(a.get(field))} and is {_shown(b.get(field))}")
        if fields == ["counts_sha256"]:
            changes.append(f"spectrum {number} ({b.get('file')}): the counts or errors in the file are others")
    return changes


def without_folders(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a session whose files lie elsewhere."""

    def name(file: str) -> str:
        return Path(file).name

    spectra = [
        s | {"file": name(s["file"]), "background": name(s["background"]),
             "responses": {k: [name(f) for f in files] for k, files in s["responses"].items()}}
        for s in fingerprint.get("spectra", [])
    ]  # fmt: skip
    models = {
        key: re.sub(r"\{[^{}]*/([^{}/]+)\}", r"{\1}", text) for key, text in fingerprint.get("models", {}).items()
    }
    return {**fingerprint, "spectra": spectra, "models": models}


def _shown(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
