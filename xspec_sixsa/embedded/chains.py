"""`Chain` and `AllChains`: chains in XSPEC's FITS format, loaded or run with Goodman and Weare's stretch moves."""

from __future__ import annotations

import logging
import os
from typing import Any, ClassVar

import numpy as np

from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.goodman_weare import goodman_weare
from xspec_sixsa.embedded.loadedchain import (
    LoadedChain,
    free_parameter_ids,
    in_sync,
    load_file,
    loaded_chains,
    position,
)
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.result.chainfile import write_chain

__all__ = ["AllChains", "Chain", "ChainManager"]

log = logging.getLogger(__name__)

ALGORITHMS = ("gw", "mh")
STATISTIC_NAMES = {"chi": "Chi-Squared", "cstat": "C-Statistic", "pstat": "Pearson", "pgstat": "PG-Statistic"}


class ChainManager:
    """PyXspec's ``AllChains``: loads with ``+=``, unloads with ``-=``, and keeps the defaults of new chains.

    Attributes
    ----------
    defAlgorithm, defBurn, defFileType, defLength, defProposal, defRand, defTemperature, defWalkers
        Defaults of `Chain`: gw, 0, fits, 100, gaussian fit, False, 1.0, 10.
    """

    _DEFAULTS: ClassVar[dict[str, Any]] = {
        "defAlgorithm": "gw",
        "defBurn": 0,
        "defFileType": "fits",
        "defLength": 100,
        "defProposal": "gaussian fit",
        "defRand": False,
        "defTemperature": 1.0,
        "defWalkers": 10,
    }

    defAlgorithm: str
    defBurn: int
    defFileType: str
    defLength: int
    defProposal: str
    defRand: bool
    defTemperature: float
    defWalkers: int

    def __init__(self) -> None:
        for name, value in self._DEFAULTS.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._DEFAULTS:
            raise XspecError(f"AllChains has no attribute {name!r}. Did you misspell it?")
        object.__setattr__(self, name, _validated(name.removeprefix("def").lower(), value))

    def __call__(self, index: int) -> Chain:
        """The loaded chain of an index; chains are in the order of their file names, as in XSPEC."""
        if isinstance(index, bool) or not isinstance(index, int) or index < 1:
            raise XspecError("Error: Argument must be an integer > 0")
        if index > len(session.chains):
            raise XspecError(f"Error: Chain index number: {index} is out of range. "
                             f"{len(session.chains)} chains are currently loaded.")  # fmt: skip
        return Chain._of_loaded(session.chains[index - 1])

    def __iadd__(self, chain: Chain | str) -> ChainManager:
        """Load a chain file or a `Chain`; a name of no file runs a new chain with the default settings."""
        if isinstance(chain, Chain):
            self._load(load_file(chain.fileName))
        elif isinstance(chain, (str, os.PathLike)):
            path = os.fspath(chain)
            if os.path.exists(path):
                self._load(load_file(path))
            else:
                Chain(path)
        else:
            raise XspecError("Error: Invalid type for += operator")
        return self

    def __isub__(self, chain: Chain | str | int) -> ChainManager:
        """Unload by index, file name, `Chain`, or ``"*"`` for all."""
        if isinstance(chain, int) and not isinstance(chain, bool):
            if not 1 <= chain <= len(session.chains):
                raise XspecError(f"Error: there is no chain {chain}: {len(session.chains)} are loaded.")
            del session.chains[chain - 1]
        elif isinstance(chain, (Chain, str)):
            name = chain.fileName if isinstance(chain, Chain) else chain
            if name.startswith("*"):
                self.clear()
            elif not any(known.file_name == name for known in session.chains):
                report(f"***Error: Chain with fileName: {name} is not currently loaded.")
            session.chains[:] = [known for known in session.chains if known.file_name != name]
        else:
            raise XspecError("Error: Invalid type for -= operator")
        return self

    def __len__(self) -> int:
        return len(session.chains)

    def clear(self) -> None:
        """Unload all chains; the files stay."""
        session.chains.clear()

    def show(self) -> None:
        """Print the defaults and the loaded chains, and whether they fit the present free parameters."""
        lines = [f"{name.removeprefix('def')}: {getattr(self, name)}" for name in self._DEFAULTS]
        lines.append("Currently loaded chains:" if session.chains else "No chains are currently loaded.")
        lines += [f"{i}  {chain.file_name}  length {len(chain)}" for i, chain in enumerate(session.chains, start=1)]
        if session.chains and not in_sync():
            lines.append("They do not match the current fit parameters and are not used.")
        report("\n".join(lines))

    def stat(self, parIdx: int | str) -> dict[str, Any]:
        """Print and return the statistics of a parameter over the chains: ``3``, ``"3"`` or ``"bkg:3"``.

        Returns
        -------
        dict
            ``means`` (one a chain), ``mean``, ``variance_of_means``, ``variance``, ``rubin_gelman``, ``repeats``.
        """
        model, _, index = str(parIdx).rpartition(":")
        if not index.strip().isdigit():
            raise XspecError(f"AllChains.stat({parIdx!r}): give a parameter index, or 'model:index'.")
        column = position(int(index), model)
        chains = loaded_chains()
        length = len(chains[0])
        if length < 2:
            raise XspecError("Chain lengths not large enough to calculate stats.")
        means = np.array([chain.samples[:, column].mean() for chain in chains])
        within = sum(chain.samples[:, column].var() * length for chain in chains) / (length * len(chains) - 1)
        between = float(means.var(ddof=1)) if len(chains) > 1 else 0.0
        rhat = ((length - 1) * within / length + between * (1 + 1 / len(chains))) / within if within else float("nan")
        repeats = [chain.repeats for chain in chains]
        lines = [" Means in chains : " + "  ".join(f"{mean:.8g}" for mean in means)]
        if len(chains) > 1:
            lines.append(f" Mean over all chains : {means.mean():.8g} and variance of chain means : {between:.8g}")
        lines.append(f" Variance over all chains : {within:.8g}")
        if len(chains) > 1:
            lines.append(f" Rubin-Gelman convergence measure : {rhat:.8g}")
        lines.append(" Fraction of repeated values: " + "  ".join(f"{value:.8g}" for value in repeats))
        report("\n".join(lines))
        return {"means": means.tolist(), "mean": float(means.mean()), "variance_of_means": between,
                "variance": float(within), "rubin_gelman": float(rhat), "repeats": repeats}  # fmt: skip

    def best(self) -> tuple[list[float], float]:
        """The row of smallest statistic over all chains: (parameter values, statistic)."""
        chain = min(loaded_chains(), key=lambda loaded: loaded.statistic.min())
        row = int(chain.statistic.argmin())
        return chain.samples[row].tolist(), float(chain.statistic[row])

    def margin(self, *args: Any) -> None:
        """Refused: there is no margin grid."""
        raise XspecError("AllChains.margin is not in the embedded engine: histogram the rows of the chain file "
                         "(xspec_sixsa.result.chainfile.read_chain), or use real XSPEC.")  # fmt: skip

    def _load(self, chain: LoadedChain) -> None:
        others = [known for known in session.chains if known.file_name != chain.file_name]
        if others and [p.column for p in others[0].parameters] != [p.column for p in chain.parameters]:
            raise XspecError(f"{chain.file_name} contains different pars than the already loaded chain(s). Therefore, "
                             "it cannot be loaded at this time: AllChains.clear() first.")  # fmt: skip
        if others and len(others[0]) != len(chain):
            raise XspecError(f"{chain.file_name} has {len(chain)} rows, the loaded chains have {len(others[0])} (XSPEC "
                             "would ask whether to go on): AllChains.clear() first.")  # fmt: skip
        session.chains[:] = sorted([*others, chain], key=lambda known: known.file_name)
        report(f"  New chain {chain.file_name} is now loaded.")
        if not in_sync():
            log.info("chain %s does not match the free parameters (names, order, units): loaded but not used",
                     chain.file_name)  # fmt: skip


class Chain:
    """PyXspec's chain: running it writes the file and loads it into `AllChains`.

    Parameters
    ----------
    fileName : str
        FITS file to write; a file that exists is refused.
    fileType : {"fits"}
        "ascii" chains are not in the engine.
    burn, runLength, walkers : int
        Steps thrown away, rows written, and number of walkers (even); lengths are cut to multiples of `walkers`.
    algorithm : {"gw"}
        Goodman-Weare; "mh" is not in the engine.
    proposal : str
        Only "gaussian fit", for the first walkers.
    rand, temperature
        Metropolis-Hastings settings, kept for scripts.
    """

    _SETTINGS = ("burn", "runLength", "proposal", "rand", "temperature", "algorithm", "walkers")

    fileName: str
    fileType: str
    totalLength: int
    burn: int
    runLength: int
    proposal: str
    rand: bool
    temperature: float
    algorithm: str
    walkers: int

    def __init__(
        self,
        fileName: str,
        fileType: str | None = None,
        burn: int | None = None,
        runLength: int | None = None,
        proposal: str | None = None,
        rand: bool | None = None,
        temperature: float | None = None,
        algorithm: str | None = None,
        walkers: int | None = None,
    ) -> None:
        if not isinstance(fileName, str) or not fileName.split():
            raise XspecError("Error: Chain needs a file name.")
        self._start(fileName.split()[0], fileType or AllChains.defFileType, 0)
        given = {"burn": burn, "runLength": runLength, "proposal": proposal, "rand": rand, "temperature": temperature,
                 "algorithm": algorithm, "walkers": walkers}  # fmt: skip
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        if os.path.exists(self.fileName):
            raise XspecError(f"{self.fileName} exists and is not replaced (XSPEC would ask): remove it, or load it "
                             f"with AllChains += {self.fileName!r}.")  # fmt: skip
        self.run(append=False)

    @classmethod
    def _of_loaded(cls, loaded: LoadedChain) -> Chain:
        chain = cls.__new__(cls)
        chain._start(loaded.file_name, "fits", len(loaded))
        return chain

    def _start(self, file_name: str, file_type: str, length: int) -> None:
        own = self.__dict__
        own["fileName"], own["fileType"], own["totalLength"] = file_name, _validated("filetype", file_type), length
        for name in self._SETTINGS:
            default = "defLength" if name == "runLength" else "def" + name[0].upper() + name[1:]
            own[name] = getattr(AllChains, default)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._SETTINGS:
            known = name in ("fileName", "fileType", "totalLength")
            raise XspecError(f"Error: Cannot rebind a Chain object's {name}" if known
                             else f"Chain has no attribute {name!r}. Did you misspell it?")  # fmt: skip
        self.__dict__[name] = _validated("length" if name == "runLength" else name.lower(), value)

    def run(self, append: bool = True) -> None:
        """Run the chain: append to its file (default) or write it anew, and load it.

        Raises
        ------
        XspecError
            For settings the engine lacks, or where there is nothing free to sample.
        """
        if self.algorithm != "gw":
            raise XspecError("Chain algorithm 'mh' (Metropolis-Hastings) is not in the embedded engine: use 'gw'.")
        if self.proposal.split() != ["gaussian", "fit"]:
            raise XspecError(f"Chain proposal {self.proposal!r} is not in the embedded engine: use 'gaussian fit'.")
        if self.fileType != "fits":
            raise XspecError("ASCII chains are not in the embedded engine: use fileType='fits'.")
        parameters = free_parameter_ids()
        if not parameters:
            raise XspecError("Chain: there is no free parameter. Load data, define a model, thaw a parameter.")
        steps = self.runLength // self.walkers
        if steps < 1:
            raise XspecError(f"Chain length {self.runLength} is less than {self.walkers}, the number of walkers.")
        old: LoadedChain | None = None
        if append and self.totalLength:
            old = load_file(self.fileName)
            if old.parameters != parameters:
                raise XspecError(f"{self.fileName} does not match the current fit parameters: nothing is appended.")
            if old.walkers != self.walkers:
                raise XspecError(f"This GW chain may only be appended to with walkers = {old.walkers}")
        start = None if old is None else (old.samples[-self.walkers :], old.statistic[-self.walkers :])
        burn = 0 if old is not None else -(-self.burn // self.walkers)
        samples, statistic = goodman_weare(self.walkers, burn, steps, start)
        if old is not None:
            samples, statistic = np.vstack([old.samples, samples]), np.concatenate([old.statistic, statistic])
        write_chain(
            self.fileName, [p.column for p in parameters], [p.unit for p in parameters], samples, statistic,
            walkers=self.walkers, statistic_unit=STATISTIC_NAMES.get(session.stat_method, "Total_Stat"),
            history=["Created by xspec_sixsa.embedded, Chain (Goodman-Weare)"],
        )  # fmt: skip
        self.__dict__["totalLength"] = len(samples)
        session.chains[:] = [known for known in session.chains if known.file_name != self.fileName]
        AllChains._load(load_file(self.fileName))

    def show(self) -> None:
        """Print the settings."""
        names = ("fileName", "fileType", *self._SETTINGS, "totalLength")
        report("\n".join(f"{name}: {getattr(self, name)}" for name in names))


def _validated(kind: str, value: Any) -> Any:
    integer = isinstance(value, int) and not isinstance(value, bool)
    if kind in ("burn", "length"):
        if not integer or value < 0:
            raise XspecError(f"Error: {kind} argument must be an int of at least 0")
    elif kind == "filetype":
        value = value.strip().lower() if isinstance(value, str) else value
        if value not in ("fits", "ascii"):
            raise XspecError('Error: fileType must be "fits" or "ascii"')
    elif kind == "proposal" and not isinstance(value, str):
        raise XspecError("Error: proposal argument must be a string")
    elif kind == "rand" and not isinstance(value, bool):
        raise XspecError("Error: rand argument must be a bool")
    elif kind == "temperature" and not (integer or isinstance(value, float)):
        raise XspecError("Error: temperature argument must be a float or int")
    elif kind == "algorithm":
        value = value.strip().lower() if isinstance(value, str) else value
        if value not in ALGORITHMS:
            raise XspecError('Error: algorithm must be "gw" or "mh"')
    elif kind == "walkers":
        if not integer or value % 2:
            raise XspecError("Error: walkers value must be an even integer")
        if value <= 0:
            raise XspecError("Error: walkers value must be > 0")
    return value


AllChains = ChainManager()
"""The one container of chains."""
