"""A survey's run: spectra read, inferred batch by batch and response by response, and their folders written."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from xspec_sixsa.common.cores import one_thread
from xspec_sixsa.common.files import write_json
from xspec_sixsa.common.progress import Progress
from xspec_sixsa.common.seeding import Streams
from xspec_sixsa.infer.checkpoint import Checkpoint
from xspec_sixsa.infer.factors import Factors
from xspec_sixsa.infer.model import RecordedModel
from xspec_sixsa.infer.settings import Settings
from xspec_sixsa.infer.sharedcurves import CurveLibrary
from xspec_sixsa.priors import save_toml
from xspec_sixsa.result import Result
from xspec_sixsa.survey.catalogue import Row, failed_row, make_table, row_of, write_table
from xspec_sixsa.survey.crew import Crew, Failure, LostWorkerError
from xspec_sixsa.survey.entries import Entry
from xspec_sixsa.survey.fluxes import flux_name, flux_row
from xspec_sixsa.survey.folder import CHECKPOINT, SPECTRA
from xspec_sixsa.survey.member import Plan
from xspec_sixsa.survey.overview import write_overview
from xspec_sixsa.survey.reference import check_fold, load_reference
from xspec_sixsa.survey.sharing import SharedDraws, train, train_guide
from xspec_sixsa.survey.survey import TOTALS, Survey
from xspec_sixsa.survey.template import Observed, Response, Template

__all__ = ["run"]

log = logging.getLogger(__name__)

Points = NDArray[np.float64]

EXACT_DRAWS = 110  # effective ones for a spectrum: its emulator has learned from others, too, and is seldom far off
FINISHED = "rows.json"  # of a batch
LOST_WORKERS = 3  # of a cluster, that a batch is begun again for
AGREES = 1e-6  # of the best statistic: XSPEC's own, with the spectrum loaded


def run(
    template: Template,
    entries: Sequence[Entry],
    record: dict[str, Any],
    folder: Path,
    pictures: tuple[str, ...],
    progress: bool,
) -> None:
    """Do the survey in this process, whose session it takes; everything is left in the folder."""
    began = time.monotonic()
    survey = _Survey(template, record, folder, pictures, Progress(progress))
    rows: list[Row] = []
    with one_thread():
        for number, start in enumerate(range(0, len(entries), record["batch"]), start=1):
            rows += survey.batch(number, entries[start : start + record["batch"]])
            survey.catalogue(rows)
    evaluations = Counter[str]()
    for path in sorted((folder / CHECKPOINT).glob(f"batch_*/{FINISHED}")):
        evaluations.update(json.loads(path.read_text(encoding="utf-8"))["evaluations"])
    seconds = time.monotonic() - began
    write_json(folder / TOTALS, {"evaluations": dict(evaluations), "seconds": seconds})
    session = template.session
    write_overview(Survey.load(folder), session.names, session.labels, session.units)


class _Survey:
    def __init__(
        self, template: Template, record: dict[str, Any], folder: Path, pictures: tuple[str, ...], progress: Progress
    ) -> None:
        self._template, self._record, self._folder, self._progress = template, record, folder, progress
        self._pictures = pictures
        self._bands = [(low, high) for low, high in record.get("flux") or ()]
        self._settings = Settings(**record["options"], **{"exact_draws": EXACT_DRAWS} | (record.get("settings") or {}))
        save_toml(folder / "priors.toml", template.prior, record["options"] | {"seed": record["seed"]})

    def batch(self, number: int, entries: Sequence[Entry]) -> list[Row]:
        """Rows of a batch: what it left when it was finished before, or what it gives now."""
        folder = self._folder / CHECKPOINT / f"batch_{number:05d}"
        if (folder / FINISHED).is_file():
            return list(json.loads((folder / FINISHED).read_text(encoding="utf-8"))["rows"])
        folder.mkdir(exist_ok=True)
        log.info("batch %d: %d spectra, from %s", number, len(entries), entries[0].name)
        rows: dict[str, Row] = {}
        evaluations = Counter[str]()
        groups: dict[tuple[str, int, int], list[Observed]] = {}
        with self._progress.task("reading spectra", len(entries), "reading") as tick:
            for entry in entries:
                tick()
                evaluations["check"] += 2
                try:
                    observed = self._template.read(entry)
                except Exception as error:  # PyXspec raises plain Exception; one bad file costs itself only
                    log.warning("%s: %s", entry.name, error)
                    rows[entry.name] = _failed(entry, error)
                else:
                    groups.setdefault(observed.response.key, []).append(observed)
        for k, group in enumerate(groups.values(), start=1):
            found, spent = self._sure_group(group, folder / f"response_{k}", number)
            rows |= found
            evaluations.update(spent)
        ordered = [rows[entry.name] for entry in entries]
        write_json(folder / FINISHED, {"rows": ordered, "evaluations": dict(evaluations)})
        for path in folder.glob("response_*/"):  # what a stopped batch would be resumed with
            shutil.rmtree(path)
        return ordered

    def _sure_group(self, observed: list[Observed], folder: Path, number: int) -> tuple[dict[str, Row], Counter[str]]:
        """As `_group`; where a cluster's worker is lost, again with those that are left, from what is evaluated."""
        workers = 0
        while True:
            try:
                return self._group(observed, folder, number)
            except LostWorkerError as lost:
                workers += 1
                if workers > LOST_WORKERS:
                    raise
                log.warning("%s: its spectra are done anew by the others, from what is evaluated.", lost)

    def _group(self, observed: list[Observed], folder: Path, number: int) -> tuple[dict[str, Row], Counter[str]]:
        """Rows of spectra that share a response, by name, and the evaluations that they took."""
        began = time.monotonic()
        folder.mkdir(exist_ok=True)
        response = observed[0].response
        session = load_reference(self._template, observed[0], folder / "reference.pha")
        checkpoint = Checkpoint(folder, resume=True)
        model = RecordedModel(session, self._template.prior, checkpoint, self._progress)
        rows: dict[str, Row] = {}
        with session:
            first = session.evaluate(observed[0].theta[None], "check")
            sharing = []
            for one in observed:
                try:
                    check_fold(one, first.counts[0])
                    sharing.append(one)
                except ValueError as error:
                    rows[one.entry.name] = _failed(one.entry, error)
            library = CurveLibrary(_factors(model))
            known = self._known_curves(response) or self._earlier_curves(response)
            if known is not None:
                library.take(known)
            plan = Plan(
                self._template.prior, session.parameters, session.norms_by_component(), self._settings,
                self._record["options"], self._record["seed"], self._pictures,
            )  # fmt: skip

            def evaluate(u: Points, stage: str) -> NDArray[np.floating]:
                found = model(u, stage)
                counts = found.counts.numpy()
                counts[~found.usable] = np.nan
                return counts

            if sharing:
                train(plan, sharing, library, evaluate, self._progress)
                if self._settings.estimator == "variational":
                    guide = train_guide(plan, sharing, library, evaluate, number, self._progress)
                    plan = replace(plan, guide=guide)
                finished = self._draw(plan, sharing, library, evaluate, number, began)
                rows |= finished
        library.save(folder.parent / _curves_name(response))
        spent = Counter({"check": len(sharing), "flux": self._hand_over(sharing, rows) if sharing else 0})
        return rows, Counter(model.evaluations) + spent

    def _known_curves(self, response: Response) -> Path | None:
        """Curves through a response that the latest finished batch has left."""
        found = sorted((self._folder / CHECKPOINT).glob(f"batch_*/{_curves_name(response)}"))
        finished = [path for path in found if (path.parent / FINISHED).is_file()]
        for path in finished[:-1]:  # the last has them all
            path.unlink()
        return finished[-1] if finished else None

    def _earlier_curves(self, response: Response) -> Path | None:
        """Curves through a response that another survey has left, where it is to be learned from."""
        if not self._record.get("network"):
            return None
        earlier = Path(self._record["network"])
        found = sorted((earlier / CHECKPOINT).glob(f"batch_*/{_curves_name(response)}"))
        if found:
            log.info("network: curves are known from %s", earlier)
            return found[-1]
        log.warning("network: %s knows no curves through %s: they are measured.", earlier, Path(response.rmf).name)
        return None

    def _draw(
        self,
        plan: Plan,
        observed: list[Observed],
        library: CurveLibrary,
        evaluate: Any,
        number: int,
        began: float,
    ) -> dict[str, Row]:
        budget = int(self._settings.budget * len(observed))
        session = self._template.session
        with Crew(plan, observed, library, evaluate, session.workers, self._folder, session.cluster) as crew:
            shared = SharedDraws(crew, plan, len(observed), evaluate, Streams(plan.seed), number, budget)
            shared.run(self._progress)
            living = {k: () for k in range(len(observed)) if k not in shared.failed}
            best = crew.ask("optimum", living)
            shared.failed |= {k: str(found) for k, found in best.items() if isinstance(found, Failure)}
            best = {k: found for k, found in best.items() if k not in shared.failed}
            answers: dict[int, Any] = {}
            if best:
                counts = evaluate(np.array(list(best.values())), "best fit")
                seconds = (time.monotonic() - began) / len(observed)
                with self._progress.task("results and pictures", 1, "pictures"):
                    answers = crew.ask(
                        "finish",
                        {
                            k: (
                                self._folder / SPECTRA / observed[k].entry.name,
                                {"final": int(shared.own[k]), "best fit": 1, "check": 3},
                                u, counts[i], seconds,
                            )
                            for i, (k, u) in enumerate(best.items())
                        },
                    )  # fmt: skip
        rows = {}
        for k, one in enumerate(observed):
            entry, answer = one.entry, answers.get(k)
            if answer is None or isinstance(answer, Failure):
                rows[entry.name] = _failed(entry, answer or shared.failed.get(k, "it could not be finished"))
            else:
                data = one.observation.spectra[0]
                answer |= {"counts": float(data.counts.sum()), "bins": data.n_bins}
                answer |= {"unguided": shared.unguided.get(k, "")}
                rows[entry.name] = row_of(entry.name, str(entry.file), entry.time, answer)
        return rows

    def _hand_over(self, observed: Sequence[Observed], rows: dict[str, Row]) -> int:
        """Load each spectrum once more: save its session, and see that XSPEC's own statistic is what its draws have.

        Fluxes are computed then, too; returns how many evaluations they took.
        """
        spent, bands = 0, self._bands
        with self._progress.task("saving sessions", len(observed), "reading") as tick:
            for one in observed:
                tick()
                row = rows[one.entry.name]
                if row["status"] == "failed":
                    continue
                folder = self._folder / SPECTRA / one.entry.name
                session = self._template.load(one.entry)
                with session:
                    best = [row[f"{name}_best"] for name in session.names]
                    found = session.evaluate(np.array([best]), "check")
                    session.set(best)
                    session.save_xcm(folder / "session.xcm")
                theirs, ours = float(found.statistic[0]), row["statistic"]
                if not abs(theirs - ours) <= AGREES * abs(theirs) + 1e-3:
                    reason = f"XSPEC's statistic at the best fit is {theirs:.9g}, where the draws have {ours:.9g}"
                    log.warning("%s: %s", one.entry.name, reason)
                    row |= {"status": "unreliable", "reasons": "; ".join(filter(None, [row["reasons"], reason]))}
                if bands:
                    try:
                        fluxes, evaluations = flux_row(Result.load(folder), bands, self._template.module)
                    except Exception as error:  # a flux must not cost a posterior
                        log.warning("%s: no flux: %s", one.entry.name, error)
                        continue
                    row |= fluxes | {"evaluations": row["evaluations"] + evaluations}
                    spent += evaluations
        return spent

    def catalogue(self, rows: Sequence[Row]) -> None:
        """Write the catalogue of the rows so far."""
        units = dict(zip(self._template.session.names, self._template.session.units, strict=True))
        units |= {flux_name(band): "erg / (s cm2)" for band in self._bands}
        write_table(make_table(rows, units), self._folder)


def _failed(entry: Entry, reason: object) -> Row:
    return failed_row(entry.name, str(entry.file), entry.time, str(reason) or type(reason).__name__)


def _curves_name(response: Response) -> str:
    return f"curves_{crc32(repr(response.key).encode()):08x}.npz"


def _factors(model: RecordedModel) -> Factors:
    factors, why = model.factors()
    if factors is None:
        raise ValueError(
            f"The model cannot be taken apart into its components ({why}), which a survey shares. Fit each spectrum "
            "with `fit`."
        )
    return factors
