"""XSPEC uses the chain, not just loads it: its own commands, straight after the run, agree with the posterior."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from live import chain_in_xspec, fresh, importance_result

from xspec_sixsa.result import Result
from xspec_sixsa.result.chainfile import read_chain
from xspec_sixsa.session import Session

pytestmark = pytest.mark.xspec

SIGMAS = 5.0  # of the sampling error: one failure in a million comparisons
DRAWS = 500


def plain(xspec: ModuleType, name: str = "") -> None:
    xspec.AllData("two.pha")
    model = xspec.Model("TBabs*(powerlaw+gaussian)", name, 1)
    model.setPars({1: 0.2, 2: 2.0, 3: 1e-2, 4: 2.1, 5: 0.1, 6: 1e-3})
    model(4).frozen = model(5).frozen = True


def named(xspec: ModuleType) -> None:
    plain(xspec, "src")


def groups(xspec: ModuleType) -> None:
    """Two data groups, W-statistic and chi, a link with an expression, frozen parameters, a free constant."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    model = xspec.Model("constant*TBabs*(powerlaw+gaussian)")
    model.setPars({1: 1.0, 2: 0.2, 3: 2.0, 4: 1e-2, 5: 2.1, 6: 0.1, 7: 1e-3})
    model(1).frozen = model(5).frozen = model(6).frozen = True
    model(7).link = "p4*0.1"
    factor = xspec.AllModels(2)(1)
    factor.link = ""
    factor.frozen = False
    xspec.Fit.statMethod = "chi 2"


def sources(xspec: ModuleType) -> None:
    xspec.AllData("two.pha")
    spectrum = xspec.AllData(1)
    spectrum.multiresponse[1] = "small.rmf"
    spectrum.multiresponse[1].arf = "small.arf"
    xspec.Model("TBabs*powerlaw").setPars({1: 0.2, 2: 2.5, 3: 1e-2})
    second = xspec.Model("powerlaw", "bkg", 2)
    second.setPars({1: 0.3, 2: 5e-4})
    second(1).frozen = True


def wstat_statistic(xspec: ModuleType) -> None:
    xspec.AllData("one.pha")
    xspec.Model("TBabs*powerlaw").setPars({1: 0.2, 2: 2.0, 3: 1e-2})


# what to set up, and the eqwidth command's component there
CASES = {"plain": (plain, 3), "named": (named, "src:3"), "groups": (groups, 4), "sources": (sources, None),
         "wstat": (wstat_statistic, None)}  # fmt: skip


@pytest.fixture(params=CASES)
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    live = fresh("xspec", tmp_path)
    xspec = next(live)
    setup, line = CASES[request.param]
    setup(xspec)
    session = Session(xspec, workers=2)
    result = importance_result(session)
    path = tmp_path / "chain.fits"
    chain_in_xspec(session, result, path)
    yield xspec, session, result, path, line
    xspec.Xset.chatter = 0
    for _ in live:
        pass


def number(parameter: Any) -> str:
    return f"{parameter.model}:{parameter.global_index}" if parameter.model else str(parameter.global_index)


def quantile_error(result: Result, n: float) -> np.ndarray:
    """Standard error of a 5 % quantile from n draws of a normal: sqrt(0.05 0.95 / n) / density there (0.103 / sd)."""
    return 2.11 / np.sqrt(n) * result.sd


def test_xspecs_commands_use_the_posterior(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    xspec, session, result, path, line = run
    chain = read_chain(path)
    statistic = xspec.Fit.statistic
    assert statistic <= result.best_statistic + 1e-6  # XSPEC's rounding of its own fit
    xspec.Xset.chatter = 10
    capfd.readouterr()

    # error
    tolerance = SIGMAS * quantile_error(result, min(len(chain.samples), result.ess))
    for k, parameter in enumerate(session.parameters):
        xspec.Fit.error(f"2.706 {number(parameter)}")  # XSPEC's default, or what it was last told
        assert "Errors calculated from chains" in capfd.readouterr().out
        found = xspec.AllModels(parameter.group, parameter.model)(parameter.index).error[:2]
        assert found == pytest.approx(result.interval(0.9)[k], abs=tolerance[k])

        # chain stat
        xspec.AllChains.stat(number(parameter))
        mean = float(re.search(r"Means in chains :\s+(\S+)", capfd.readouterr().out)[1])
        assert mean == pytest.approx(chain.samples[:, k].mean(), rel=1e-6)  # printed with 8 digits

    # margin
    low, high = result.interval(0.98)[0]
    command(xspec, "margin", number(session.parameters[0]), f"{low:.15g}", f"{high:.15g}", "4")
    lines = re.findall(r"^\s+(\S+)\s+(0\.\d+)\s+(\S+)$", capfd.readouterr().out, re.MULTILINE)
    shares = np.array([float(fields[1]) for fields in lines])
    inside = np.histogram(result.samples[:, 0], np.linspace(low, high, 5), weights=result.weights)[0]
    error = np.sqrt(inside * (1 - inside) * (1 / len(chain.samples) + 1 / result.ess))
    np.testing.assert_array_less(np.abs(shares - inside), SIGMAS * error)

    # flux ... err and eqwidth ... err
    xspec.AllModels.calcFlux(f"2. 7. err {DRAWS} 90")
    assert "derived from loaded chain files" in capfd.readouterr().out
    energy_flux = np.array(xspec.AllData(1).flux[:3])
    width = None
    if line is not None:
        xspec.AllModels.eqwidth(line, err=True, number=DRAWS, level=90)
        assert "derived from loaded chain files" in capfd.readouterr().out
        width = np.array(xspec.AllData(1).eqwidth)

    # plot chain
    xspec.Plot.device = "/null"
    xspec.Plot("chain " + " ".join(number(p) for p in session.parameters[:2]))
    np.testing.assert_allclose(xspec.Plot.x(), chain.samples[:, 0], rtol=1e-6)  # plotted in single precision
    np.testing.assert_allclose(xspec.Plot.y(), chain.samples[:, 1], rtol=1e-6)
    xspec.Xset.chatter = 0

    # none of these needed or made another fit
    assert xspec.Fit.statistic == statistic

    # now that all is read: the same quantities at draws of the posterior, set one by one
    fluxes, widths = [], []
    with session:
        for theta in result.resample(DRAWS, np.random.default_rng(2)):
            session._evaluator.set(theta)
            xspec.AllModels.calcFlux("2. 7.")
            fluxes.append(xspec.AllData(1).flux[0])
            if line is not None:
                xspec.AllModels.eqwidth(line)
                widths.append(xspec.AllData(1).eqwidth[0])
    agrees(energy_flux, fluxes)
    if line is not None:
        agrees(width, widths)


def agrees(found: np.ndarray, draws: list[float]) -> None:
    """XSPEC's value and 90 % interval against ours from as many draws."""
    low, high = np.quantile(draws, [0.05, 0.95])
    # both ends from DRAWS draws each: the error of a quantile twice, on a distribution that is near normal
    tolerance = SIGMAS * 2.11 * np.sqrt(2 / DRAWS) * (high - low) / 3.29
    assert found[1:] == pytest.approx((low, high), abs=tolerance)
    assert low <= found[0] <= high


def test_the_file_can_be_loaded_again(run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    xspec, session, _result, path, _ = run
    xspec.AllChains.clear()
    xspec.Xset.chatter = 10
    xspec.AllChains += str(path)
    capfd.readouterr()
    xspec.Fit.error(number(session.parameters[-1]))
    assert "Errors calculated from chains" in capfd.readouterr().out
    chain = xspec.AllChains(1)
    assert chain.totalLength == len(read_chain(path).samples)


def command(xspec: ModuleType, *words: str) -> None:
    """A command of XSPEC that PyXspec 2.0 has no method for."""
    xspec._pyXspec.doXspecCmd(list(words))
