"""Package metadata and dependencies; build system and tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "xspec_sixsa" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

setup(
    name="xspec_sixsa",
    version=VERSION,
    description="Exact Bayesian posteriors of X-ray spectral models, inside XSPEC",
    packages=find_packages(include=["xspec_sixsa", "xspec_sixsa.*"]),
    include_package_data=True,
    python_requires=">=3.10",
    install_requires=["numpy", "scipy", "astropy", "torch", "sbi", "zuko", "corner", "matplotlib", "click", "tqdm"],
    entry_points={"console_scripts": ["sixsa = xspec_sixsa.cli:main"]},
)
