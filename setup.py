"""What pyproject.toml cannot say: the Tcl package lies beside the Python one, and is installed within it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["xspec_sixsa", "xspec_sixsa.*"]), "xspec_sixsa.tcl"],
    package_dir={"xspec_sixsa.tcl": "tcl"},
    package_data={
        "xspec_sixsa": ["py.typed"],
        "xspec_sixsa.products": ["templates/*.html"],
        "xspec_sixsa.embedded.components": ["tables/*.npz"],
        "xspec_sixsa.tcl": ["*.tcl"],
    },
)
