"""Everything a session of real XSPEC can hold is simulated and scored as a hand-written loop would."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from live import QUICK, fresh, state

import xspec_sixsa as sixsa
from xspec_sixsa.priors import bind
from xspec_sixsa.session import Session

pytestmark = pytest.mark.xspec

# the same numbers through the same XSPEC, in a worker and here; values travel as text that round-trips
SAME = 1e-10
LOCAL_MODEL = {
    "lmodel.dat": 'sixpow  1  0.  1.e20  c_sixpow  add  0\nindex  " "  1.5  -3. -2. 9. 10. 0.01\n\n',
    "sixpow.cxx": """#include <cmath>
extern "C" void sixpow(const double* energy, int n, const double* p, int, double* flux, double*, const char*)
{
  for (int i = 0; i < n; ++i)
    flux[i] = std::pow(0.5 * (energy[i] + energy[i + 1]), -p[0]) * (energy[i + 1] - energy[i]);
}
""",
}


@pytest.fixture
def xspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.chdir(tmp_path)
    live = fresh("xspec", tmp_path)
    module = next(live)
    module.AllModels.systematic = 0.0
    yield module
    # while a model in Python is loaded, XSPEC 12.9.1 dies of this
    module.AllModels.clear()
    module.AllModels.setEnergies("reset")
    module.AllModels.systematic = 0.0
    for _ in live:
        pass


def power_law(xspec: ModuleType, data: str = "two.pha") -> None:
    xspec.AllData(data)
    xspec.Model("TBabs*powerlaw").setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})


def wstat(xspec: ModuleType) -> None:
    power_law(xspec, "one.pha")


def pstat(xspec: ModuleType) -> None:
    xspec.Fit.statMethod = "pstat"
    power_law(xspec)


def pgstat(xspec: ModuleType) -> None:
    xspec.Fit.statMethod = "pgstat"
    power_law(xspec, "one.pha")


def mixed_statistics(xspec: ModuleType) -> None:
    """W-statistic, chi with a background and C-statistic, side by side; a constant between the groups."""
    xspec.AllData("1:1 one.pha 2:2 one.pha 2:3 two.pha")
    xspec.Fit.statMethod = "chi 2"
    xspec.Model("constant*TBabs*powerlaw").setPars({1: 1.0, 2: 0.3, 3: 2.0, 4: 1.2e-2})
    xspec.AllModels(1)(1).frozen = True
    factor = xspec.AllModels(2)(1)
    factor.link = ""
    factor.values = (0.9, 0.01, 0.3, 0.3, 3.0, 3.0)


def two_sources(xspec: ModuleType) -> None:
    """A second source with a response of its own, in one of two spectra."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    spectrum = xspec.AllData(2)
    spectrum.multiresponse[1] = "small.rmf"
    xspec.Model("TBabs*powerlaw").setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})
    xspec.Model("powerlaw", "bkg", 2).setPars({1: 0.3, 2: 1e-2})


def model_systematic(xspec: ModuleType) -> None:
    xspec.Fit.statMethod = "chi"
    power_law(xspec)
    xspec.AllModels.systematic = 0.1


def energies_extended(xspec: ModuleType) -> None:
    """Through a convolution, which needs the model beyond the response."""
    xspec.AllData("two.pha")
    xspec.AllModels.setEnergies("extend", "high,50.,100 log")
    xspec.Model("TBabs*cflux*powerlaw").setPars({1: 0.3, 2: 10.0, 3: 40.0, 4: -9.0, 5: 2.0})
    xspec.AllModels(1)(6).frozen = True


def table_model(xspec: ModuleType) -> None:
    path = Path(__file__).parent / "data" / "make_tablemodels_xspec.py"
    spec = importlib.util.spec_from_file_location("make_tablemodels_xspec", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    case = next(name for name, (kind, *_) in maker.CASES.items() if kind == "atable")
    maker.write_table(case, Path("table.fits"))
    xspec.AllData("two.pha")
    model = xspec.Model("TBabs*atable{table.fits}")
    model.TBabs.nH = 0.3


def line(energies: Any, parameters: Any, flux: Any) -> None:
    """PyXspec keeps no reference to a model in Python: it must live as long as XSPEC."""
    edges = np.asarray(energies)
    flux[:] = list(np.exp(-parameters[0] * edges[:-1]) * np.diff(edges))


def python_model(xspec: ModuleType) -> None:
    xspec.AllModels.addPyMod(line, ('rate "" 0.5 0.01 0.02 5. 10. 0.01',), "add")
    xspec.AllData("two.pha")
    xspec.Model("TBabs*line").setPars({1: 0.3, 2: 0.5, 3: 1e-2})


def local_model(xspec: ModuleType) -> None:
    """Compiled and loaded here (initpackage, lmod); forked workers have it from us."""
    if shutil.which("hmake") is None or shutil.which("g++") is None:
        pytest.skip("no compiler: local models cannot be built")
    folder = Path("local").absolute()
    folder.mkdir()
    for name, text in LOCAL_MODEL.items():
        (folder / name).write_text(text)
    xspec.AllModels.initpackage("sixlocal", "lmodel.dat", dirPath=str(folder))
    if not (folder / "libsixlocal.so").exists():
        pytest.skip("initpackage built nothing: this HEASoft cannot compile")
    xspec.AllModels.lmod("sixlocal", dirPath=str(folder))
    xspec.AllData("two.pha")
    xspec.Model("TBabs*sixpow").setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})


def gain(xspec: ModuleType) -> None:
    """Free slope and offset in one spectrum, the offset alone in the other."""
    xspec.AllData("1:1 one.pha 2:2 two.pha")
    xspec.Model("TBabs*powerlaw").setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})
    for index in (1, 2):
        found = xspec.AllData(index).response.gain
        found.slope = "1.01, 0.01, 0.9, 0.9, 1.1, 1.1"
        found.offset = "0.01, 0.01, -0.1, -0.1, 0.1, 0.1"
    xspec.AllData(1).response.gain.slope.frozen = True


SESSIONS: dict[str, Callable[[ModuleType], None]] = {
    f.__name__: f
    for f in (power_law, wstat, pstat, pgstat, mixed_statistics, two_sources, model_systematic, energies_extended,
              table_model, python_model, local_model, gain)
}  # fmt: skip


def set_by_hand(xspec: ModuleType, session: Session, theta: np.ndarray) -> None:
    """What a user would type: one parameter at a time."""
    for p, value in zip(session.parameters, theta, strict=True):
        if p.response is not None:
            response = xspec.AllData(p.response[0]).multiresponse[p.response[1] - 1]
            setattr(response.gain, p.name, float(value))
        else:
            xspec.AllModels(p.group, p.model)(p.index).values = float(value)


@pytest.mark.parametrize("name", SESSIONS)
def test_workers_give_what_a_loop_by_hand_gives(xspec: ModuleType, name: str) -> None:
    SESSIONS[name](xspec)
    before = state(xspec)
    session = Session(xspec, workers=2)
    start = np.array([p.values[0] for p in session.parameters])
    theta = start * (1 + 0.02 * np.random.default_rng(4).standard_normal((6, session.n_free)))
    found = session.evaluate(theta, "test")
    assert found.ok.all(), found.reasons
    assert state(xspec) == before
    for row, counts, statistic in zip(theta, found.counts, found.statistic, strict=True):
        set_by_hand(xspec, session, row)
        assert xspec.Fit.statistic == pytest.approx(statistic, rel=SAME)
        whole = []
        for data in session.observation.spectra:
            rate = 0.0
            for source, model in sorted(xspec.AllModels.sources.items()):
                if source == 1 or data.index == 2:
                    rate = rate + np.array(xspec.AllModels(data.data_group, model).folded(data.index))
            whole.append(rate * xspec.AllData(data.index).exposure)
        np.testing.assert_allclose(counts, np.concatenate(whole), rtol=SAME)


def test_free_gain_is_in_the_result_and_its_chain_withheld(xspec: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    xspec.AllData("two.pha")
    model = xspec.Model("TBabs*powerlaw")
    model.setPars({1: 0.3, 2: 2.0, 3: 1.2e-2})
    model(1).frozen = True
    found = xspec.AllData(1).response.gain
    found.slope = "1.0, 0.01, 0.8, 0.8, 1.2, 1.2"
    found.offset.frozen = True
    priors = [
        sixsa.uniform(model(2), 1.0, 3.0),
        sixsa.loguniform(model(3), 3e-3, 3e-2),
        sixsa.uniform(found.slope, 0.9, 1.1),
    ]
    session = Session(xspec)
    assert list(bind(priors, session).names) == ["PhoIndex__2", "norm__3", "slope__gain__1"]
    options = {"target_ess": 50, "budget": 900, "seed": 1, "compressor": "none", "settings": QUICK | {"attempts": 1}}
    result = sixsa.fit(priors, xspec=xspec, output="run", **options)
    assert result.labels[2] == "gain slope (spectrum 1)"
    assert "XSPEC refuses chains" in caplog.text
    assert not Path("run/chain.fits").exists()
    assert Path("run/posterior.npz").exists()
    # the native fit has found the gain as well
    assert xspec.AllData(1).response.gain.slope.values[0] == pytest.approx(result.best_fit[2])


def test_gain_is_found_named_and_fitted(xspec: ModuleType) -> None:
    gain(xspec)
    session = Session(xspec, workers=2)
    assert session.names[-3:] == ["offset__gain__2", "slope__gain__3", "offset__gain__4"]
    assert session.find(xspec.AllData(2).response.gain.offset).chain_name == "offset__gain__4"
    with pytest.raises(ValueError, match="frozen"):
        session.find(xspec.AllData(1).response.gain.slope)
    start = xspec.Fit.statistic
    best, statistic = session.native_fit([p.values[0] for p in session.parameters])
    assert statistic < start
    present = [getattr(xspec.AllData(p.response[0]).response.gain, p.name).values[0] for p in session.parameters[-3:]]
    np.testing.assert_array_equal(best[-3:], present)
    xspec.AllData(1).response.gain.slope.frozen = False
    with pytest.raises(RuntimeError, match="slope__gain__1"):
        session.evaluate([best], "test")


def test_cross_sections_that_overflow_cost_a_worker_not_the_run(xspec: ModuleType) -> None:
    """TBabs of 12.9.1 keeps cross-sections for every energy it ever saw, and dies of 2^20 of them.

    A free redshift makes new energies at every evaluation: a worker that has seen nearly as many dies here soon.
    """
    if os.environ.get("SIXSA_LONG_TESTS") is None:
        pytest.skip("takes minutes: set SIXSA_LONG_TESTS")
    xspec.AllData("two.pha")
    model = xspec.Model("zTBabs*powerlaw")
    model.setPars({1: 0.3, 2: 0.1, 3: 2.0, 4: 1.2e-2})
    model.zTBabs.Redshift.frozen = False
    session = Session(xspec, workers=2)
    rng = np.random.default_rng(1)
    n = 16000  # of 151 energies, over two workers: 2^20 after 6,944 evaluations of each
    low, high = [0.1, 0.0, 1.0, 1e-3], [0.5, 5.0, 3.0, 1e-2]
    found = session.evaluate(rng.uniform(low, high, (n, 4)), "test")
    assert 0 < (~found.ok).sum() < 10
    assert all("SIGSEGV" in reason for reason in found.reasons if reason)
