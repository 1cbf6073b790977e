from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from small_session import write_fixed_spectra

from xspec_sixsa.session.restore import restore_session


@pytest.mark.parametrize("engine", ["xspec_sixsa.embedded", pytest.param("xspec", marks=pytest.mark.xspec)])
def test_a_session_whose_data_lie_in_another_folder_is_restored(engine: str, tmp_path: Path) -> None:
    # XSPEC's `save all` writes `cd` lines then, and PyXspec's own restore refuses them
    data, here = tmp_path / "data", tmp_path / "here"
    data.mkdir()
    here.mkdir()
    write_fixed_spectra(data)
    script = here / "session.xcm"
    script.write_text("statistic cstat\ncd ../data\ndata 1:1 two.pha\ncd ../here\nmodel powerlaw & 2 & 0.01\n")
    module = importlib.import_module(engine)
    module.Xset.chatter = 0
    before = Path.cwd()
    restore_session(module, script, here)
    assert module.AllData.nSpectra == 1 and module.Fit.statistic > 0
    assert Path.cwd() == before
    module.AllData.clear()
    module.AllModels.clear()
