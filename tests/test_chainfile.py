"""XSPEC's CHAIN FITS: the layout that XSPEC demands, and a chain that goes there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from xspec_sixsa.result.chainfile import read_chain, write_chain

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["nH__1", "PhoIndex__5", "norm__bkg__3"]
UNITS = ["10^22", "", ""]


def draws(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, 3)), 100 + rng.chisquare(3, n)


def test_chain_goes_there_and_back(tmp_path: Path) -> None:
    samples, statistic = draws()
    chain = read_chain(write_chain(tmp_path / "chain.fits", NAMES, UNITS, samples, statistic, history=["ESS 1000"]))
    assert chain.names == NAMES
    assert chain.units == UNITS
    assert np.array_equal(chain.samples, samples)
    assert np.array_equal(chain.statistic, statistic)
    assert "ESS 1000" in str(chain.header["HISTORY"])


def test_layout_is_what_xspec_demands(tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.fits", NAMES, UNITS, *draws())
    with fits.open(tmp_path / "chain.fits") as hdus:
        assert len(hdus) == 2 and hdus[0].data is None
        header = hdus[1].header
    assert header["EXTNAME"] == "CHAIN" and header["TFIELDS"] == 4
    assert [header[f"TTYPE{i}"] for i in range(1, 5)] == [*NAMES, "FIT_STATISTIC"]
    assert {header[f"TFORM{i}"] for i in range(1, 5)} == {"D"}
    assert header["TUNIT1"] == "10^22" and "TUNIT2" not in header
    assert header["CHAINTYP"] == "GoodmanWeare"
    # XSPEC appends whole, even sets of walkers, at least twice as many as there are parameters.
    assert header["NWALKERS"] == 6 and 120 % 6 == 0


def test_metropolis_hastings_has_its_temperature(tmp_path: Path) -> None:
    write_chain(tmp_path / "chain.fits", NAMES, UNITS, *draws(), chain_type="MetropolisHastings")
    header = read_chain(tmp_path / "chain.fits").header
    assert header["TEMPR001"] == 1.0 and header["STROW001"] == 1 and "NWALKERS" not in header


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["nH", "PhoIndex__5", "norm__bkg__3"]}, "not a chain name"),
        ({"names": ["nH__1", "nH__1", "norm__bkg__3"]}, "comes twice"),
        ({"units": ["10^22"]}, "1 units"),
        ({"samples": np.full((120, 3), np.nan)}, "not finite"),
        ({"statistic": np.ones(3)}, "as many"),
        ({"chain_type": "nested"}, "unknown to XSPEC"),
    ],
)
def test_a_chain_that_xspec_could_not_use_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    samples, statistic = draws()
    arguments = {"names": NAMES, "units": UNITS, "samples": samples, "statistic": statistic} | change
    with pytest.raises(ValueError, match=message):
        write_chain(tmp_path / "chain.fits", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_chains_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.fits"):
        read_chain(tmp_path / "nothing.fits")
    (tmp_path / "text.fits").write_text("not FITS")
    with pytest.raises(ValueError, match="cannot be read as FITS"):
        read_chain(tmp_path / "text.fits")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="no CHAIN table"):
        read_chain(tmp_path / "empty.fits")


def test_results_chain_has_the_posteriors_mean_and_each_rows_own_statistic(tmp_path: Path) -> None:
    from test_result import MEAN, SD, gaussian_result

    result = gaussian_result(20000)
    chain = read_chain(result.save_chain(tmp_path / "chain.fits"))
    rows = len(chain.samples)
    assert 2 * result.ess <= rows < 2 * result.ess + 6
    assert np.abs((chain.samples.mean(axis=0) - MEAN) / SD).max() < 5 / np.sqrt(result.ess)  # 5 standard errors
    assert chain.statistic == pytest.approx(np.sum(((chain.samples - MEAN) / SD) ** 2, axis=1))
    assert "effective sample size" in str(chain.header["HISTORY"])


IN_XSPEC = """
import json, sys
import numpy as np
import xspec
from xspec_sixsa.result.chainfile import read_chain, write_chain

xspec.Xset.allowPrompting = False
xspec.Xset.abund, xspec.Xset.xsect = "wilm", "vern"
spectrum = xspec.Spectrum("PN_spectrum_grp20.fits")
spectrum.background = None
spectrum.ignore("0.0-0.5 10.0-**")
xspec.Fit.statMethod = "cstat"
model = xspec.Model("TBabs*(bbodyrad+powerlaw)", setPars=(0.096, 0.744, 0.1956, 2.03, 2.618e-4))
xspec.Fit.perform()
parameters = [model(i) for i in range(1, 6)]
names = [f"{p.name}__{i}" for i, p in enumerate(parameters, 1)]
units = [p.unit for p in parameters]
best = np.array([p.values[0] for p in parameters])
lower = np.array(xspec.Fit.covariance)
covariance = np.zeros((5, 5))
covariance[np.tril_indices(5)] = lower
covariance = covariance + covariance.T - np.diag(np.diag(covariance))
draws = np.random.default_rng(0).multivariate_normal(best, covariance, 700)
draws = draws[(draws[:, 0] > 0) & (draws[:, 2] > 0)][:600]
statistic = []
for row in draws:
    model.setPars(*row.tolist())
    statistic.append(xspec.Fit.statistic)
model.setPars(*best.tolist())
xspec.Fit.perform()
write_chain(sys.argv[1], names, units, draws, statistic)
xspec.AllChains += sys.argv[1]
xspec.Fit.error("1-5")
errors = [list(p.error) for p in parameters]
xspec.AllModels.calcFlux("2. 10. err 200 90")
flux = list(spectrum.flux[:3])
xspec.AllChains.show()
# XSPEC's own chain of the same session, read back by us.
xspec.AllChains.clear()
own = xspec.Chain(sys.argv[2], fileType="fits", burn=0, runLength=40, algorithm="gw", walkers=20)
theirs = read_chain(sys.argv[2])
print("RESULT", json.dumps({
    "draws": draws.tolist(), "errors": errors, "flux": flux, "units": units, "names": names,
    "theirs": {"names": theirs.names, "units": theirs.units, "header": {k: str(v) for k, v in theirs.header.items()}},
}))
"""


@pytest.mark.xspec
def test_real_xspec_uses_the_chain_for_its_errors_and_fluxes(tmp_path: Path, shared_data: Path) -> None:
    script = tmp_path / "in_xspec.py"
    script.write_text(IN_XSPEC)
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "chain.fits"), str(tmp_path / "own.fits")],
        cwd=shared_data / "ngc7793_ulx4_pn",
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert "Errors calculated from chains" in run.stdout
    result = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("RESULT"))[7:])
    values = np.array(result["draws"])
    for i in range(5):
        low, high, _ = result["errors"][i]
        # XSPEC takes the 5th and 95th percentiles of the 600 rows; one row more or less is all the freedom there is.
        ranked = np.sort(values[:, i])
        assert ranked[28] <= low <= ranked[32] and ranked[567] <= high <= ranked[571], result["names"][i]
    mid, low, high = result["flux"]
    assert low < mid < high
    # Names, units and keywords are those that XSPEC writes itself for this session.
    assert result["theirs"]["names"] == result["names"]
    assert result["theirs"]["units"] == result["units"]
    assert result["theirs"]["header"]["CHAINTYP"] == "GoodmanWeare"
