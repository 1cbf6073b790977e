"""Comparison with BXA, nautilus and XSPEC's chain: on one small problem, all of them and ours are exact."""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from dataclasses import replace
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_session import fresh
from weighted import load_powerlaw, powerlaw_priors, weighted_result

import xspec_sixsa as sixsa
from xspec_sixsa.compare import CompareError, Posterior, compare_posteriors, read_finished
from xspec_sixsa.compare.chains import autocorrelation_time, split_r_hat
from xspec_sixsa.compare.child import in_child
from xspec_sixsa.compare.nested import bxa_on, quiet_ultranest, stopped_after, transformations
from xspec_sixsa.interfaces.cli import main
from xspec_sixsa.priors import bind
from xspec_sixsa.result import Result
from xspec_sixsa.result.chainfile import write_chain
from xspec_sixsa.result.notebook import GREEN, RED
from xspec_sixsa.session import Session


@pytest.fixture(params=["embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def xspec(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    module = importlib.import_module("xspec" if request.param == "xspec" else "xspec_sixsa.embedded")
    load_powerlaw(module, tmp_path)
    yield module
    fresh(module)


@pytest.fixture
def embedded(tmp_path: Path) -> Any:
    module = importlib.import_module("xspec_sixsa.embedded")
    load_powerlaw(module, tmp_path)
    yield module
    fresh(module)


STRIKE: dict[str, int] = {}
"""The process that gets Ctrl-C as soon as it has forked; such a hook of os cannot be taken out again."""


def strike() -> None:
    if STRIKE:
        os.kill(STRIKE.pop("pid"), signal.SIGINT)


os.register_at_fork(after_in_parent=strike)


def state(module: ModuleType) -> dict[str, Any]:
    model = module.AllModels(1)
    return {
        "parameters": [(model(i).values, model(i).prior) for i in (1, 2)],
        "settings": (module.Xset.chatter, module.Xset.allowPrompting, module.Fit.query, module.Fit.bayes),
        "statistic": module.Fit.statistic,
    }


@pytest.mark.slow
def test_all_methods_agree_and_the_session_stays(xspec: ModuleType) -> None:
    result = weighted_result(xspec)
    before, random = state(xspec), np.random.get_state()[1].copy()
    found = result.compare("bxa", "nautilus", "mcmc", xspec=xspec, live=200, length=40_000, progress=False)
    assert found.agree, str(found)
    assert state(xspec) == before
    np.testing.assert_array_equal(np.random.get_state()[1], random)
    bxa, nautilus, mcmc = (m.other for m in found.methods)
    for nested in (bxa, nautilus):
        # sigma of both; the numbers of a method that were not its own would be off by hundreds
        assert abs(nested.log_z - result.log_z) < 4 * np.hypot(nested.log_z_err, result.log_z_err)
    assert mcmc.log_z is None
    assert mcmc.evaluations >= 40_000 + 10_000 - 16  # lengths are cut to whole sets of 16 walkers
    assert bxa.evaluations > 1000 and nautilus.evaluations > 1000
    for other in (bxa, nautilus, mcmc):
        assert other.seconds_model > 0 and other.seconds_other >= 0


@pytest.mark.xspec
def test_metropolis_hastings_of_real_xspec_agrees(tmp_path: Path) -> None:
    import xspec

    load_powerlaw(xspec, tmp_path)
    found = weighted_result(xspec).compare("mh", xspec=xspec, length=40_000, progress=False)
    assert found.agree, str(found)
    fresh(xspec)


def test_a_prior_that_xspec_has_not_weights_its_chain(embedded: ModuleType) -> None:
    model = embedded.AllModels(1)
    # as narrow as the likelihood, so that leaving it out would shift the norm by a sigma
    priors = [sixsa.uniform((model, 1), -1.0, 3.0), sixsa.lognormal((model, 2), np.log(4.5e-3), 0.04)]
    result = weighted_result(embedded, priors)
    found = result.compare("mcmc", xspec=embedded, length=40_000, progress=False)
    assert found.agree, str(found)
    assert "weighted by a prior" in str(found)


@pytest.mark.slow
def test_a_missed_part_is_found_and_its_finder_believed(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    others = result.compare("nautilus", "mcmc", xspec=embedded, live=200, length=40_000, progress=False)
    half = np.where(result.samples[:, 0] < result.quantile(0.5)[0], result.log_weights, -np.inf)
    cut = replace(result, log_weights=half, log_likelihood=np.where(np.isfinite(half), result.log_likelihood, -np.inf))
    found = compare_posteriors(cut, [m.other for m in others.methods])
    assert not found.agree
    words = str(found)
    # about half; the bin that holds the cut is not empty
    assert re.search(r"ours is suspect: it has no draw where the other has [45]\d % of its posterior", words)
    assert "ours is suspect: XSPEC Goodman-Weare agrees with nautilus and not with ours" in words
    assert "XSPEC Goodman-Weare is suspect" not in words


def test_a_chain_that_did_not_converge_is_suspect(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    rng = np.random.default_rng(1)
    walk = result.mean + 3 * result.sd * np.cumsum(rng.normal(size=(400, 2)), axis=0) / 20
    chain = Posterior("mcmc", walk, np.ones(400), 8.0, r_hat=1.8, correlation=50.0, steps=400,
                      best_statistic=result.best_statistic)  # fmt: skip
    words = str(compare_posteriors(result, [chain]))
    assert "XSPEC Goodman-Weare is suspect: its chain has not converged: split R-hat 1.800" in words


def test_a_chain_that_missed_a_mode_is_suspect(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    rows = result.resample(4000, 1)
    half = rows[rows[:, 0] < np.median(rows[:, 0])]
    chain = Posterior("mcmc", half, np.ones(len(half)), 1000.0, r_hat=1.001, correlation=2.0, steps=2000,
                      best_statistic=result.best_statistic)  # fmt: skip
    words = str(compare_posteriors(result, [chain]))
    assert re.search(r"XSPEC Goodman-Weare is suspect: it has no draw where the other has [45]\d %", words)
    assert "a chain rarely leaves the mode it started in" in words
    assert "ours is suspect" not in words


def test_evidences_that_disagree_are_told_with_their_numbers(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    same = Posterior.of(result, "nautilus")
    assert "the evidences differ" not in str(compare_posteriors(result, [same]))
    other = replace(same, log_z=result.log_z - 1.25, log_z_err=0.3)
    error = np.hypot(0.3, result.log_z_err)
    assert 1.25 > 3 * error
    words = f"the evidences differ by 1.250, more than 3 times their error of {error:.3f}."
    found = compare_posteriors(result, [other])
    assert f"nautilus: {words}" in str(found) and words in found.methods[0].why


def test_a_notebook_shows_verdict_tables_and_reasons(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    same = Posterior.of(result, "nautilus")
    unknown = replace(same, method="<b>one", samples=same.samples + result.sd)
    agrees, differs = (compare_posteriors(result, others) for others in ([same], [same, unknown]))
    assert ">AGREE<" in agrees._repr_html_() and GREEN in agrees._repr_html_()
    page = differs._repr_html_()
    assert ">DO NOT ALL AGREE<" in page and RED in page and GREEN not in page
    assert "<b>" not in page and page.count("&lt;b&gt;one") >= 3  # verdict, cost, parameters
    words = [cell for line in str(differs).splitlines()[1:] for cell in re.split(r"  +", line.strip())]
    assert all(escape(word) in page for word in words if word.strip("-"))  # all that the text says
    assert page.count("<table") == page.count("</table>") == 3


def test_an_unreliable_run_is_suspect(embedded: ModuleType) -> None:
    result = weighted_result(embedded)
    shifted = replace(result, samples=result.samples + result.sd, status="unreliable", reasons=["k-hat 0.9 > 0.7"])
    other = Posterior.of(result, "nautilus")
    assert "ours is suspect: it is marked unreliable (k-hat 0.9 > 0.7)" in str(compare_posteriors(shifted, [other]))


def test_files_are_written_and_a_restored_session_is_the_same(embedded: ModuleType, tmp_path: Path) -> None:
    result = weighted_result(embedded)
    folder = tmp_path / "run"
    result.save(folder)
    Session(embedded, workers=1).save_xcm(folder / "session.xcm")
    fresh(embedded)
    found = Result.load(folder).compare("mcmc", xspec=embedded, restore=True, length=8000, progress=False)
    assert embedded.AllData.nSpectra == 0  # it was restored in the copy only
    written = json.loads((folder / "comparison.json").read_text())
    assert written["agree"] is found.agree is True
    entry = written["methods"][0]["parameters"]["PhoIndex__1"]
    assert 0 <= entry["divergence"] < entry["limit"]
    for name in ("compare_corner.png", "compare_corner.pdf", "comparison.npz"):
        assert (folder / name).stat().st_size > 1000


def _bxa_run(session: Session, prior: Any, folder: str) -> None:
    with session, bxa_on(session.module) as bxa, quiet_ultranest():
        solver = bxa.BXASolver(transformations=transformations(session, prior), outputfiles_basename=folder)
        np.random.seed(1)
        # plain log10 columns, as BXA's own helper makes and names them
        solver.set_paramnames(["PhoIndex", "log(norm)"])
        solver.run(n_live_points=100)


@pytest.mark.slow
def test_finished_runs_are_read(embedded: ModuleType, tmp_path: Path) -> None:
    result = weighted_result(embedded)
    session = Session(embedded, workers=1)
    in_child(_bxa_run, session, bind(powerlaw_priors(embedded), session), str(tmp_path / "bxa"))
    swapped = result.resample(2000, return_index=True)
    chain = write_chain(tmp_path / "chain.fits", result.names[::-1], ["", ""], result.samples[swapped][:, ::-1],
                        -2 * result.log_likelihood[swapped], walkers=4)  # fmt: skip
    found = result.compare(read=[tmp_path / "bxa", chain], xspec=embedded)
    assert found.agree, str(found)
    assert [m.other.method for m in found.methods] == ["bxa", "chain.fits"]
    assert found.methods[0].other.log_z == pytest.approx(result.log_z, abs=1.0)  # its error is 0.3
    zero = write_chain(tmp_path / "zero.fits", result.names, ["", ""], result.samples[swapped], np.zeros(2000))
    with pytest.raises(CompareError, match="BXA 5.1 writes such chains"):
        read_finished(zero, result.names)
    with pytest.raises(CompareError, match="has the parameters|is a chain of"):
        read_finished(chain, ["nH__1", "norm__2"])


def test_what_cannot_be_compared_is_refused_before_anything_runs(embedded: ModuleType, tmp_path: Path) -> None:
    result = weighted_result(embedded)
    with pytest.raises(CompareError, match="no method 'emcee'"):
        result.compare("emcee", xspec=embedded)
    with pytest.raises(CompareError, match="Say what to compare with"):
        result.compare(xspec=embedded)
    with pytest.raises(CompareError, match="Metropolis-Hastings is XSPEC's own"):
        result.compare("mh", xspec=embedded, progress=False)
    model = embedded.AllModels(1)
    others = [sixsa.uniform((model, 1), -1.0, 3.0), sixsa.loguniform((model, 2), 1e-5, 1e-1)]
    with pytest.raises(CompareError, match="not those of the run"):
        result.compare("mcmc", xspec=embedded, priors=others, progress=False)
    embedded.AllData(1).ignore("1.0-2.0")
    with pytest.raises(CompareError, match=r"another problem.*noticed"):
        result.compare("mcmc", xspec=embedded, progress=False)


def test_a_time_limit_ends_bxa_with_its_cost(embedded: ModuleType) -> None:
    found = weighted_result(embedded).compare("bxa", xspec=embedded, limit=1.0, progress=False)
    (method,) = found.methods
    assert not method.other.finished and not found.agree
    assert method.other.evaluations > 0
    assert "stopped after 1 s" in str(found)


def test_a_time_limit_strikes_again_where_it_was_swallowed() -> None:
    def swallowing() -> None:
        with contextlib.suppress(TimeoutError):
            time.sleep(30)
        time.sleep(30)

    with pytest.raises(TimeoutError), stopped_after(0.05):
        swallowing()


def test_ctrl_c_ends_the_other_method_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            in_child(time.sleep, 60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not multiprocessing.active_children()


def test_ctrl_c_while_the_other_method_is_started_ends_it() -> None:
    STRIKE["pid"] = os.getpid()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_child(time.sleep, 60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not STRIKE
    assert not multiprocessing.active_children()


def test_a_crash_of_the_other_method_is_said() -> None:
    with pytest.raises(RuntimeError, match=r"died \(exit code -9\)"):
        in_child(signal.raise_signal, signal.SIGKILL)


def test_autocorrelation_time_of_a_known_process() -> None:
    rho, rng = 0.9, np.random.default_rng(2)
    walks = np.zeros((20, 20_000))
    noise = rng.normal(size=walks.shape)
    for t in range(1, walks.shape[1]):
        walks[:, t] = rho * walks[:, t - 1] + noise[:, t]
    # (1 + rho)/(1 - rho) = 19; its relative error is sqrt(2 (2 M + 1)/N) with M = 5 tau, N = 400,000 (Sokal 1997): 3 %
    assert autocorrelation_time(walks) == pytest.approx(19, rel=0.09)
    assert autocorrelation_time(noise) == pytest.approx(1, abs=0.05)


def test_split_r_hat_tells_chains_apart() -> None:
    rng = np.random.default_rng(3)
    walks = rng.normal(size=(4, 1000))
    assert split_r_hat(walks) < 1.01
    assert split_r_hat(walks + np.arange(4)[:, None]) > 1.5
    assert split_r_hat(walks + np.linspace(0, 3, 1000)) > 1.2  # one trend in all: only the halves tell


def test_the_shell_compares(embedded: ModuleType, tmp_path: Path) -> None:
    result = weighted_result(embedded)
    folder = tmp_path / "run"
    result.save(folder)
    Session(embedded, workers=1).save_xcm(folder / "session.xcm")
    fresh(embedded)
    words = ["compare", str(folder), "--with", "mcmc", "--length", "8000", "--engine", "embedded", "-q"]
    ended = CliRunner().invoke(main, words)
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith("AGREE  (XSPEC Goodman-Weare: agrees")
    ended = CliRunner().invoke(main, ["compare", str(folder)])
    assert ended.exit_code == 2 and "Say what to compare with" in ended.output
