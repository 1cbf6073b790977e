"""The benchmarks' own arithmetic, and that their problems can be set up; the measuring itself is theirs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_session import fresh
from weighted import load_powerlaw, weighted_result

from xspec_sixsa.compare import Posterior
from xspec_sixsa.session import Session

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize(("channels", "parameters"), [(100, 2), (300, 12), (3000, 5)])
def test_a_scaling_point_has_its_counts_channels_and_parameters(
    script: Any, tmp_path: Path, channels: int, parameters: int
) -> None:
    from xspec_sixsa import embedded

    fresh(embedded)
    priors = script("scaling").set_up(tmp_path, 1e4, channels, parameters)
    session = Session(embedded, workers=1)
    assert session.n_free == len(priors) == parameters
    assert session.observation.counts.size == channels
    assert session.observation.counts.sum() == pytest.approx(1e4, abs=400)  # four standard deviations
    fresh(embedded)


def test_a_stopped_nested_sampler_is_extrapolated(script: Any, tmp_path: Path) -> None:
    from xspec_sixsa import embedded

    load_powerlaw(embedded, tmp_path)
    result = weighted_result(embedded)
    stopped = Posterior.unfinished("bxa", 2, evaluations=600, seconds_model=2.0, seconds_other=1.0, iterations=400,
                                   settings={"live": 100})  # fmt: skip
    found = script("compare").extrapolate(stopped, result)
    # of a two-dimensional Gaussian posterior the part above a likelihood L has the prior volume Z/Lmax ln(Lmax/L) and
    # the share 1 - L/Lmax; the 1 % of our draws are 23 effective ones, so ln X has an error of 0.2 of 12.8
    volume = result.log_z + result.best_statistic / 2 + np.log(-np.log(0.99))
    assert found["iterations"] == pytest.approx(-100 * volume, rel=0.05)
    assert found["evaluations"] == pytest.approx(600 * found["iterations"] / 400)
    assert found["ess"] == pytest.approx(
        400, rel=0.05
    )  # ln X is that of an exponential number: density E[x e^-x] = 1/4
    fresh(embedded)


def test_the_report_is_written_from_the_json(script: Any, tmp_path: Path) -> None:
    from click.testing import CliRunner

    run = {"method": "nautilus", "finished": True, "evaluations": 14500, "ess": 10000.0, "seconds_model": 2.0,
           "seconds_other": 12.0, "peak_memory": 400.0, "log_z": -27.3, "log_z_err": 0.01, "delta_log_z": 0.02,
           "delta_log_z_err": 0.03, "worst_divergence": {"name": "nH__1", "value": 0.003, "limit": 0.01}}  # fmt: skip
    ours = run | {"method": "sixsa", "evaluations": 2000, "ess": 1000.0, "status": "reliable", "reasons": []}
    report = {
        "problem": "epic_pn", "options": {"engine": "xspec", "seed": 1},
        "machine": {"cores": 2, "processor": "p", "load": 0.0, "versions": {"numpy": "2"}},
        "runs": {"sixsa": ours, "nautilus": run},
        "comparison": {"methods": [{"method": "nautilus", "finished": True, "agreement": "agrees", "why": []}]},
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(report))
    ended = CliRunner().invoke(script("report").main, [str(tmp_path / "a.json"), "--output", str(tmp_path / "b.md")])
    assert ended.exit_code == 0, ended.output
    text = (tmp_path / "b.md").read_text()
    assert "| nautilus | 14,500 | 10,000 | 1,450 | 2.0 | 12.0 | 400 | -27.300 +- 0.010 | +0.020 +- 0.030 |" in text
    assert "for an effective sample: 0.72 times our evaluations" in text
    # the part that is kept in words stands in both
    kept = (BENCHMARKS / "networks.md").read_text()
    assert kept in text and kept in (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text()


def test_a_busy_machine_is_set_beside_an_idle_one(script: Any) -> None:
    run = {"engine": "embedded", "evaluations": 1271, "seconds": 12.0, "cpu": 11.5, "waits": 50, "preempted": 700}
    best = {"idle": run, "one core": run | {"seconds": 15.0}, "one busy core": run | {"seconds": 30.0}}
    text = script("report").busy([{"problem": "epic_pn", "cores": 2, "best": best}])
    assert "| embedded | idle | 12.0 |  | 11.5 | 50 | 700 | 1,271 |" in text
    assert "| one core | 15.0 | 1.25 x idle |" in text and "| one busy core | 30.0 | 2.00 x one core |" in text


def test_seeds_stand_beside_the_evidence_of_nautilus(script: Any) -> None:
    runs = [{"total": total, "ess": 1000.0, "log_z": log_z, "log_z_err": 0.01, "outside": outside, "status": "reliable",
             "load": load}
            for total, log_z, outside, load in
            ((1230, -66.60, 5.0, 0.2), (1250, -66.65, 120.0, 2.0), (1240, -66.62, 3.0, 9.0))]  # fmt: skip
    nested = {"log_z": -66.61, "log_z_err": 0.01, "evaluations": 67500.0}
    text = script("report").seeds_table([{"epic_pn": {"engine": "xspec", "runs": runs, "nautilus": nested}}])
    assert "| 1,240 (1,250) / 1,350 (1,350) |" in text
    assert "| -66.610 +- 0.010 | 67,500 | -0.040 / 0.050 | 5 / 6 |" in text
    assert text.endswith("|\n")  # no goal is missed
    assert "| 1000 1000 1000 | -66.600 +- 0.010, -66.650 +- 0.010, -66.620 +- 0.010 |" in text
    many = script("report").seeds_table([{"epic_pn": {"engine": "xspec", "runs": 4 * runs}}])
    assert "- epic_pn, embedded: evidence was not measured" not in many
    assert "- epic_pn, XSPEC: evidence was not measured beside its goal of 0.05." in many
    costly = [runs[0] | {"total": 3700, "log_z": -66.50, "status": "unreliable"}]
    missed = script("report").seeds_table([{"epic_pn": {"engine": "xspec", "runs": costly, "nautilus": nested}}])
    assert "1 of 1 runs are unreliable" in missed and "in evaluations, 1,350 (1,350)" in missed
    assert "MISSES its goal in evidence, 0.05: 0.11" in missed
    assert "| 1000-1000 | mean -66.6233, scatter 0.0215 where errors say 0.0100 |" in many


def test_a_shifted_gain_moves_what_is_recorded_and_leaves_the_mirror(script: Any, tmp_path: Path) -> None:
    from small_session import write_response

    from xspec_sixsa.embedded.ogip import read_arf, read_rmf

    write_response(tmp_path)
    rmf, arf = read_rmf(str(tmp_path / "small.rmf")), read_arf(str(tmp_path / "small.arf"))
    moved, area = script("wrong_runs").shifted(rmf, arf, 1.03)
    energy, nominal = 0.5 * (moved.energy_lo + moved.energy_hi), 0.5 * (rmf.energy_lo + rmf.energy_hi)
    # a photon of this energy is recorded as one of 1.03 times it, in channels that keep their energies
    np.testing.assert_allclose(1.03 * energy, nominal, rtol=1e-12)
    np.testing.assert_array_equal(moved.matrix.toarray(), rmf.matrix.toarray())
    np.testing.assert_array_equal(moved.e_min, rmf.e_min)
    inside = energy > nominal[0]
    true = 400.0 * np.exp(-(((energy - 1.5) / 4) ** 2))  # small_session's area
    # linear between bins of 0.3 keV at 11 keV, where the area's second derivative is 1.3 of it: h^2/8 of that
    np.testing.assert_allclose(area.area[inside], true[inside], rtol=0.015)


def test_the_table_of_wrong_runs_counts_what_complained(script: Any) -> None:
    wrong = script("wrong_runs")
    common = {"shift": 1.0, "mass": 0.5, "sigma": 0.1}
    runs = [
        {"kind": "control", **common, "line_p": 0.4},
        *({"kind": "line", **common, "line_p": p, "mass": m} for p, m in ((0.001, 0.999), (0.002, 0.2), (0.3, 0.1))),
    ]
    rows = {line.split(" | ")[0].strip("| "): line for line in wrong.table(runs).splitlines()}
    assert rows["line search p"] == "| line search p | 0 of 1 (0.4) | **2 of 3 (0.002)** |"
    assert rows["C-stat against expectation, sigma"].count("0 of") == 2
    assert "prior's edge: posterior within 2 % of it" not in rows  # nobody asked it
    assert rows["*truth outside the joint 99 % region*"].endswith("| 0 of 1 | 1 of 3 |")


def test_a_mode_is_told_by_the_order_of_the_parameters_that_trade_places(script: Any) -> None:
    theta = np.array([[1.0, 2.0, 9.0], [3.0, 2.0, 0.0], [1.0, 4.0, 5.0]])
    share = script("check").share
    assert share("two_modes", ["kT__1", "kT__7", "norm__6"], theta, np.array([1.0, 3.0, 1.0])) == 0.4
    assert share("epic_pn", ["kT__1"], theta, np.ones(3)) is None
