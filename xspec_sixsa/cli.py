"""The command `sixsa`. Exit codes: 0 reliable, 3 unreliable, 2 bad input, 1 a fault of the program.

Nothing heavy is imported before a command needs it, so that `sixsa -h` and refusals of bad input are quick.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__

if TYPE_CHECKING:
    from .result import Result

__all__ = ["main"]

EXIT_FAULT, EXIT_BAD_INPUT, EXIT_UNRELIABLE = 1, 2, 3
# What a mistake in the program looks like, as opposed to input that cannot work. PyXspec raises plain Exceptions.
FAULTS = (AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError, ZeroDivisionError)

PATH = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)


def guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """One clear message on stderr instead of a traceback, and the exit code; `--debug` shows the traceback."""

    @click.option("--debug", is_flag=True, help="Show the traceback of an error, and more messages.")
    @functools.wraps(command)
    def run(*args: Any, debug: bool, **kwargs: Any) -> None:
        logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING, force=True)
        quiet = kwargs.get("quiet", False)
        level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
        logging.getLogger("xspec_sixsa").setLevel(level)
        if not debug:
            # Warnings of libraries speak to programmers; ours are log messages.
            warnings.simplefilter("ignore")
        try:
            code = command(*args, **kwargs)
        except click.ClickException:
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            code = 130
        except Exception as error:
            if debug:
                raise
            fault = isinstance(error, FAULTS) or (
                isinstance(error, ImportError) and str(error.name).startswith("xspec_sixsa")
            )
            name = f"{type(error).__name__}: " if fault or not str(error) else ""
            click.echo(f"Error: {name}{error}", err=True)
            if fault:
                click.echo("A fault of xspec_sixsa, it seems: repeat with --debug and report the traceback.", err=True)
            code = EXIT_FAULT if fault else EXIT_BAD_INPUT
        sys.exit(code or 0)

    return run


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `fit` and `demo` share."""
    for option in reversed(
        (
            click.option("--seed", type=click.IntRange(min=0), help="Same seed, same answer.", show_default="drawn"),
            click.option("--target-ess", type=POSITIVE, help="Effective sample size wanted.", show_default="1000"),
            click.option("--budget", type=POSITIVE, help="Most evaluations of the model.", show_default="20000"),
            click.option(
                "--compressor",
                type=click.Choice(["autoencoder", "pca", "bands", "none"]),
                help="How spectra are summarised for the network.",
                show_default="autoencoder",
            ),
            click.option(
                "--training",
                type=click.Choice(["emulated", "simulated"]),
                help="Train on emulated spectra, or on simulations only (SIXSA III's rounds).",
                show_default="emulated",
            ),
            click.option(
                "--workers", type=POSITIVE, help="Processes that evaluate real XSPEC.", show_default="all cores"
            ),
            click.option("--quiet", "-q", is_flag=True, help="Only the summary and errors."),
        )
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="sixsa")
def main() -> None:
    """Exact Bayesian posteriors of X-ray spectra, from XSPEC session files.

    Exit codes: 0 reliable, 3 unreliable, 2 bad input.
    """


@main.command()
@click.argument("session", type=PATH)
@click.option("--priors", type=PATH, help="TOML file of priors.", show_default="XSPEC's own limits and bayes")
@click.option("--output", "-o", type=PATH, required=True, help="Folder for the result.")
@fit_options
@click.option("--resume", is_flag=True, help="Continue the run that the output folder holds.")
@click.option("--clobber", is_flag=True, help="Replace the run that the output folder holds (only our own files).")
@click.option(
    "--engine",
    type=click.Choice(["auto", "xspec", "embedded"]),
    default="auto",
    show_default=True,
    help="The real XSPEC, the embedded engine, or the first of them that there is.",
)
@guarded
def fit(session: Path, quiet: bool, **options: Any) -> int:
    """Fit the SESSION (an .xcm file written by XSPEC's `save all`) and write the posterior to a folder."""
    from .batch import fit_session

    _end_as_an_interrupt()
    result = fit_session(session, progress=not quiet, **options)
    click.echo(result.summary())
    return _code(result)


@main.command()
@click.option("--output", "-o", type=PATH, default=Path("sixsa_demo"), show_default=True, help="Folder for all files.")
@fit_options
@click.option("--clobber", is_flag=True, help="Replace the demo that the output folder holds.")
@click.option(
    "--engine",
    type=click.Choice(["embedded", "xspec", "auto"]),
    default="embedded",
    show_default=True,
    help="The engine that fits; the spectrum is always made by the embedded one.",
)
@guarded
def demo(output: Path, quiet: bool, **options: Any) -> int:
    """Make an EPIC-pn-like response and spectrum, fit it, and see whether the truth is recovered."""
    from .demo import run_demo

    _end_as_an_interrupt()
    report = run_demo(output, progress=not quiet, **options)
    click.echo(report.result.summary())
    click.echo()
    click.echo(report.text())
    return _code(report.result)


@main.command()
@click.argument("directory", type=PATH)
@click.option("--format", "suffix", type=click.Choice(["png", "pdf", "svg"]), default="png", show_default=True)
@guarded
def plot(directory: Path, suffix: str) -> int:
    """Draw the pictures of the result in DIRECTORY again, and (with PNG) the page that shows them."""
    from .plots import plot_all
    from .result import Result

    made = plot_all(Result.load(directory), directory, suffix=suffix)
    for path in made:
        click.echo(str(path))
    return 0 if made else EXIT_FAULT


@main.command()
@click.argument("directory", type=PATH)
@guarded
def report(directory: Path) -> int:
    """Write report.html, one page with verdict, pictures, cost and provenance, for the result in DIRECTORY."""
    from .result import Result

    result = Result.load(directory)
    click.echo(str(result.report(directory)))
    return _code(result)


@main.command()
@click.argument("directory", type=PATH, required=False)
@click.option("--bibtex", is_flag=True, help="BibTeX entries.")
@guarded
def cite(directory: Path | None, bibtex: bool) -> int:
    """Say what to cite: for the software, or for the result in DIRECTORY, whose statistic and tables count too."""
    from .publish import citation
    from .result import Result

    click.echo(citation(None if directory is None else Result.load(directory), bibtex=bibtex))
    return 0


def _band(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, float]:
    try:
        low, high = (float(x) for x in value.split("-"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no band: give two energies in keV, as in 2-10.") from None
    return low, high


def derived_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that evaluate the model at draws of a finished run."""
    for option in reversed(
        (
            click.option("--spectrum", type=POSITIVE, default=1, show_default=True, help="Seen by which spectrum."),
            click.option("--draws", type=POSITIVE, default=1000, show_default=True, help="Draws of the posterior."),
            click.option(
                "--engine", type=click.Choice(["auto", "xspec", "embedded"]), default="auto", show_default=True
            ),
        )
    ):
        command = option(command)
    return command


UNABSORBED = click.option("--unabsorbed", is_flag=True, help="With every column density (nH) at zero.")


@main.command()
@click.argument("directory", type=PATH)
@click.argument("band", callback=_band)
@UNABSORBED
@derived_options
@guarded
def flux(directory: Path, band: tuple[float, float], engine: str, **options: Any) -> int:
    """Posterior of the flux in a BAND (such as 2-10, keV) for the result in DIRECTORY."""
    from .batch import open_run

    result, module = open_run(directory, engine)
    click.echo(result.flux(*band, xspec=module, **options).summary())
    return _code(result)


@main.command()
@click.argument("directory", type=PATH)
@click.argument("band", callback=_band)
@click.option("--redshift", "-z", required=True, help="A number, or the parameter that holds it: Redshift__4.")
@UNABSORBED
@derived_options
@guarded
def lumin(directory: Path, band: tuple[float, float], redshift: str, engine: str, **options: Any) -> int:
    """Posterior of the luminosity in a rest-frame BAND (such as 2-10, keV) for the result in DIRECTORY."""
    from .batch import open_run

    try:
        z: float | str = float(redshift)
    except ValueError:
        z = redshift
    result, module = open_run(directory, engine)
    click.echo(result.lumin(*band, z, xspec=module, **options).summary())
    return _code(result)


@main.command()
@click.argument("directory", type=PATH)
@click.argument("component")
@click.option("--fraction", type=float, default=0.05, show_default=True, help="Range of the continuum about the peak.")
@derived_options
@guarded
def eqwidth(directory: Path, component: str, engine: str, **options: Any) -> int:
    """Posterior of the equivalent width of a COMPONENT (gaussian, 3, bkg:2) for the result in DIRECTORY."""
    from .batch import open_run

    result, module = open_run(directory, engine)
    click.echo(result.eqwidth(component, xspec=module, **options).summary())
    return _code(result)


@main.command()
@click.argument("directory", type=PATH)
@guarded
def info(directory: Path) -> int:
    """Print the summary of the result in DIRECTORY."""
    from .result import Result

    result = Result.load(directory)
    click.echo(result.summary())
    return _code(result)


@main.command()
@click.argument("directory", type=PATH)
@click.option(
    "--with",
    "methods",
    multiple=True,
    type=click.Choice(["bxa", "nautilus", "mcmc", "mh"]),
    help="Run it: BXA, nautilus, XSPEC's Goodman-Weare or Metropolis-Hastings chain. Repeat for several.",
)
@click.option("--read", multiple=True, type=PATH, help="Read a finished run: a BXA folder, an XSPEC chain.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--limit", type=float, help="Seconds after which a nested sampler is given up.")
@click.option("--live", type=POSITIVE, help="Live points.", show_default="400 of BXA, 1500 of nautilus")
@click.option("--length", type=POSITIVE, help="Rows of XSPEC's chain.", show_default="40000")
@click.option("--workers", type=POSITIVE, help="Processes that evaluate for nautilus.", show_default="all cores")
@click.option(
    "--engine",
    type=click.Choice(["auto", "xspec", "embedded"]),
    default="auto",
    show_default=True,
    help="What evaluates the model; the same as in the run.",
)
@click.option("--quiet", "-q", is_flag=True, help="Only the comparison and errors.")
@guarded
def compare(directory: Path, methods: tuple[str, ...], quiet: bool, engine: str, **options: Any) -> int:
    """Run other methods on the problem of the result in DIRECTORY, and say whether they agree.

    Writes comparison.json, comparison.npz and compare_corner.png and .pdf there. Exit code 3 where they do not agree.
    """
    from .batch import load_engine
    from .result import Result

    result = Result.load(directory)
    module = load_engine(engine) if methods else None
    found = result.compare(*methods, xspec=module, restore=True, progress=not quiet, **options)
    click.echo(str(found))
    return 0 if found.agree else EXIT_UNRELIABLE


@main.command()
@click.argument("directory", type=PATH)
@click.option(
    "--compressor",
    type=click.Choice(["autoencoder", "pca", "bands", "none"]),
    help="Also say what spectra compressed in this way still know of the parameters (3000 evaluations).",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "xspec", "embedded"]),
    default="auto",
    show_default=True,
    help="What evaluates the model for --compressor; the same as in the run.",
)
@guarded
def diagnose(directory: Path, compressor: str | None, engine: str) -> int:
    """Say whether the model of the result in DIRECTORY describes its data: goodness of fit, lines, outliers.

    Writes diagnosis.json and a qq_1.png for each spectrum there, and retriever.png with --compressor. Exit code 3 where
    it does not.
    """
    from .plots.goodness import plot_qq
    from .result import Result

    result = Result.load(directory)
    found = result.diagnose()
    found.save(directory)
    for number, spectrum in enumerate(result.predictive_data, 1):
        plot_qq(spectrum, directory / f"qq_{number}.png")
    click.echo(str(found))
    if compressor is not None:
        from .batch import open_run
        from .retriever import retrieve_for

        result, module = open_run(directory, engine)
        retrieval, evaluations = retrieve_for(result, compressor, xspec=module)
        click.echo(f"\nParameters read from spectra of the whole prior ({compressor}, {evaluations} evaluations):")
        click.echo(str(retrieval))
        retrieval.plot(directory / "retriever.png")
    return EXIT_UNRELIABLE if found.complaints else 0


@main.command()
@click.argument("directory", type=PATH)
@click.option("-n", "n", type=click.IntRange(min=2), default=200, show_default=True, help="Simulated spectra.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--output", "-o", type=PATH, required=True, help="Folder for the calibration.")
@click.option("--resume", is_flag=True, help="Continue the calibration that the output folder holds, or enlarge it.")
@click.option("--target-ess", type=POSITIVE, default=200, show_default=True, help="Effective samples a spectrum.")
@click.option("--workers", type=POSITIVE, help="Processes, one spectrum each.", show_default="all cores")
@click.option(
    "--engine",
    type=click.Choice(["auto", "xspec", "embedded"]),
    default="auto",
    show_default=True,
    help="What evaluates the model; the same as in the run.",
)
@click.option("--quiet", "-q", is_flag=True, help="Only the calibration and errors.")
@guarded
def calibrate(directory: Path, output: Path, engine: str, quiet: bool, **options: Any) -> int:
    """Test the method on spectra simulated about the result in DIRECTORY: ranks and coverage of the truth.

    Writes calibration.json, ranks.png and coverage.png. Exit code 3 where the weighted posteriors are not calibrated.
    """
    from .batch import open_run
    from .calibration import calibrate as run_calibration

    _end_as_an_interrupt()
    result, module = open_run(directory, engine)
    found = run_calibration(result, output=output.absolute(), xspec=module, progress=not quiet, **options)
    click.echo(str(found))
    return 0 if found.passed else EXIT_UNRELIABLE


@main.command()
@click.argument("directories", type=PATH, nargs=-1, required=True)
@click.option("--output", "-o", type=PATH, help="Folder for ranking.json, ranking.png and ranking.pdf.")
@guarded
def rank(directories: tuple[Path, ...], output: Path | None) -> int:
    """Rank the models of the results in DIRECTORIES, all on the same data, by evidence and predictive score."""
    from .compare import rank as rank_models

    found = rank_models(directories)
    click.echo(str(found))
    if output is not None:
        found.save(output)
        click.echo(f"Saved in {output}")
    return 0 if all(model.status == "reliable" for model in found.models) else EXIT_UNRELIABLE


@main.command()
@click.argument("name", required=False)
@guarded
def models(name: str | None) -> int:
    """List the embedded engine's models with their parameters, or only the one of this NAME."""
    from .embedded.components import REGISTRY, lookup

    kinds = {"add": "additive", "mul": "multiplicative", "con": "convolution"}
    chosen = [lookup(name)] if name else [REGISTRY[key] for key in sorted(REGISTRY, key=str.lower)]
    for component in chosen:
        click.echo(f"{component.name}  ({kinds.get(component.kind, component.kind)})")
        for p in component.parameters:
            frozen = "  frozen" if p.delta <= 0 else ""
            unit = f" {p.unit}" if p.unit else ""
            click.echo(f"    {p.name:<10} {p.value:<10g}{unit:<8} {p.hard_min:g} .. {p.hard_max:g}{frozen}")
    if not name:
        click.echo(f"{len(chosen)} models, besides tables (atable, mtable, etable). Additive ones have a norm as well.")
        click.echo("Every other model of XSPEC needs HEASoft: `sixsa doctor` says whether it is there.")
    return 0


@main.command("install-tcl")
@click.option("--remove", is_flag=True, help="Take the package away again.")
@guarded
def install_tcl(remove: bool) -> int:
    """Put the Tcl package where the program xspec finds it (~/.xspec/sixsa)."""
    from .tclinstall import install_tcl, remove_tcl, user_folder

    if remove:
        removed = remove_tcl()
        click.echo(f"Removed {removed[0].parent}." if removed else f"Nothing of ours is in {user_folder()}.")
    else:
        written = install_tcl()
        names = ", ".join(path.name for path in written)
        click.echo(f"Wrote {names} to {written[0].parent}; nothing else was touched.")
        click.echo(f"Python: {sys.executable}")
        click.echo("In XSPEC: package require sixsa, then `sixsa ?`. Once for all: add that line to ~/.xspec/xspec.rc")
    return 0


@main.command()
@guarded
def doctor() -> int:
    """Say what is installed, whether XSPEC works, and what to do."""
    from .doctor import examine

    click.echo(f"xspec_sixsa {__version__}")
    findings = examine()
    for finding in findings:
        mark = {True: "ok", False: "PROBLEM", None: "-"}[finding.ok]
        click.echo(f"{mark:<8} {finding.subject:<17} {finding.text}")
        if finding.remedy and not finding.ok:
            click.echo(f"{'':<8} {'':<17} -> {finding.remedy}")
    problems = sum(finding.ok is False for finding in findings)
    click.echo(f"{problems} problem(s) found." if problems else "All that is needed works.")
    return EXIT_BAD_INPUT if problems else 0


def _end_as_an_interrupt() -> None:
    """Let a batch queue's SIGTERM end the run as Ctrl-C does: what it has is saved, and can be resumed."""
    owner = os.getpid()

    def end(signum: int, frame: object) -> None:
        # Workers are forked from here and inherit this; they shall just die.
        if os.getpid() != owner:
            os._exit(128 + signum)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def _code(result: Result) -> int:
    return 0 if result.reliable else EXIT_UNRELIABLE


if __name__ == "__main__":
    main()
