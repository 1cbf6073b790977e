"""The data files of library models: which model needs which, where they are looked for, and what to do without.

XSPEC's own answer to an absent file is often a spectrum of zeros, so files are looked for before a model is evaluated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from xspec_sixsa.embedded.library.modeldat import Definition
from xspec_sixsa.embedded.library.request import Versions

__all__ = ["FOLDER_VARIABLE", "SOURCE", "data_folder", "data_versions", "missing_files"]

FOLDER_VARIABLE = "XSPEC_MDATA_DIR"
"""XSPEC's own environment variable for the folder that holds the data files (``spectral/modelData`` of a HEASoft)."""
SOURCE = "the folder spectral/modelData of HEASoft 6.35 (https://heasarc.gsfc.nasa.gov/docs/software/heasoft/)"

APEC = "apec_v{atomdb}_coco.fits", "apec_v{atomdb}_line.fits"
NEI = "apec_v{nei}_nei_comp.fits", "apec_v{nei}_nei_line.fits", "apec_v{nei}_eigen.fits"
MEKAL = tuple(f"mekal{number}.dat" for number in range(1, 7))
MEKAL_TABLE = ("mekal.mod",)
# What each model of XSPEC 12.15.0 opens at its default switches, as `strace` shows it.
NEEDS: dict[tuple[str, ...], str] = {
    APEC: "apec bapec bcempow bcheb6 bcie bcoolflow bcph bexpcheb6 bgadem btapec bvapec bvcempow bvcheb6 bvcie "
    "bvcoolflow bvcph bvexpcheb6 bvgadem bvtapec bvvapec bvvcie bvvgadem bvvtapec bvvwdem bvwdem bwdem c6mekl c6pmekl "
    "c6pvmkl c6vmekl cemekl cempow cevmkl cheb6 cie coolflow cph expcheb6 gadem mkcflow nlapec tapec vapec vcempow "
    "vcheb6 vcie vcoolflow vcph vexpcheb6 vgadem vmcflow vtapec vvapec vvcie vvgadem vvtapec vvwdem vwdem wdem",
    NEI: "bequil bgnei bnei bnpshock bpshock brnei bvequil bvgnei bvnei bvnpshock bvpshock bvrnei bvvgnei bvvnei "
    "bvvnpshock bvvpshock bvvrnei equil gnei nei npshock pshock rnei vequil vgnei vnei vnpshock vpshock vrnei vvgnei "
    "vvnei vvnpshock vvpshock vvrnei",
    ("sedov.fits", *NEI): "bsedov bvsedov bvvsedov sedov vsedov vvsedov",
    ("snyields.dat", *APEC): "bsnapec snapec",
    ("spC.fits",): "carbatm",
    ("spH.fits",): "hatm",
    ("raysmith.mod",): "cflow raymond vraymond",
    ("ltcz.fits",): "compth eqpair eqtherm",
    ("pnint.dat",): "diskpn",
    ("ezdiskbbdata.fits",): "ezdiskbb",
    ("kerrbb.fits",): "kerrbb zkerrbb",
    ("ari.mod",): "kdblur kdblur2 kerrd laor laor2",
    ("kerrtable.fits",): "kerrconv kerrdisk",
    ("KBHline00.fits",): "kyconv",
    ("KBHline01.fits",): "kyrline",
    ("recomb.fits",): "meka vmeka",
    MEKAL_TABLE: "mekal vmekal",
    ("nsadata.fits",): "nsa",
    ("nsagravdata.fits",): "nsagrav",
    ("nsatmosdata.fits",): "nsatmos",
    ("nsmax.fits",): "nsmax",
    ("nsmaxg.fits",): "nsmaxg",
    ("nsx.fits",): "nsx",
    ("slimbb-full.fits",): "slimbh",
    ("mansig.fits",): "absori bexriv ireflect pexriv refsch",
    ("acisabsdata.fits",): "acisabs",
    ("IsmabsAtomicData.fits",): "ismabs",
    ("ismdust_edge_data.fits",): "ismdust olivineabs",
    ("swind1_mtable.fits",): "swind1",
    ("xiondata.fits",): "xion",
    ("xscat_MRN_v1.1.0.fits",): "xscat",
    ("zxipcf_mtable.fits",): "zxipab zxipcf",
    ("reflionx.mod",): "rfxconv",
    ("xillver-a-Ec3.fits",): "xilconv",
}
_FILES = {name: files for files, names in NEEDS.items() for name in names.split()}
PLASMA = {0.0: MEKAL, 1.0: MEKAL_TABLE, 2.0: APEC}
"""What plasma models open by their ``switch``: Mekal as computed, Mekal as tabulated, AtomDB."""
_PLASMA_MODELS = {*NEEDS[APEC].split(), *NEEDS[MEKAL_TABLE].split()}
ROOT_STRINGS = {
    "APECROOT", "NEIAPECROOT", "NSMAXG_DIR", "NSMAX_DIR", "NSX_DIR", "SLIMBB_DIR", "XSCAT_DIR", "ZXIPCF_DIR"
}  # fmt: skip
"""Model strings by which the user says where data are: then no file is looked for beforehand."""


def data_folder(own: Path) -> Path:
    """Return the folder that data files are taken from.

    Parameters
    ----------
    own : Path
        The library's own folder, where packages of model data may put theirs.

    Returns
    -------
    Path
        Of XSPEC_MDATA_DIR, of the HEASoft that HEADAS names, or the library's own, the first that there is.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().resolve()
    headas = os.environ.get("HEADAS")
    if headas:
        for folder in (Path(headas).parent / "spectral" / "modelData", Path(headas) / "spectral" / "modelData"):
            if folder.is_dir():
                return folder.resolve()
    return own.resolve()


def data_versions(folder: Path, wanted: Versions) -> Versions:
    """Return the versions of AtomDB and its NEI part to use: the wanted ones, or the newest that a folder has."""
    return wanted._replace(
        atomdb=_version(folder, APEC[0], "atomdb", wanted.atomdb), nei=_version(folder, NEI[0], "nei", wanted.nei)
    )


def _version(folder: Path, pattern: str, name: str, wanted: str) -> str:
    before, _, after = pattern.partition(f"{{{name}}}")
    found = {path.name[len(before) : -len(after)] for path in folder.glob(f"{before}*{after}")}
    found = {version for version in found if re.fullmatch(r"\d+(\.\d+)*", version)}
    if not found or wanted in found:
        return wanted
    return max(found, key=lambda version: [int(part) for part in version.split(".")])


def missing_files(
    definition: Definition, values: Sequence[float] | None, folder: Path, versions: Versions, strings: dict[str, str]
) -> list[str]:
    """Return the data files that a model needs at parameter values (None: its defaults) and that are not there.

    Empty where a switch is not at its default (other than that of plasma models), or a model string says where data
    are: what is needed then only shows when the model is evaluated.
    """
    if ROOT_STRINGS & set(strings):
        return []
    names = [name.format(**versions._asdict()) for name in _needed(definition, values)]
    return [name for name in names if not (folder / name).is_file() and not (folder / f"{name}.gz").is_file()]


def _needed(definition: Definition, values: Sequence[float] | None) -> tuple[str, ...]:
    """Names, with versions left open, of the files that a model opens at parameter values."""
    switches = {
        p.name: (p.value, p.value if values is None else values[k])
        for k, p in enumerate(definition.parameters)
        if p.kind == "switch"
    }
    if all(value == default for default, value in switches.values()):
        return _FILES.get(definition.name, ())
    if definition.name not in _PLASMA_MODELS or "switch" not in switches:
        return ()
    switch = switches["switch"][1]
    # cooling flows do not compute Mekal: they take the table's temperatures
    flows = switch == 0.0 and ("flow" in definition.name or "cph" in definition.name)
    return MEKAL_TABLE if flows else PLASMA.get(switch, ())
