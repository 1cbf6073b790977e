"""`Plot`: the arrays that XSPEC would draw, and QDP files; there is no graphics window in the embedded engine."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xspec_sixsa.embedded.console import report
from xspec_sixsa.embedded.manager import AllModels
from xspec_sixsa.embedded.plot_arrays import ERROR_TYPES, Axis, PlotArrays, Rebin
from xspec_sixsa.embedded.plot_kinds import DATA_PLOTS, title, y_label
from xspec_sixsa.embedded.plot_panes import PaneSettings, compute, drawn_axis, requests
from xspec_sixsa.embedded.qdp import write_qdp
from xspec_sixsa.embedded.state import XspecError, session
from xspec_sixsa.embedded.units import ENERGY_UNITS, WAVE_UNITS

__all__ = ["Plot", "PlotManager"]

log = logging.getLogger(__name__)

SILENT_DEVICES = ("/null", "none")
SCREEN_DEVICES = ("/xs", "/xw", "/xserve", "/xwindow", "/xtk", "/xserver")
MAX_PANES = 6


class PlotManager:
    """PyXspec's ``Plot``.

    ``Plot("data resid")`` computes the panes; `x`, `xErr`, `y`, `yErr`, `model`, `backgroundVals`, `addComp` give their
    arrays by plot group (spectrum) and plot window (pane), as lists. A ``wdata file`` among the `commands` writes them.

    Attributes
    ----------
    add, background, area, xLog, yLog, perHz, splashPage : bool
    redshift : float
        Applied to the x axis' energies.
    xAxis : str
        ``channel``, ``keV``, ``MeV``, ``GeV``, ``Hz``, ``angstrom``, ``cm``, ``micron`` or ``nm``.
    device : str
        ``/null``; screen devices are accepted and nothing is drawn.
    commands : tuple of str
        PLT commands; of these only ``wdata`` has an effect.
    """

    _axis: Axis
    _rebin: dict[int, Rebin]
    _last_rebin: Rebin
    _commands: list[str]
    _flags: dict[str, bool]
    _device: str
    _panes: list[list[PlotArrays]]
    _kinds: list[str]
    _last: list[str]

    def __init__(self) -> None:
        for name, value in (("_axis", Axis()), ("_rebin", {-1: Rebin()}), ("_last_rebin", Rebin()), ("_commands", []),
                            ("_flags", dict.fromkeys(("add", "background"), False) | {"xLog": True, "yLog": False}),
                            ("_device", "/null"), ("_panes", []), ("_kinds", []), ("_last", ["data"])):  # fmt: skip
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(type(self), name, None), property):
            raise XspecError(f"Plot has no attribute {name!r}. Did you misspell it?")
        object.__setattr__(self, name, value)

    def __call__(self, *panes: str) -> None:
        """Compute the panes named by one or more strings, e.g. ``"ldata delchi"``; without any, the last ones again."""
        words = re.split(r"[\s,]+", " ".join(panes).strip())
        words = [word for word in words if word] or list(self._last)
        asked = requests(words)
        if len(asked) > MAX_PANES:
            raise XspecError(f"Maximum number of plot panes is limited to {MAX_PANES}.")
        object.__setattr__(self, "_last", words)
        settings = PaneSettings(self._axis, self._rebin, self.add, self.background)
        computed: list[list[PlotArrays]] = []
        donor: list[PlotArrays] | None = None
        for kind, name in asked:
            groups = compute(kind, name, donor, settings)
            donor = groups if kind in DATA_PLOTS else None
            computed.append(groups)
        object.__setattr__(self, "_panes", computed)
        object.__setattr__(self, "_kinds", [kind for kind, _ in asked])
        self._run_commands()

    # -- arrays of the last plot

    def x(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """X coordinates (bin centres) of a plot group in a plot window."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.x)

    def xErr(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Half widths of the bins."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.x_err)

    def y(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Data values; raises for plots without data."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.y)

    def yErr(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Errors of the data."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.y_err)

    def model(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Model values, summed over sources."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.models[0] if arrays.models else None)

    def backgroundVals(self, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Background values; only of data plots made with ``Plot.background = True``."""
        return self._array(plotGroup, plotWindow, lambda arrays: arrays.background)

    def nAddComps(self, plotGroup: int = 1, plotWindow: int = 1) -> int:
        """Number of additive components drawn: 0 without ``Plot.add`` or for a single one."""
        return len(self._group(plotGroup, plotWindow).components)

    def addComp(self, addCompNum: int = 1, plotGroup: int = 1, plotWindow: int = 1) -> list[float]:
        """Values of one additive component, counted from 1; raises beyond the last one."""
        components = self._group(plotGroup, plotWindow).components
        if not isinstance(addCompNum, int) or not 1 <= addCompNum <= len(components):
            raise XspecError(f"Requested array does not exist for this plot: additive component {addCompNum} of "
                             f"{len(components)}. Set Plot.add = True before plotting data.")  # fmt: skip
        return components[addCompNum - 1].tolist()

    def labels(self, plotWindow: int = 1) -> tuple[str, str, str]:
        """(x label, y label, title) of a plot window, with PLT's escapes."""
        self._group(1, plotWindow)
        kind = self._kinds[plotWindow - 1]
        axis = drawn_axis(self._axis, kind)
        x = {"channel": "Channel", "energy": f"Energy ({axis.unit})", "wave": f"Wavelength ({axis.unit})"}[axis.kind]
        return x, y_label(kind, axis), title(kind, bool(AllModels.sources))

    # -- settings

    @property
    def add(self) -> bool:
        """Whether additive components are computed."""
        return self._flags["add"]

    @add.setter
    def add(self, value: bool) -> None:
        self._flags["add"] = bool(value)

    @property
    def background(self) -> bool:
        """Whether data plots carry the background."""
        return self._flags["background"]

    @background.setter
    def background(self, value: bool) -> None:
        self._flags["background"] = bool(value)

    @property
    def area(self) -> bool:
        """Division by the effective area, which the engine does not do."""
        return False

    @area.setter
    def area(self, value: bool) -> None:
        if value:
            raise XspecError("Plot.area = True is not in the embedded engine: data divided by effective area are not "
                             "computed. Plot('ufspec') is; with HEASoft installed use real XSPEC.")  # fmt: skip

    @property
    def xLog(self) -> bool:
        """Logarithmic x axis (kept for scripts; nothing is drawn)."""
        return self._flags["xLog"]

    @xLog.setter
    def xLog(self, value: bool) -> None:
        self._flags["xLog"] = bool(value)

    @property
    def yLog(self) -> bool:
        """Logarithmic y axis (kept for scripts; nothing is drawn)."""
        return self._flags["yLog"]

    @yLog.setter
    def yLog(self, value: bool) -> None:
        self._flags["yLog"] = bool(value)

    @property
    def perHz(self) -> bool:
        """Whether wavelength plots are per Hz."""
        return self._axis.per_hz

    @perHz.setter
    def perHz(self, value: bool) -> None:
        object.__setattr__(self, "_axis", replace(self._axis, per_hz=bool(value)))

    @property
    def splashPage(self) -> bool:
        """Kept for scripts: there is no window to show it in."""
        return False

    @splashPage.setter
    def splashPage(self, value: bool) -> None:
        log.debug("Plot.splashPage = %s has no effect", value)

    @property
    def redshift(self) -> float:
        """Redshift applied to the energies of the x axis."""
        return self._axis.redshift

    @redshift.setter
    def redshift(self, value: float) -> None:
        if not float(value) > -1:
            raise XspecError(f"Plot.redshift = {value}: it must be above -1.")
        object.__setattr__(self, "_axis", replace(self._axis, redshift=float(value)))

    @property
    def xAxis(self) -> str:
        """Unit of the x axis."""
        return self._axis.unit

    @xAxis.setter
    def xAxis(self, value: str) -> None:
        if not isinstance(value, str):
            raise XspecError("Error: Argument must be a string")
        units = ("channel", *ENERGY_UNITS, *WAVE_UNITS)
        matches = [unit for unit in units if unit.lower().startswith(value.strip().lower())]
        if not value.strip() or not matches:
            raise XspecError(f"Error: Invalid units string {value!r}: use one of {', '.join(units)}.")
        object.__setattr__(self, "_axis", replace(self._axis, unit=matches[0]))
        # As in XSPEC, real numbers in ignore and notice are then in this unit.
        session.energy_unit = matches[0] if self._axis.kind != "channel" else "keV"

    @property
    def device(self) -> str:
        """Name of the plotting device; nothing is ever drawn."""
        return self._device

    @device.setter
    def device(self, value: str) -> None:
        name = str(value).split()[0].lower() if str(value).split() else ""
        if name not in (*SILENT_DEVICES, *SCREEN_DEVICES):
            raise XspecError(
                f"Plot.device = {value!r} is refused: the engine draws nothing. Use '/null' and matplotlib with "
                "Plot.x(), Plot.y(), Plot.model(); or write a QDP file with Plot.addCommand('wdata name')."
            )
        if name in SCREEN_DEVICES:
            log.warning("Plot.device = %r: the embedded engine has no plotting window, nothing will be drawn", value)
        object.__setattr__(self, "_device", str(value).split()[0])

    @property
    def commands(self) -> tuple[str, ...]:
        """PLT commands run after each plot."""
        return tuple(self._commands)

    @commands.setter
    def commands(self, value: tuple[str, ...]) -> None:
        if not isinstance(value, tuple):
            raise XspecError("Error: Must set commands to a tuple of strings.")
        self._commands[:] = list(value)

    def addCommand(self, cmd: str) -> None:
        """Append a PLT command; ``wdata <file>`` writes the arrays at the next plot."""
        if not isinstance(cmd, str):
            raise XspecError("Error: Input argument must be a string.")
        self._commands.append(cmd)

    def delCommand(self, num: int) -> None:
        """Remove a command by number, from 1."""
        if not isinstance(num, int):
            raise XspecError("Error: Input argument must be an int")
        if not 1 <= num <= len(self._commands):
            raise XspecError("Error: Delete command number is out of range")
        del self._commands[num - 1]

    def setRebin(
        self,
        minSig: float | None = None,
        maxBins: int | None = None,
        groupNum: int | None = None,
        errType: str | None = None,
    ) -> None:
        """Combine channels in plots until `minSig` sigma or `maxBins` channels; see XSPEC's `setplot rebin`.

        Parameters
        ----------
        minSig, maxBins : float, int
            Significance to reach, and channels combined at most (defaults 0 and 1: none are).
        groupNum : int
            Plot group; negative for all.
        errType : {"quad", "sqrt", "poiss-1", "poiss-2", "poiss-3"}
        """
        old = self._last_rebin
        new = Rebin(
            old.min_sig if minSig is None else float(minSig),
            old.max_bins if maxBins is None else int(maxBins),
            old.group if groupNum is None else int(groupNum),
            old.error_type if errType is None else str(errType),
        )
        if new.error_type not in ERROR_TYPES:
            raise XspecError(f"Plot.setRebin: errType {errType!r} is unknown, use one of {', '.join(ERROR_TYPES)}.")
        if new.min_sig < 0 or new.max_bins < 1:
            raise XspecError(f"Plot.setRebin: minSig {new.min_sig:g} must be >= 0, maxBins {new.max_bins} >= 1.")
        if new.group < 0:
            self._rebin.clear()
        self._rebin[max(new.group, -1)] = new
        object.__setattr__(self, "_last_rebin", new)

    def setGroup(self, groupStr: str | None) -> None:
        """Only None: every spectrum is its own plot group in the embedded engine."""
        if groupStr is not None:
            raise XspecError(f"Plot.setGroup({groupStr!r}) is not in the embedded engine: each spectrum is its own "
                             "plot group. Plot them one by one, x(1), x(2), ...")  # fmt: skip

    def setID(self, *args: Any, **kwargs: Any) -> None:
        """Refused: line lists need XSPEC's atomic data."""
        raise XspecError("Plot.setID is not in the embedded engine: it has no line list. With HEASoft use real XSPEC.")

    def noID(self) -> None:
        """Line identifications are never on."""

    def iplot(self, *panes: str) -> None:
        """Refused: there is no interactive PLT."""
        raise XspecError("Plot.iplot is not in the embedded engine, which has no interactive PLT: "
                         "call Plot(...) and draw the arrays with matplotlib.")  # fmt: skip

    def show(self) -> None:
        """Print the settings."""
        report("\n".join([
            f"x axis: {self.xAxis}; add: {self.add}; background: {self.background}; device: {self.device}",
            f"rebin: minimum significance {self._last_rebin.min_sig:g}, at most {self._last_rebin.max_bins} channels",
            "User entered plot commands:",
            *(f"{i}: {command}" for i, command in enumerate(self._commands, start=1)),
        ]))  # fmt: skip

    # -- the last plot

    def _run_commands(self) -> None:
        for command in self._commands:
            words = command.split(None, 1)
            if words and len(words[0]) >= 2 and "wdata".startswith(words[0].lower()):
                if len(words) == 1:
                    raise XspecError(f"Plot command {command!r}: wdata needs a file name.")
                path = re.match(r'\s*(?:"([^"]*)"|(\S+))', words[1])
                assert path is not None
                write_qdp(path[1] or path[2], [group.table() for pane in self._panes for group in pane])
            else:
                log.debug("PLT command %r has no effect in the embedded engine", command)

    def _group(self, group: int, window: int) -> PlotArrays:
        for value, name in ((group, "plotGroup"), (window, "plotWindow")):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise XspecError(f"Error: {name} number must be an int >= 1")
        if window > len(self._panes) or group > len(self._panes[window - 1]):
            raise XspecError(f"Error: Unable to retrieve requested plot array: plot group {group} in window {window} "
                             "is not there. Call Plot(...) first.")  # fmt: skip
        return self._panes[window - 1][group - 1]

    def _array(self, group: int, window: int, get: Callable[[PlotArrays], np.ndarray | None]) -> list[float]:
        values = get(self._group(group, window))
        if values is None:
            raise XspecError(f"Error: Unable to retrieve requested plot array: it does not exist in a "
                             f"{self._kinds[window - 1]!r} plot.")  # fmt: skip
        return values.tolist()


Plot = PlotManager()
"""The one plot object."""
