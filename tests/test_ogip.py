"""OGIP files: what is written is read back, whatever the layout; what is broken is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tiny_ogip import N_CHANNELS, N_ENERGIES, make_arf, make_pha, make_rmf

from xspec_sixsa.embedded.ogip import read_arf, read_pha, read_rmf, write_arf, write_pha, write_rmf
from xspec_sixsa.embedded.state import XspecError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("first_channel", [0, 1, 7])
def test_rmf_survives_writing_and_reading(first_channel: int) -> None:
    rmf = make_rmf(first_channel)
    write_rmf("a.rmf", rmf)
    back = read_rmf("a.rmf")
    assert back.first_channel == first_channel and back.lo_thres == rmf.lo_thres
    # Exact: the tiny matrix holds float32 values only.
    np.testing.assert_array_equal(back.matrix.toarray(), rmf.matrix.toarray())
    np.testing.assert_array_equal(back.edges, rmf.edges)
    np.testing.assert_array_equal(back.e_max, rmf.e_max)


def fixed_layout(rmf_path: str, out: str, *, scalar: bool = False, drop_tlmin: bool = False) -> None:
    """Rewrite a response with fixed-length columns; `scalar`: one group a row, F_CHAN and N_CHAN plain numbers."""
    rmf = read_rmf(rmf_path)
    dense = rmf.matrix.toarray().T
    runs = []
    for row in dense:
        used = np.flatnonzero(row)
        if scalar:
            runs.append([used[[0, -1]] + [0, 1]] if used.size else [])
        else:
            parts = np.split(used, np.flatnonzero(np.diff(used) != 1) + 1) if used.size else []
            runs.append([np.array([p[0], p[-1] + 1]) for p in parts])
    widest = max(len(r) for r in runs)
    f_chan, n_chan = np.zeros((2, len(runs), widest), int)
    values = np.zeros((len(runs), N_CHANNELS))
    for i, row in enumerate(runs):
        elements = [dense[i, a:b] for a, b in row]
        for j, (a, b) in enumerate(row):
            f_chan[i, j], n_chan[i, j] = a + rmf.first_channel, b - a
        flat = np.concatenate(elements) if elements else np.empty(0)
        values[i, : flat.size] = flat
    form = "J" if scalar else f"{widest}J"
    columns = [
        fits.Column("ENERG_LO", "E", array=rmf.energy_lo), fits.Column("ENERG_HI", "E", array=rmf.energy_hi),
        fits.Column("N_GRP", "I", array=[len(r) for r in runs]),
        fits.Column("F_CHAN", form, array=f_chan[:, 0] if scalar else f_chan),
        fits.Column("N_CHAN", form, array=n_chan[:, 0] if scalar else n_chan),
        fits.Column("MATRIX", f"{N_CHANNELS}E", array=values),
    ]  # fmt: skip
    table = fits.BinTableHDU.from_columns(columns, name="SPECRESP MATRIX")
    table.header.update({"DETCHANS": N_CHANNELS, "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX"})
    if not drop_tlmin:
        table.header["TLMIN4"] = rmf.first_channel
    with fits.open(rmf_path) as hdus:
        fits.HDUList([fits.PrimaryHDU(), table, hdus["EBOUNDS"].copy()]).writeto(out)


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("first_channel", [0, 1])
def test_fixed_length_columns_mean_the_same_matrix(scalar: bool, first_channel: int) -> None:
    rmf = make_rmf(first_channel)
    write_rmf("a.rmf", rmf)
    fixed_layout("a.rmf", "b.rsp", scalar=scalar)
    np.testing.assert_array_equal(read_rmf("b.rsp").matrix.toarray(), rmf.matrix.toarray())


def test_missing_tlmin_means_channels_from_one() -> None:
    write_rmf("a.rmf", make_rmf(1))
    fixed_layout("a.rmf", "b.rsp", drop_tlmin=True)
    np.testing.assert_array_equal(read_rmf("b.rsp").matrix.toarray(), make_rmf().matrix.toarray())


def test_pha_survives_writing_and_reading() -> None:
    wave = 1.0 + 0.1 * np.arange(N_CHANNELS)
    pha = make_pha(
        quality=np.arange(N_CHANNELS) % 3, grouping=np.where(np.arange(N_CHANNELS) % 2, -1, 1), area_scale=wave,
        back_scale=2 * wave, area_is_key=False, back_is_key=False, first_channel=0, channels=np.arange(N_CHANNELS),
        sys_err=0.01 * wave, backfile="b.pha",
    )  # fmt: skip
    write_pha("a.pha", pha)
    back = read_pha("a.pha")
    for name in ("values", "channels", "quality", "grouping", "area_scale", "back_scale", "sys_err"):
        np.testing.assert_array_equal(getattr(back, name), getattr(pha, name), err_msg=name)
    for name in ("exposure", "is_counts", "poisson", "first_channel", "detchans", "backfile", "respfile", "net"):
        assert getattr(back, name) == getattr(pha, name), name
    assert back.stat_err is None and not back.area_is_key


def test_rates_with_errors_survive() -> None:
    rate = np.linspace(-0.5, 2.0, N_CHANNELS)
    write_pha("a.pha", make_pha(values=rate, is_counts=False, poisson=False, stat_err=0.1 + np.abs(rate), net=True))
    back = read_pha("a.pha")
    assert not back.is_counts and not back.poisson and back.net
    np.testing.assert_array_equal(back.stat_err, 0.1 + np.abs(rate))


def test_arf_survives() -> None:
    write_arf("a.arf", make_arf())
    np.testing.assert_array_equal(read_arf("a.arf").area, make_arf().area)


def edit(path: str, extension: int, **keys: object) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[extension].header.update(keys)


def spoil_table(path: str, extension: int, column: str, row: int, value: object) -> None:
    with fits.open(path, mode="update") as hdus:
        hdus[extension].data[column][row] = value


def truncate(path: str, keep: float) -> None:
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[: int(len(raw) * keep)])


# fmt: off
BROKEN_RMF = {
    "truncated": (lambda p: truncate(p, 0.5), "cut off"),
    "not FITS": (lambda p: Path(p).write_text("hello"), "cannot be read as FITS"),
    "n_grp": (lambda p: spoil_table(p, 1, "N_GRP", 3, 9), "row 4 says N_GRP = 9"),
    "tlmin": (lambda p: edit(p, 1, TLMIN4=3), r"row 1 has a group .* outside the channels 3-26"),
    "detchans": (lambda p: edit(p, 1, DETCHANS=20), "DETCHANS is 20 but EBOUNDS has 24"),
    "class": (lambda p: edit(p, 1, HDUCLAS2="SPECRESP"), "HDUCLAS2=RSP_MATRIX"),
}
BROKEN_PHA = {
    "missing": (lambda p: Path(p).unlink(), "a.pha not found"),
    "gap": (lambda p: spoil_table(p, 1, "CHANNEL", 5, 50), "gap after 5 .next is 50"),
    "exposure": (lambda p: edit(p, 1, EXPOSURE=0.0), "exposure is 0.0"),
    "no exposure": (lambda p: edit(p, 1, EXPOSURE="long"), "EXPOSURE is 'long'"),
    "channels": (lambda p: edit(p, 1, TLMIN1=2), "outside the legal 2-25"),
    "type II": (lambda p: edit(p, 1, DETCHANS=3), "type II"),
    "class": (lambda p: edit(p, 1, HDUCLAS1="EVENTS", EXTNAME="EVENTS"), "HDUCLAS1=SPECTRUM"),
}
# fmt: on


@pytest.mark.parametrize("damage", BROKEN_RMF)
def test_broken_response_is_refused_with_the_reason(damage: str) -> None:
    write_rmf("a.rmf", make_rmf())
    action, message = BROKEN_RMF[damage]
    action("a.rmf")
    with pytest.raises(XspecError, match=message) as caught:
        read_rmf("a.rmf")
    assert "a.rmf" in str(caught.value)


@pytest.mark.parametrize("damage", BROKEN_PHA)
def test_broken_spectrum_is_refused_with_the_reason(damage: str) -> None:
    write_pha("a.pha", make_pha())
    action, message = BROKEN_PHA[damage]
    action("a.pha")
    with pytest.raises(XspecError, match=message) as caught:
        read_pha("a.pha")
    assert "a.pha" in str(caught.value)


def test_empty_spectrum_is_refused() -> None:
    columns = [fits.Column("CHANNEL", "J", array=[]), fits.Column("COUNTS", "J", array=[])]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header.update({"HDUCLAS1": "SPECTRUM", "DETCHANS": 10, "EXPOSURE": 1.0})
    table.writeto("a.pha")
    with pytest.raises(XspecError, match="empty"):
        read_pha("a.pha")


def test_arf_with_the_wrong_class_is_refused_not_skipped() -> None:
    write_arf("a.arf", make_arf())
    edit("a.arf", 1, HDUCLAS2="EFFAREA")
    with pytest.raises(XspecError, match="HDUCLAS2=SPECRESP"):
        read_arf("a.arf")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n": N_ENERGIES - 5}, "35 energy bins, but tiny.rmf has 40"), ({"shift": 0.3}, "keV, in tiny.rmf")],
)
def test_arf_on_another_energy_grid_is_refused(change: dict[str, float], message: str) -> None:
    from xspec_sixsa.embedded.spectrum import Spectrum

    write_rmf("tiny.rmf", make_rmf())
    arf, n = make_arf(), int(change.get("n", N_ENERGIES))
    shift = change.get("shift", 0.0)
    arf.energy_lo, arf.energy_hi, arf.area = arf.energy_lo[:n] + shift, arf.energy_hi[:n] + shift, arf.area[:n]
    write_arf("tiny.arf", arf)
    write_pha("a.pha", make_pha())
    with pytest.raises(XspecError, match=message):
        Spectrum("a.pha")
