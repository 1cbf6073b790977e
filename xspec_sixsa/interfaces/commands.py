"""Commands about finished runs, one set for the shell (cli.py) and for XSPEC's prompt (tclside.py).

Each gives an `Answer`; how that is shown, and how an error is, the two ways in decide. Nothing heavy is imported before
a command needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xspec_sixsa.infer.settings import COMPRESSORS, ESTIMATORS, EXACT
from xspec_sixsa.interfaces.batch import survey_list
from xspec_sixsa.products.calibration import calibrate as run_calibration
from xspec_sixsa.products.plots.goodness import plot_qq
from xspec_sixsa.products.publish import citation
from xspec_sixsa.products.report import illustrate
from xspec_sixsa.result import Result
from xspec_sixsa.session.opened import open_run

if TYPE_CHECKING:
    from types import ModuleType

    from xspec_sixsa.products.derived import Derived
    from xspec_sixsa.result import Result

__all__ = [
    "DASK",
    "DATA",
    "PATH",
    "POSITIVE",
    "QUIET",
    "SEED",
    "WORKERS",
    "Answer",
    "compressor_option",
    "engine_option",
    "runs",
]

PATH = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)
SEED = click.IntRange(min=0)
QUIET = click.option("--quiet", "-q", is_flag=True, help="Only the answer and errors.")
WORKERS: dict[str, Any] = {"type": POSITIVE, "show_default": "the cores it may use"}
DASK = click.option("--dask", help="A Dask scheduler's address or file: its workers evaluate the model.")


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Attributes
    ----------
    text : str
        What is shown.
    numbers : mapping
        For scripts at XSPEC's prompt: names to numbers, words, lists and further mappings.
    well : bool, default True
        Whether nothing is wrong with the run, or between the runs; else the shell's exit code is 3.
    """

    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    well: bool = True


class Names(click.Choice):
    """One of the choices, or several with blanks or commas between them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        return [super(Names, self).convert(word, param, ctx) for word in re.split(r"[\s,]+", value.strip())]


def engine_option(
    *choices: str, about: str = "What evaluates the model; the same as in the run."
) -> Callable[..., Any]:
    """`--engine`; the first of the choices is the default."""
    choices = choices or ("auto", "xspec", "embedded")
    return click.option("--engine", type=click.Choice(choices), default=choices[0], show_default=True, help=about)


DATA = click.option("--data", type=PATH, help="Folder of the data, where they are not where they were.")


def opened_options(about: str = "What evaluates the model; the same as in the run.") -> Callable[..., Any]:
    """Options of the commands that bring the run's session back: `--engine` and `--data`."""
    return lambda command: engine_option(about=about)(DATA(command))


def compressor_option(about: str, **more: Any) -> Callable[..., Any]:
    """`--compressor`."""
    return click.option("--compressor", type=click.Choice(COMPRESSORS), help=about, **more)


def derived_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that compute a quantity at draws of a finished run."""
    for option in reversed(
        (
            click.option("--spectrum", type=POSITIVE, default=1, show_default=True, help="Seen by which spectrum."),
            click.option("--draws", type=POSITIVE, default=1000, show_default=True, help="Draws of the posterior."),
            opened_options(),
        )
    ):
        command = option(command)
    return command


DIRECTORY = click.argument("directory", type=PATH)
LOW, HIGH = click.argument("low", type=float), click.argument("high", type=float)
UNABSORBED = click.option("--unabsorbed", is_flag=True, help="With every column density (nH) at zero.")


@click.group()
def runs() -> None:
    """Commands about finished runs."""


@runs.command()
@DIRECTORY
def info(directory: Path) -> Answer:
    """Print the summary of the result in DIRECTORY."""
    result = Result.load(directory)
    return Answer(result.summary(), result.as_dict(), result.reliable)


@runs.command()
@DIRECTORY
@click.option("--format", "suffix", type=click.Choice(["png", "pdf", "svg"]), default="png", show_default=True)
def plot(directory: Path, suffix: str) -> Answer:
    """Draw the pictures of the result in DIRECTORY again, and (with PNG) the page that shows them."""
    made = illustrate(Result.load(directory), directory, suffix=suffix)
    if not made:
        raise RuntimeError(f"No picture of {directory} could be drawn; what was wrong is said above.")
    return Answer("\n".join(map(str, made)), {"files": [path.absolute() for path in made]})


@runs.command()
@DIRECTORY
def report(directory: Path) -> Answer:
    """Write report.html, one page with verdict, pictures, cost and provenance, for the result in DIRECTORY."""
    result = Result.load(directory)
    page = result.report(directory)
    return Answer(str(page), {"file": page.absolute(), "status": result.status}, result.reliable)


@runs.command()
@click.argument("directory", type=PATH, required=False)
@click.option("--bibtex", is_flag=True, help="BibTeX entries.")
def cite(directory: Path | None, bibtex: bool) -> Answer:
    """Say what to cite: for the software, or for the result in DIRECTORY, whose statistic and tables count too."""
    return Answer(citation(None if directory is None else Result.load(directory), bibtex=bibtex))


@runs.command()
@DIRECTORY
@LOW
@HIGH
@UNABSORBED
@derived_options
def flux(directory: Path, low: float, high: float, **options: Any) -> Answer:
    """Posterior of the flux from LOW to HIGH keV for the result in DIRECTORY."""
    result, module = _opened(directory, options)
    return _derived(result, result.flux(low, high, xspec=module, **options))


@runs.command()
@DIRECTORY
@LOW
@HIGH
@click.option("--redshift", "-z", required=True, help="A number, or the parameter that holds it: Redshift__4.")
@UNABSORBED
@derived_options
def lumin(
    directory: Path,
    low: float,
    high: float,
    redshift: str,
    engine: str = "auto",
    data: Path | None = None,
    **options: Any,
) -> Answer:
    """Posterior of the luminosity from LOW to HIGH keV, in the rest frame, for the result in DIRECTORY."""
    try:
        z: float | str = float(redshift)
    except ValueError:
        z = redshift
    result, module = _opened(directory, options)
    return _derived(result, result.lumin(low, high, z, xspec=module, **options))


@runs.command()
@DIRECTORY
@click.argument("component")
@click.option("--fraction", type=float, default=0.05, show_default=True, help="Range of the continuum about the peak.")
@derived_options
def eqwidth(directory: Path, component: str, **options: Any) -> Answer:
    """Posterior of the equivalent width of a COMPONENT (gaussian, 3, bkg:2) for the result in DIRECTORY."""
    result, module = _opened(directory, options)
    return _derived(result, result.eqwidth(component, xspec=module, **options))


@runs.command(epilog="Exit code 3 where they do not agree.")
@DIRECTORY
@click.option(
    "--with",
    "methods",
    multiple=True,
    type=Names(["bxa", "nautilus", "mcmc", "mh"]),
    help="Run it: BXA, nautilus, XSPEC's Goodman-Weare or Metropolis-Hastings chain; several as bxa,mcmc.",
)
@click.option("--read", multiple=True, type=PATH, help="Read a finished run: a BXA folder, an XSPEC chain.")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--limit", type=float, help="Seconds after which a nested sampler is given up.")
@click.option("--live", type=POSITIVE, help="Live points.", show_default="400 of BXA, 1500 of nautilus")
@click.option("--length", type=POSITIVE, help="Rows of XSPEC's chain.", show_default="40000")
@click.option("--workers", help="Processes that evaluate for nautilus.", **WORKERS)
@opened_options()
@QUIET
def compare(
    directory: Path,
    methods: tuple[list[str], ...],
    quiet: bool = False,
    **options: Any,
) -> Answer:
    """Run other methods on the problem of the result in DIRECTORY, and say whether they agree.

    Writes comparison.json, comparison.npz and compare_corner.png and .pdf there.
    """
    wanted = [name for names in methods for name in names]
    result, module = _opened(directory, options) if wanted else (Result.load(directory), None)
    options = {name: value for name, value in options.items() if name not in ("engine", "data")}
    found = result.compare(*wanted, xspec=module, progress=not quiet, **options)
    return Answer(str(found), found.as_dict(), found.agree)


@runs.command(epilog="Exit code 3 where it does not.")
@DIRECTORY
@compressor_option("Also say what spectra compressed in this way still know of the parameters (3000 evaluations).")
@opened_options("What evaluates the model for --compressor; the same as in the run.")
def diagnose(directory: Path, compressor: str | None, **options: Any) -> Answer:
    """Say whether the model of the result in DIRECTORY describes its data: goodness of fit, lines, outliers.

    Writes diagnosis.json and a qq_1.png for each spectrum there, and retriever.png with --compressor.
    """
    result = Result.load(directory)
    found = result.diagnose()
    found.save(directory)
    for number, spectrum in enumerate(result.predictive_data, 1):
        plot_qq(spectrum, directory / f"qq_{number}.png")
    text = str(found)
    if compressor is not None:
        from xspec_sixsa.products.retriever import retrieve_for

        result, module = _opened(directory, options)
        retrieval, evaluations = retrieve_for(result, compressor, xspec=module)
        retrieval.plot(directory / "retriever.png")
        text += f"\n\nParameters read from spectra of the whole prior ({compressor}, {evaluations} evaluations):"
        text += f"\n{retrieval}"
    return Answer(text, found.as_dict(), not found.complaints)


@runs.command(epilog="Exit code 3 where the weighted posteriors are not calibrated.")
@DIRECTORY
@click.option("-n", "n", type=click.IntRange(min=2), default=200, show_default=True, help="Simulated spectra.")
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option("--output", "-o", type=PATH, required=True, help="Folder for the calibration.")
@click.option("--resume", is_flag=True, help="Continue the calibration that the output folder holds, or enlarge it.")
@click.option("--target-ess", type=POSITIVE, default=200, show_default=True, help="Effective samples a spectrum.")
@click.option("--workers", help="Processes, one spectrum each.", **WORKERS)
@opened_options()
@QUIET
def calibrate(
    directory: Path,
    output: Path,
    quiet: bool = False,
    **options: Any,
) -> Answer:
    """Test the method on spectra simulated about the result in DIRECTORY: ranks and coverage of the truth.

    Writes calibration.json, ranks.png and coverage.png.
    """
    result, module = _opened(directory, options)
    found = run_calibration(result, output=output.absolute(), xspec=module, progress=not quiet, **options)
    return Answer(str(found), found.as_dict(), found.passed)


@runs.command()
@click.argument("directories", type=PATH, nargs=-1, required=True)
@click.option("--output", "-o", type=PATH, help="Folder for ranking.json, ranking.png and ranking.pdf.")
def rank(directories: tuple[Path, ...], output: Path | None) -> Answer:
    """Rank the models of the results in DIRECTORIES, all on the same data, by evidence and predictive score."""
    from xspec_sixsa.compare.ranking import rank as rank_models

    found = rank_models(directories)
    text = str(found)
    if output is not None:
        found.save(output)
        text += f"\nSaved in {output}"
    return Answer(text, found.as_dict(), all(model.status == "reliable" for model in found.models))


@runs.command(epilog="Exit code 3 where a spectrum is unreliable or failed.")
@click.argument("spectra", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="Folder for catalogue, overview and results.")
@click.option("--session", type=PATH, help="Session with the model and one spectrum.", show_default="the list's")
@click.option("--priors", type=PATH, help="TOML file of priors.", show_default="the list's")
@click.option("--prior", "words", multiple=True, hidden=True, help="One parameter's, as the prompt has it.")
@click.option("--ignore", help="What XSPEC's ignore is told for each spectrum.", show_default="the list's")
@click.option("--flux", nargs=2, type=float, multiple=True, help="Band (keV) whose flux is wanted; several times.")
@click.option("--target-ess", type=POSITIVE, help="Effective samples of each spectrum.", show_default="1000")
@click.option("--budget", type=POSITIVE, help="Most evaluations for each spectrum.", show_default="2000")
@click.option(
    "--estimator",
    type=click.Choice(ESTIMATORS),
    help="variational: exploration begins with a guide's draws, one guide for all spectra.",
    show_default="the prior's draws",
)
@click.option("--exact", type=click.Choice(EXACT), help="As for fit.", show_default="control")
@click.option("--seed", type=SEED, help="Same seed, same answer.", show_default="drawn")
@click.option("--batch", type=POSITIVE, default=100, show_default=True, help="Spectra inferred together.")
@click.option("--resume", is_flag=True, help="Continue the survey that the output folder holds.")
@click.option("--time-limit", type=float, help="Seconds after which the survey ends, resumable.")
@click.option("--clobber", is_flag=True, help="Replace the survey that the output folder holds (only our own files).")
@click.option("--workers", help="Processes.", **WORKERS)
@DASK
@click.option("--network", type=PATH, help="Folder of a survey with this model and these priors, to learn from it.")
@opened_options("The real XSPEC, the embedded engine, or the first of them that there is.")
@QUIET
def survey(spectra: Path, output: Path, quiet: bool = False, **options: Any) -> Answer:
    """Fit each of many SPECTRA (a list.toml of files, session and priors), sharing what is evaluated among them.

    Writes catalogue.fits, catalogue.csv, overview.html, and a result's folder for each spectrum.
    """
    prompt: Callable[[], ModuleType] | None = click.get_current_context().obj
    found = survey_list(spectra, output=output, xspec=prompt, progress=not quiet, **options)
    return Answer(str(found), found.as_dict(), found.reliable)


def _opened(directory: Path, options: dict[str, Any]) -> tuple[Result, ModuleType]:
    """The result, and the engine with its session: the prompt's own, where the command comes from there.

    `engine` and `data` are taken out of the options.
    """
    session: Callable[[], ModuleType] | None = click.get_current_context().obj
    engine, data = options.pop("engine", "auto"), options.pop("data", None)
    return open_run(directory, engine, data) if session is None else (Result.load(directory), session())


def _derived(result: Result, found: Derived) -> Answer:
    text = found.summary()
    if not result.reliable:
        text += f"\nThe run is UNRELIABLE: {'; '.join(result.reasons)}"
    return Answer(text, found.as_dict() | {"status": result.status}, result.reliable)
