"""Malformed OGIP files, table models and chains, each made from a good one: hundreds, the same every time."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

CARD, BLOCK = 80, 2880
WRONG = ("'words'", "T", "-1", "1000000000000", "(1.0, 2.0)", None)
NO_SCALE = ("'words'", "T", "-1", "(1.0, 2.0)", None)
"""Cards' values that mean nothing where a size or a number is due; None takes the card away."""
FLIPS, CUTS = 20, (0.05, 0.3, 0.6, 0.9, 0.99)


@dataclass(frozen=True)
class Variant:
    """A fault: what it is called, and what it makes of a good file's bytes."""

    name: str
    make: Callable[[bytes], bytes]
    suffix: str = ""


def header(raw: bytes, extension: int) -> tuple[int, int]:
    """Where the header of an extension begins and its END card stands."""
    begin = -1
    for _ in range(extension):
        begin = raw.index(b"XTENSION=", begin + 1)
    end = begin
    while raw[end : end + CARD].rstrip() != b"END":
        end += CARD
    return begin, end


def with_card(raw: bytes, extension: int, key: str, value: str | None) -> bytes:
    """The file with one keyword written as it stands, whatever it means; None takes it away."""
    begin, end = header(raw, extension)
    card = b"" if value is None else f"{key:<8}= {value:>20}".encode()
    for place in range(begin, end, CARD):
        if raw[place : place + 8].decode().strip() == key:
            return raw[:place] + card.ljust(CARD) + raw[place + CARD :]
    if value is None or (end + CARD) % BLOCK == begin % BLOCK:
        return raw
    return raw[:end] + card.ljust(CARD) + b"END".ljust(CARD) + raw[end + 2 * CARD :]


def cards(extension: int, keys: str, values: tuple[str | None, ...] = WRONG) -> Iterator[Variant]:
    for key in keys.split():
        for value in values:
            yield Variant(
                f"{key}[{extension}] = {value}",
                lambda raw, key=key, value=value: with_card(raw, extension, key, value),
            )


def cells(extension: int, columns: str, values: tuple[float, ...]) -> Iterator[Variant]:
    """A number in the middle of a column; a vector's first."""
    for column in columns.split():
        for value in values:

            def make(raw: bytes, column: str = column, value: float = value) -> bytes:
                with fits.open(io.BytesIO(raw)) as hdus:
                    data = hdus[extension].data
                    cell = np.atleast_1d(data[column][len(data) // 2])
                    if cell.size == 0 or (not np.isfinite(value) and cell.dtype.kind == "i"):
                        return raw
                    if np.ndim(data[column][len(data) // 2]):
                        data[column][len(data) // 2][0] = value
                    else:
                        data[column][len(data) // 2] = value
                    return written(hdus)

            yield Variant(f"{column}[{extension}] has {value}", make)


def retyped(extension: int, columns: str, *, needed: bool = True) -> Iterator[Variant]:
    """Columns of text, of complex numbers and of truth values, and, of a needed one, none at all."""
    for column in columns.split():
        for form in ("8A", "M", "L", None)[: 4 if needed else 3]:

            def make(raw: bytes, column: str = column, form: str | None = form) -> bytes:
                with fits.open(io.BytesIO(raw)) as hdus:
                    table = hdus[extension]
                    n, kept = len(table.data), []
                    for old in table.columns:
                        if old.name != column:
                            kept.append(fits.Column(old.name, old.format, array=old.array, unit=old.unit))
                        elif form is not None:
                            new = {"8A": np.full(n, "12"), "M": np.full(n, 1 + 1j), "L": np.ones(n, bool)}[form]
                            kept.append(fits.Column(column, form, array=new))
                    new = fits.BinTableHDU.from_columns(kept, name=table.name)
                    for card in table.header.cards:
                        if (
                            card.keyword
                            and card.keyword not in new.header
                            and card.keyword[:5] not in ("TFORM", "TTYPE")
                        ):
                            new.header.append(card)
                    hdus[extension] = new
                    return written(hdus)

            yield Variant(f"{column}[{extension}] of {form}", make)


def written(hdus: fits.HDUList) -> bytes:
    stream = io.BytesIO()
    hdus.writeto(stream, output_verify="ignore", checksum=True)  # else a wrong DATASUM would give every fault away
    return stream.getvalue()


def cut(raw: bytes, share: float) -> bytes:
    return raw[: int(share * len(raw))]


def flipped(raw: bytes, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    spoiled = bytearray(raw)
    # the first block is an empty header
    spoiled[int(rng.integers(BLOCK, len(raw)))] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


def everywhere() -> Iterator[Variant]:
    """What can happen to any file."""
    for share in CUTS:
        yield Variant(f"cut at {share}", lambda raw, share=share: cut(raw, share))
        yield Variant(f"gzipped, cut at {share}", lambda raw, share=share: cut(gzip.compress(raw, 1), share), ".gz")
    for seed in range(FLIPS):
        yield Variant(f"bit flip {seed}", lambda raw, seed=seed: flipped(raw, seed))
    yield Variant("nothing in it", lambda raw: b"")
    yield Variant("words", lambda raw: b"hello\n")
    yield Variant("noise", lambda raw: np.random.default_rng(1).bytes(len(raw)))
    yield Variant("gzipped twice", lambda raw: gzip.compress(gzip.compress(raw, 1), 1), ".gz")


SIZES = "NAXIS1 NAXIS2 TFIELDS PCOUNT"
NUMBERS = (np.nan, np.inf, -5.0)

CORPUS: dict[str, list[Variant]] = {
    "grouped.pha": [
        *everywhere(),
        *cards(1, SIZES + " DETCHANS"),
        *cards(1, "EXPOSURE BACKSCAL AREASCAL", NO_SCALE),
        *cards(1, "EXPOSURE DETCHANS NAXIS2", ("0", "-0.5")),
        *cards(1, "BACKSCAL AREASCAL SYS_ERR", ("-0.5", "'x'", "T")),
        *cards(1, "POISSERR", ("'maybe'", "7")),
        *cards(1, "HDUCLAS1", ("'RESPONSE'", "'EVENTS'", "3")),
        *cards(1, "TFORM1 TFORM2", ("'Q9'", "'1PJ(3)'", "'99999999J'", None)),
        *cards(1, "TTYPE1 TTYPE2", ("'X'", None)),
        *cards(1, "TLMIN1", ("'x'", "1000000", "-3")),
        *cards(1, "RESPFILE ANCRFILE BACKFILE", ("'gone'", "T", "17")),
        *cells(1, "COUNTS CHANNEL", NUMBERS),
        *retyped(1, "COUNTS CHANNEL"),
        *retyped(1, "QUALITY GROUPING", needed=False),
    ],
    "grouped_bkg.pha": [
        *everywhere(),
        *cards(1, SIZES + " DETCHANS"),
        *cards(1, "EXPOSURE BACKSCAL", NO_SCALE),
        *cells(1, "COUNTS", NUMBERS),
        *retyped(1, "COUNTS"),
    ],
    "vectors.pha": [*cells(1, "BACKSCAL AREASCAL", NUMBERS), *retyped(1, "BACKSCAL AREASCAL")],
    "net.pha": [
        *cells(1, "RATE STAT_ERR SYS_ERR", (np.nan, np.inf)),
        *cells(1, "STAT_ERR SYS_ERR", (-5.0,)),
        *retyped(1, "RATE STAT_ERR"),
        *retyped(1, "SYS_ERR", needed=False),
    ],
    "tiny.rmf": [
        *everywhere(),
        *cards(1, SIZES + " DETCHANS"),
        *cards(2, SIZES),
        *cards(1, "NAXIS2", ("0", "1", "-3")),
        *cards(1, "TLMIN4", ("'x'", "90", "-90")),
        *cards(1, "HDUCLAS1 HDUCLAS2", ("'SPECTRUM'", "4")),
        *cells(1, "N_GRP F_CHAN N_CHAN", (-5.0, 30000.0)),
        *cells(1, "ENERG_LO ENERG_HI MATRIX", (np.nan, np.inf)),
        *cells(2, "E_MIN E_MAX", (np.nan, np.inf)),
        *retyped(1, "ENERG_LO N_GRP"),
        *retyped(2, "E_MIN"),
    ],
    "tiny.arf": [
        *everywhere(),
        *cards(1, SIZES),
        *cards(1, "NAXIS2", ("0", "1")),
        *cards(1, "HDUCLAS1 HDUCLAS2", ("'SPECTRUM'",)),
        *cells(1, "SPECRESP ENERG_LO ENERG_HI", NUMBERS),
        *retyped(1, "SPECRESP ENERG_HI"),
    ],
    "table.fits": [
        *everywhere(),
        *(variant for extension in (1, 2, 3) for variant in cards(extension, SIZES)),
        *cards(1, "NINTPARM NADDPARM"),
        *cells(1, "MINIMUM MAXIMUM INITIAL VALUE NUMBVALS", (*NUMBERS, 1e6)),
        *cells(2, "ENERG_LO ENERG_HI", NUMBERS),
        *cells(3, "INTPSPEC", (np.nan, np.inf)),
        *retyped(2, "ENERG_LO"),
        *retyped(3, "INTPSPEC"),
    ],
    "chain.fits": [
        *everywhere(),
        *cards(1, SIZES),
        *cells(1, "PhoIndex__1 FIT_STATISTIC", (np.nan, np.inf)),
        *cards(1, "NWALKERS CHAINTYP", ("'x'", "T", "-4", None)),
        *retyped(1, "PhoIndex__1", needed=False),
        *retyped(1, "FIT_STATISTIC"),
    ],
}
"""Faults by the file that has them."""


def with_checksums(path: Path) -> None:
    """Have DATASUM in every extension, as the tools of missions write it."""
    with fits.open(path) as hdus:
        hdus.writeto(path, overwrite=True, checksum=True)
