"""Model expressions and links: what they mean, how XSPEC prints them, and what it refuses."""

from __future__ import annotations

import pytest

from xspec_sixsa.embedded.expression import Product, Sum, attribute_names, parse
from xspec_sixsa.embedded.links import Link
from xspec_sixsa.embedded.state import XspecError


# Printed by XSPEC 12.9.1: `Model(expr).expression` in PyXspec 2.0.
@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("phabs(po)", "phabs*powerlaw"),
        ("phabs*(po)", "phabs*powerlaw"),
        ("(po)phabs", "powerlaw*phabs"),
        ("po*phabs", "powerlaw*phabs"),
        ("(phabs*wabs)*po", "(phabs*wabs)powerlaw"),
        ("po+phabs*(po+ga)+ga", "powerlaw + phabs(powerlaw + gaussian) + gaussian"),
        ("phabs(po+ga)wabs", "phabs(powerlaw + gaussian)wabs"),
        ("((po+ga))", "powerlaw + gaussian"),
        ("phabs*(wabs(po+ga))", "phabs(wabs(powerlaw + gaussian))"),
        ("phabs*(po)+ga", "phabs*powerlaw + gaussian"),
        ("(po+ga)*phabs*wabs", "(powerlaw + gaussian)phabs*wabs"),
        ("constant*phabs*(zphabs*(powerlaw)+po+gaussian)", "constant*phabs(zphabs*powerlaw + powerlaw + gaussian)"),
    ],
)
def test_expressions_print_as_in_xspec(typed: str, printed: str) -> None:
    assert parse(typed).text == printed


def test_component_numbers_run_from_left_to_right() -> None:
    assert parse("tbabs*(bbodyrad+po)").numbered == "TBabs<1>(bbodyrad<2> + powerlaw<3>)"


def test_nested_groups_keep_their_structure() -> None:
    tree = parse("constant*phabs*(zphabs*po+po)").tree
    assert isinstance(tree, Product) and isinstance(tree.members[-1], Sum)
    assert isinstance(tree.members[-1].members[0], Product)


def test_repeated_components_are_named_by_their_own_number() -> None:
    assert attribute_names(["constant", "phabs", "zphabs", "mekal", "mekal", "gaussian"])[4] == "mekal_5"
    assert attribute_names(["a table", "a table"]) == ["a_table", "a_table_2"]


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("po*po", "cannot multiply another add"),
        ("(po+po)*(ga+ga)", "Cannot multiply add component groups"),
        ("phabs", "must be additive"),
        ("phabs+po", "must contain an add component"),
        ("phabs*wabs", "must contain an add component"),
        ("phabs(", "end an expression"),
        ("phabs(po", "Unbalanced"),
        ("po)", "Unbalanced"),
        ("po+", "end an expression"),
        ("*po", "begin an expression"),
        ("phabs()*po", "empty parentheses"),
        ("po/2", "No '/' operator"),
        ("po phabs", "followed by"),
        ("po & ga", "Invalid character"),
        ("cflux*po", "cflux is a convolution"),
        ("nosuch", "nosuch"),
        ("", "required"),
    ],
)
def test_wrong_expressions_are_refused_by_name(typed: str, word: str, without_library: None) -> None:
    with pytest.raises(XspecError, match=word.replace("(", r"\(")):
        parse(typed)


class _Numbered:
    """Stands for a parameter of the given index and value."""

    link = None

    def __init__(self, index: int, value: float) -> None:
        self.reference, self.value = f"p{index}", value


PARAMETERS = {("", 2): _Numbered(2, 3.0), ("", 5): _Numbered(5, 4.0), ("bkg", 1): _Numbered(1, 7.0)}


def _find(name: str, index: int) -> _Numbered | None:
    return PARAMETERS.get((name, index))


# Values by hand; the printed forms as XSPEC 12.9.1 shows such links.
@pytest.mark.parametrize(
    ("typed", "value", "printed"),
    [
        ("p5*0.5+1.", 3.0, "= p5*0.5 + 1."),
        ("5", 4.0, "= p5"),
        ("5*2", 12.0, "= p5*p2"),  # a bare integer is a parameter where there is one of that number
        ("p5*9", 36.0, "= p5*9"),  # and a number where there is none
        ("p5*2.", 8.0, "= p5*2."),
        ("-p5+9.", 5.0, "=  - p5 + 9."),
        ("max(p5,2.)", 4.0, "= max(p5,2.)"),
        ("p5-1.0e-1*(2.+3.)^p2", 4.0 - 0.1 * 125.0, "= p5 - 1.0e-1(2. + 3.)^p2"),
        ("2.(p5)", 8.0, "= 2.(p5)"),
        ("sqrt(p5)/ln(exp(p2))", 2.0 / 3.0, "= sqrt(p5)/ln(exp(p2))"),
        ("log(100.*p5/p5)", 2.0, "= log(100.*p5/p5)"),
        ("bkg:1*p5", 28.0, "= p1*p5"),
    ],
)
def test_links_follow_xspec(typed: str, value: float, printed: str) -> None:
    link = Link(typed, _find)
    assert link.value(lambda parameter: parameter.value) == pytest.approx(value, rel=1e-14)  # double precision
    assert link.text == printed


def test_links_are_differentiable() -> None:
    import torch

    x = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    link = Link("sqrt(p5)*p2+max(p5,1.)", _find)
    link.value(lambda parameter: x if parameter is PARAMETERS["", 5] else parameter.value).backward()
    assert float(x.grad) == pytest.approx(3.0 / 4.0 + 1.0, rel=1e-14)


@pytest.mark.parametrize(
    "typed", ["3.0", "p99", "nope:1", "p5+", "p5**", "foo(p5)", "__import__('os')", "p5 p2", "exp(p5,p2)"]
)
def test_wrong_links_are_refused(typed: str) -> None:
    with pytest.raises(XspecError, match="ink expression"):
        Link(typed, _find)
