"""What a survey returns: the catalogue of all spectra, and each one's result when it is asked for."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xspec_sixsa.result import Result
from xspec_sixsa.survey.catalogue import FAILED
from xspec_sixsa.survey.folder import SETUP, SPECTRA

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["TOTALS", "Survey"]

TOTALS = "totals.json"


@dataclass(eq=False)
class Survey:
    """Posteriors of many spectra; print it for the summary, and take one by its name: ``survey["burst_012"]``.

    Attributes
    ----------
    output : Path
    catalogue : astropy.table.Table
        A row a spectrum: what ``catalogue.fits`` holds.
    evaluations : dict of str to int
        All that were made, by stage.
    seconds : float
        Wall clock.
    seed : int
    network : str
        The survey that it has learned from; empty where there is none.
    """

    output: Path
    catalogue: Table
    evaluations: dict[str, int]
    seconds: float
    seed: int
    network: str = ""

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Survey:
        """Read what a finished survey has left.

        Raises
        ------
        FileNotFoundError
            Where it is not finished, or there is none.
        """
        from astropy.table import Table

        folder = Path(folder).absolute()
        if not (folder / "catalogue.fits").is_file():
            raise FileNotFoundError(
                f"{folder} holds no finished survey (catalogue.fits is missing): go on with resume=True (--resume)."
            )
        table = Table.read(folder / "catalogue.fits", character_as_bytes=False, mask_invalid=False)
        totals = json.loads((folder / TOTALS).read_text(encoding="utf-8"))
        setup = json.loads((folder / SETUP).read_text(encoding="utf-8"))
        return cls(folder, table, totals["evaluations"], totals["seconds"], setup["seed"], setup.get("network") or "")

    def __len__(self) -> int:
        return len(self.catalogue)

    @property
    def names(self) -> list[str]:
        """Of all spectra, failed ones included."""
        return [str(name) for name in self.catalogue["name"]]

    @property
    def reliable(self) -> bool:
        """Whether every spectrum has a reliable posterior."""
        return all(status == "reliable" for status in self.catalogue["status"])

    def __getitem__(self, name: str) -> Result:
        """The result of one spectrum, read from its folder.

        Raises
        ------
        KeyError
            For an unknown name, or a spectrum that failed.
        """
        rows = [row for row in self.catalogue if row["name"] == name]
        if not rows:
            raise KeyError(f"No spectrum {name} in {self.output}: they are {', '.join(self.names[:5])}, ...")
        if rows[0]["status"] == FAILED:
            raise KeyError(f"{name} has no posterior: {rows[0]['reasons']}")
        return Result.load(self.output / SPECTRA / name)

    @property
    def statuses(self) -> dict[str, int]:
        """How many spectra are reliable, unreliable, failed."""
        return dict(Counter(str(status) for status in self.catalogue["status"]).most_common())

    def __str__(self) -> str:
        total = sum(self.evaluations.values())
        lines = [
            f"{len(self)} spectra: " + ", ".join(f"{number} {status}" for status, number in self.statuses.items()),
            f"Evaluations {total} ({', '.join(f'{stage} {n}' for stage, n in self.evaluations.items())}), "
            f"{total / max(len(self), 1):.0f} a spectrum",
            f"Seconds {self.seconds:.0f}",
        ]
        if self.network:
            lines.append(f"Learned from {self.network}, whose evaluations are not counted here")
        others = [row for row in self.catalogue if row["status"] != "reliable"]
        lines += [f"  {row['name']}: {row['status']}: {row['reasons']}" for row in others[:10]]
        if len(others) > 10:
            lines.append(f"  ... and {len(others) - 10} more (catalogue.csv)")
        return "\n".join([*lines, f"Saved in {self.output}"])

    def as_dict(self) -> dict[str, Any]:
        """Numbers for scripts."""
        return {
            "spectra": len(self), **self.statuses, "evaluations": dict(self.evaluations), "seconds": self.seconds,
            "output": str(self.output),
        }  # fmt: skip
