"""The command `sixsa`. Exit codes: 0 reliable, 3 unreliable, 2 bad input, 1 a fault of the program.

Nothing heavy is imported before a command needs it, so that `sixsa -h` and refusals of bad input are quick.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xspec_sixsa import __version__
from xspec_sixsa.common.deadline import Stopped, ends_on_sigterm
from xspec_sixsa.embedded.componenttype import OWN
from xspec_sixsa.infer.settings import EMULATORS, ESTIMATORS, EXACT, TRAINING
from xspec_sixsa.interfaces.batch import check_session, fit_session, start_session
from xspec_sixsa.interfaces.commands import (
    DASK,
    DATA,
    PATH,
    POSITIVE,
    QUIET,
    SEED,
    WORKERS,
    Answer,
    compressor_option,
    engine_option,
    runs,
)
from xspec_sixsa.interfaces.demo import run_demo
from xspec_sixsa.interfaces.doctor import examine
from xspec_sixsa.interfaces.tclinstall import install_tcl as write_tcl
from xspec_sixsa.interfaces.tclinstall import remove_tcl, user_folder

__all__ = ["main"]

EXIT_FAULT, EXIT_BAD_INPUT, EXIT_UNRELIABLE = 1, 2, 3
# What a mistake in the program looks like, as opposed to input that cannot work. PyXspec raises plain Exceptions.
FAULTS = (AssertionError, AttributeError, LookupError, NameError, NotImplementedError, TypeError, ZeroDivisionError)
NETWORK = click.option("--network", type=PATH, help="Folder of a run with this model and response, to learn from it.")


class Shell(click.Group):
    """Its commands end with one clear message on stderr instead of a traceback, and with the exit code."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(guarded(cmd), name)


def guarded(command: click.Command) -> click.Command:
    """The command with errors told and exit codes made; `--debug` shows the traceback."""
    callback = command.callback
    if callback is None:
        raise TypeError(f"The command {command.name} does nothing.")

    @functools.wraps(callback)
    def run(*, debug: bool, **options: Any) -> None:
        logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING, force=True)
        level = logging.DEBUG if debug else logging.WARNING if options.get("quiet") else logging.INFO
        logging.getLogger("xspec_sixsa").setLevel(level)
        if not debug:
            # Warnings of libraries speak to programmers; ours are log messages.
            warnings.simplefilter("ignore")
        ends_on_sigterm()
        try:
            code = callback(**options)
            if isinstance(code, Answer):
                click.echo(code.text)
                code = 0 if code.well else EXIT_UNRELIABLE
        except click.ClickException:
            raise
        except KeyboardInterrupt as stop:
            ended = stop if isinstance(stop, Stopped) else Stopped()
            click.echo(str(ended), err=True)
            code = 128 + ended.signum
        except BrokenPipeError:
            # whoever reads, such as `head`, has seen enough; what is left in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
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

    command = copy.copy(command)
    debug = click.Option(["--debug"], is_flag=True, help="Show the traceback of an error, and more messages.")
    command.params, command.callback = [*command.params, debug], run
    return command


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `fit` and `demo` share."""
    for option in reversed(
        (
            click.option("--seed", type=SEED, help="Same seed, same answer.", show_default="drawn"),
            click.option("--target-ess", type=POSITIVE, help="Effective sample size wanted.", show_default="1000"),
            click.option("--budget", type=POSITIVE, help="Most evaluations of the model.", show_default="20000"),
            compressor_option("How spectra are summarised for the network.", show_default="autoencoder"),
            click.option(
                "--estimator",
                type=click.Choice(ESTIMATORS),
                help="What learns the posterior of compressed spectra: a flow, basis functions, a variational guide.",
                show_default="npe",
            ),
            click.option(
                "--training",
                type=click.Choice(TRAINING),
                help="Learn from emulated spectra, made by component where the model allows it; from spectra emulated "
                "whole; or from simulations only (SIXSA III's rounds).",
                show_default="emulated",
            ),
            click.option(
                "--emulator",
                type=click.Choice(EMULATORS),
                help="What emulates spectra: principal components and kernels, or networks (paired auto-encoders).",
                show_default="linear",
            ),
            click.option(
                "--exact",
                type=click.Choice(EXACT),
                help="Each draw an exact evaluation, or many emulated draws corrected by a few exact ones.",
                show_default="draws",
            ),
            click.option("--workers", help="Processes that evaluate real XSPEC.", **WORKERS),
            QUIET,
        )
    ):
        command = option(command)
    return command


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="sixsa")
def main() -> None:
    """Exact Bayesian posteriors of X-ray spectra, from XSPEC session files.

    Exit codes: 0 reliable, 3 unreliable, 2 bad input.
    """


for finished in runs.commands.values():
    main.add_command(finished)


@main.command()
@click.argument("session", type=PATH)
@click.option("--priors", type=PATH, help="TOML file of priors.", show_default="XSPEC's own limits and bayes")
@click.option("--output", "-o", type=PATH, required=True, help="Folder for the result.")
@fit_options
@DASK
@NETWORK
@click.option("--resume", is_flag=True, help="Continue the run that the output folder holds.")
@click.option("--time-limit", type=float, help="Seconds after which the run ends with what it has, resumable.")
@click.option("--clobber", is_flag=True, help="Replace the run that the output folder holds (only our own files).")
@DATA
@engine_option(about="The real XSPEC, the embedded engine, or the first of them that there is.")
def fit(session: Path, quiet: bool, **options: Any) -> Answer:
    """Fit the SESSION (an .xcm file written by XSPEC's `save all`) and write the posterior to a folder."""
    result = fit_session(session, progress=not quiet, **options)
    return Answer(result.summary(), well=result.reliable)


@main.command(epilog="Exit code 3 where the priors cannot reach the data, or the model fails for many draws.")
@click.argument("session", type=PATH)
@click.option("--priors", type=PATH, help="TOML file of priors.", show_default="XSPEC's own limits and bayes")
@click.option("--output", "-o", type=PATH, default=Path("sixsa_check"), show_default=True, help="Folder for pictures.")
@click.option("--draws", type=click.IntRange(min=2), default=200, show_default=True, help="Draws of the priors.")
@click.option("--seed", type=SEED, help="Same seed, same draws.", show_default="drawn")
@click.option("--workers", help="Processes that evaluate real XSPEC.", **WORKERS)
@DATA
@engine_option(about="The real XSPEC, the embedded engine, or the first of them that there is.")
def check(session: Path, output: Path, **options: Any) -> Answer:
    """Say what the priors of the SESSION expect beside its data, and what a fit will cost; before any is made."""
    found = check_session(session, **options)
    pictures = found.plot(output)
    return Answer("\n".join([str(found), *map(str, pictures)]), well=found.well)


@main.command(epilog="Exit code 3 where XSPEC is left without a valid fit, or what was there before fits better.")
@click.argument("session", type=PATH)
@click.option("--priors", type=PATH, help="TOML file of priors.", show_default="XSPEC's own limits and bayes")
@click.option("--output", "-o", type=PATH, required=True, help="Session file (.xcm) that is written.")
@click.option("--seed", type=SEED, help="Same seed, same answer.", show_default="drawn")
@click.option("--workers", help="Processes that evaluate real XSPEC.", **WORKERS)
@NETWORK
@click.option("--clobber", is_flag=True, help="Replace the session file that is there.")
@DATA
@engine_option(about="The real XSPEC, the embedded engine, or the first of them that there is.")
@QUIET
def start(session: Path, output: Path, quiet: bool, **options: Any) -> Answer:
    """Find where a fit of the SESSION should begin, by paired auto-encoders, fit from there, and save the session."""
    found = start_session(session, output=output, progress=not quiet, **options)
    return Answer(f"{found}\nSaved in {output}", well=found.well)


@main.command()
@click.option("--output", "-o", type=PATH, default=Path("sixsa_demo"), show_default=True, help="Folder for all files.")
@fit_options
@click.option("--clobber", is_flag=True, help="Replace the demo that the output folder holds.")
@engine_option("embedded", "xspec", "auto", about="The engine that fits; the embedded one makes the spectrum.")
def demo(output: Path, quiet: bool, **options: Any) -> Answer:
    """Make an EPIC-pn-like response and spectrum, fit it, and see whether the truth is recovered."""
    report = run_demo(output, progress=not quiet, **options)
    return Answer(f"{report.result.summary()}\n\n{report.text()}", well=report.result.reliable)


@main.command()
@click.argument("name", required=False)
def models(name: str | None) -> int:
    """List the embedded engine's models, their parameters and where they come from, or only the one of this NAME."""
    from xspec_sixsa.embedded.components import available, lookup
    from xspec_sixsa.embedded.library.catalogue import library

    kinds = {"add": "additive", "mul": "multiplicative", "con": "convolution"}
    every = available()
    chosen = [lookup(name)] if name else [every[key] for key in sorted(every, key=str.lower)]
    for component in chosen:
        origin = f"{OWN}, differentiable" if component.origin == OWN else component.origin
        click.echo(f"{component.name}  ({kinds[component.kind]}; {origin})")
        for p in component.parameters:
            frozen = "  frozen" if p.delta <= 0 else ""
            limits = f"{p.hard_min:g} .. {p.hard_max:g}{frozen}" if p.kind == "variable" else p.kind
            unit = f" {p.unit}" if p.unit else ""
            click.echo(f"    {p.name:<10} {p.value:<10g}{unit:<8} {limits}")
    if not name:
        own = sum(component.origin == OWN for component in chosen)
        click.echo(f"{len(chosen)} models, {own} of them our own, besides tables (atable, mtable, etable).")
        click.echo("Additive ones have a norm as well.")
        if library() is None:
            click.echo("XSPEC's other models: pip install xspectrampoline (Linux, macOS), or HEASoft (`sixsa doctor`).")
        else:
            click.echo("Those that read data files say which and where to get them. Mixing models need HEASoft.")
    return 0


@main.command("install-tcl")
@click.option("--remove", is_flag=True, help="Take the package away again.")
def install_tcl(remove: bool) -> int:
    """Put the Tcl package where the program xspec finds it (~/.xspec/sixsa)."""
    if remove:
        removed = remove_tcl()
        click.echo(f"Removed {removed[0].parent}." if removed else f"Nothing of ours is in {user_folder()}.")
    else:
        written = write_tcl()
        names = ", ".join(path.name for path in written)
        click.echo(f"Wrote {names} to {written[0].parent}; nothing else was touched.")
        click.echo(f"Python: {sys.executable}")
        click.echo("In XSPEC: package require sixsa, then `sixsa ?`. Once for all: add that line to ~/.xspec/xspec.rc")
    return 0


@main.command()
def doctor() -> int:
    """Say what is installed, whether XSPEC works, and what to do."""
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


if __name__ == "__main__":
    main()
