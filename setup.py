"""Package metadata and dependencies; build system and tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "xspec_sixsa" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

EXTRAS = {
    "bxa": ["bxa>=5.0", "six"],  # ultranest imports six without asking for it
    "nautilus": ["nautilus-sampler>=1.0"],
    "pandas": ["pandas"],
    "arviz": ["arviz"],
    "getdist": ["getdist"],
}
# What the test suite needs beyond the package: the linter, the samplers it compares with, and the exports it makes.
EXTRAS["test"] = ["pytest>=7.4", "pytest-xdist>=3.5", "ruff>=0.6", *(p for extra in EXTRAS.values() for p in extra)]

setup(
    name="xspec_sixsa",
    version=VERSION,
    description="Exact Bayesian posteriors of X-ray spectral models, inside XSPEC",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    # tcl/ is shipped as xspec_sixsa/tcl
    packages=[*find_packages(include=["xspec_sixsa", "xspec_sixsa.*"]), "xspec_sixsa.tcl"],
    package_dir={"xspec_sixsa.tcl": "tcl"},
    package_data={
        "xspec_sixsa.products": ["templates/*"],
        "xspec_sixsa.embedded.components": ["tables/*"],
        "xspec_sixsa.tcl": ["*.tcl"],
    },
    include_package_data=True,
    python_requires=">=3.10",
    install_requires=[
        "numpy>=1.24",
        "scipy>=1.11",
        "astropy>=6.0",
        "torch>=2.4",
        "sbi>=0.25",
        "zuko>=1.3",
        "scikit-learn>=1.3",
        "threadpoolctl>=3.1",
        "corner>=2.2",
        "matplotlib>=3.7",
        "click>=8.1",
        "tqdm>=4.60",
        "jinja2>=3.0",
        'tomli>=2.0; python_version < "3.11"',
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sixsa = xspec_sixsa.interfaces.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Operating System :: POSIX",
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
)
