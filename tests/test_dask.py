"""Dask workers, real ones on this machine: the answers of a session without them, also where one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster
from small_session import fresh, power_law_run, write_fixed_spectra

import xspec_sixsa as sixsa
from xspec_sixsa.common.files import working_directory
from xspec_sixsa.interfaces import cli
from xspec_sixsa.priors import bind, save_toml
from xspec_sixsa.session import Session, cluster, remote
from xspec_sixsa.session.cluster import Cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**settings) as local, Client(local) as client:
        yield client


@pytest.fixture(params=["embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    if request.param == "xspec":
        import xspec as module
    else:
        from xspec_sixsa import embedded as module
    with working_directory(tmp_path):
        yield module
    fresh(module)


@pytest.fixture
def priors(engine: ModuleType, tmp_path: Path) -> list[Any]:
    _, priors = power_law_run(engine, tmp_path, (1e-4, 1e-1))
    engine.AllModels(1)(1).values = 0.1234567891  # frozen, and in full: a saved session has six digits
    return priors


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_the_shell_refuses_an_address_before_anything_is_done(
    engine: ModuleType, priors: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(engine)
    session.save_xcm("session.xcm")
    save_toml("priors.toml", bind(priors, session))
    monkeypatch.setattr(cluster, "TIMEOUT", 0.1)
    words = ["fit", "session.xcm", "--priors", "priors.toml", "-o", "run", "--engine", "embedded"]
    done = CliRunner().invoke(cli.main, [*words, "--dask", "tcp://127.0.0.1:9"])
    assert done.exit_code == 2 and "No Dask scheduler answers at tcp://127.0.0.1:9" in done.output
    assert not Path("run").exists()


@pytest.mark.slow
def test_same_seed_same_answer_without_dask(engine: ModuleType, priors: list[Any], client: Client) -> None:
    options = {"target_ess": 50, "seed": 1, "progress": False, "xspec": engine, "polish": False}
    alone, together = sixsa.fit(priors, **options), sixsa.fit(priors, dask=client, **options)
    np.testing.assert_array_equal(together.samples, alone.samples)
    np.testing.assert_array_equal(together.log_likelihood, alone.log_likelihood)
    assert together.evaluations == alone.evaluations
    several = [
        sixsa.fit_many(
            ["a.pha"], priors, output=f"survey{k}", xspec=engine, seed=1, target_ess=50, dask=dask, workers=2
        )
        for k, dask in enumerate((None, client))
    ]
    assert several[0].evaluations == several[1].evaluations
    np.testing.assert_array_equal(several[1]["a"].samples, several[0]["a"].samples)


def test_a_copy_that_is_another_session_is_refused(
    engine: ModuleType, priors: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(engine) as session:
        saved = session._written_down()
    with pytest.raises(ValueError, match=r"the copy is another session: the abundance table was lodd and is angr"):
        remote.restored(replace(saved, fingerprint=saved.fingerprint | {"abund": "lodd"}))
    with pytest.raises(ValueError, match="another release of XSPEC"):
        remote.restored(replace(saved, statistic=1.001 * saved.statistic))
    assert remote.restored(saved).fingerprint()["frozen"] == {"nH__1": 0.1234567891}
    (tmp_path / "small.arf").rename("elsewhere.arf")
    with pytest.raises(Exception, match=r"small\.arf"):
        remote.restored(saved)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'xspec_sixsa\[dask\]'"):
        Cluster("tcp://127.0.0.1:9")


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_a_scheduler_that_goes_is_named(engine: ModuleType, priors: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", 2)
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", "scheduler.json"], stderr=subprocess.DEVNULL)
    there = Cluster("scheduler.json")

    def kill_when_asked(client: Client) -> None:
        while not client.futures:
            time.sleep(0.05)
        scheduler.kill()

    try:
        threading.Thread(target=kill_when_asked, args=(there.connect(),), daemon=True).start()
        session, theta = Session(engine, cluster=there), np.array([[2.0, 1e-3]])
        with pytest.raises(RuntimeError, match=r"the scheduler is gone.*--resume"):  # it waits for a first worker
            session.evaluate(theta, "test")
        with pytest.raises(RuntimeError, match=r"Dask could not evaluate .*--resume"):  # gone before it is asked
            session.evaluate(theta, "test")
    finally:
        scheduler.kill()
        scheduler.wait()
        there.close()


def test_a_background_that_was_taken_away_stays_away_elsewhere(engine: ModuleType, tmp_path: Path) -> None:
    write_fixed_spectra(tmp_path)
    fresh(engine).AllData("one.pha")
    engine.AllData(1).background = None
    engine.Model("powerlaw", setPars=(1.8, 1e-2))
    with Session(engine) as session:
        saved = session._written_down()
    (tmp_path / "elsewhere").mkdir()
    with working_directory(tmp_path / "elsewhere"):  # where nothing of that name is found
        assert remote.restored(saved).observation.spectra[0].background is None


# one engine: copies of the embedded one load torch, which costs more than all else here; the slow test has both
@pytest.mark.parametrize("engine", ["xspec" if os.environ.get("HEADAS") else "embedded"], indirect=True)
def test_a_lost_worker_loses_nothing(engine: ModuleType, priors: list[Any], client: Client) -> None:
    alone = Session(engine)
    together = Session(engine, cluster=Cluster(client.scheduler_info()["address"]))
    rng = np.random.default_rng(3)
    theta = np.stack([rng.uniform(1.0, 3.0, 200), np.exp(rng.uniform(-8.0, -4.0, 200))], axis=1)
    theta[7] = [1.0, 1e30]  # beyond a hard limit: no worker hears of it
    victims = list(client.run(os.getpid).values())[1:]
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)  # it gets its share, and has nothing of it done
        threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    expected, found = (session.evaluate(theta, "test") for session in (alone, together))
    # to the last bit: neither which worker evaluates a row nor with which others may matter
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.statistic, expected.statistic)
    assert found.reasons == expected.reasons and not found.ok[7]
    assert together.evaluations == {"probe": 1, "test": len(theta)}
    assert not {*victims} & {*client.run(os.getpid).values()}
