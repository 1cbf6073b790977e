"""Model expressions: what `Model("TBabs*(bbodyrad+powerlaw)")` means.

An expression is a sum of products.  Each product holds exactly one additive member (an additive component or a
parenthesised sum), any number of multiplicative ones, and convolutions, which work on all that follows them; a missing
``*`` beside a parenthesis is understood, as in ``phabs(po)``.  The rules are those of the XSPEC manual, "The model
command".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from xspec_sixsa.embedded.componenttype import ComponentType
from xspec_sixsa.embedded.state import XspecError

__all__ = ["Expression", "Leaf", "Node", "Product", "Sum", "attribute_names", "parse"]

_TOKEN = re.compile(r"\s*(?:(?P<table>\w+)\s*\{(?P<path>[^{}]*)\}|(?P<word>[A-Za-z_]\w*)|(?P<symbol>[-+*/()^]))")


@dataclass(frozen=True)
class Leaf:
    """One component, by its 0-based place in the expression."""

    index: int


@dataclass(frozen=True)
class Product:
    """Multiplicative members, at most one additive one and what convolves, in the order written."""

    members: tuple[Node, ...]


@dataclass(frozen=True)
class Sum:
    """Additive members, in the order written."""

    members: tuple[Node, ...]


Node = Leaf | Product | Sum


@dataclass(frozen=True)
class Expression:
    """A checked model expression.

    Attributes
    ----------
    components : tuple of ComponentType
        Component types from left to right; component number ``i`` (1-based) is ``components[i - 1]``.
    tree : Leaf, Product or Sum
        How they combine; nested sums and products are flattened.
    layout : tuple of int or str
        The expression as XSPEC prints it, components by their 0-based number.
    text : str
        The same with full names: no ``*`` beside a parenthesis, spaces around ``+``.
    words : tuple of str
        The text of each component within `text` (a table keeps its file name there).
    """

    components: tuple[ComponentType, ...]
    tree: Node
    layout: tuple[int | str, ...]
    text: str
    words: tuple[str, ...]

    @property
    def numbered(self) -> str:
        """The expression with component numbers, as the heading of XSPEC's parameter table has it."""
        return _render(self.layout, [f"{word}<{i}>" for i, word in enumerate(self.words, start=1)])


def parse(
    text: str,
    lookup: Callable[[str], ComponentType] | None = None,
    load_table: Callable[[str, str], ComponentType] | None = None,
) -> Expression:
    """Read and check a model expression.

    Parameters
    ----------
    text : str
        For instance ``"constant*phabs*(zphabs*mekal+mekal+gaussian)"``; names may be abbreviated.
    lookup, load_table : callable, optional
        Where component types come from; by default the engine's own registry.

    Raises
    ------
    XspecError
        Naming the component or the place in the expression at fault.
    """
    return _Parser(text, lookup or _lookup, load_table or _load_table).parse()


def _lookup(name: str) -> ComponentType:
    from xspec_sixsa.embedded.components import lookup

    return lookup(name)


def _load_table(kind: str, path: str) -> ComponentType:
    from xspec_sixsa.embedded.tablemodel import load_table

    return load_table(kind, path)


def attribute_names(names: list[str]) -> list[str]:
    """Return component names as PyXspec makes attributes of them.

    Blanks become underscores, and a name seen before gets ``_N``, where N is the component's own number (not how
    many of its kind there are): ``mekal``, ``mekal_5``.
    """
    seen: set[str] = set()
    result = []
    for number, name in enumerate(names, start=1):
        name = "_".join(name.split())
        result.append(f"{name}_{number}" if name in seen else name)
        seen.add(name)
    return result


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(
        self, text: str, lookup: Callable[[str], ComponentType], load_table: Callable[[str, str], ComponentType]
    ) -> None:
        self.source = text
        self.lookup, self.load_table = lookup, load_table
        self.tokens = self._tokenize(text)
        self.place = 0
        self.components: list[ComponentType] = []
        self.words: list[str] = []

    def parse(self) -> Expression:
        if not self.tokens:
            raise XspecError("Error: Model definition string is required.")
        node = self._sum()
        if self._peek() is not None:
            self._fail("Unbalanced parentheses.")
        if isinstance(node, Leaf) and not self._additive(node):
            self._fail(f"standalone model must be additive ({self.words[0]} is not).")
        if not self._additive(node):
            self._fail("Each '+' delimited subexpression must contain an add component.")
        standard = tuple(_standard(self.tokens))
        return Expression(tuple(self.components), node, standard, _render(standard, self.words), tuple(self.words))

    def _tokenize(self, text: str) -> list[tuple[str, str, str]]:
        tokens, place = [], 0
        text = text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                if "{" in text[place:] or "}" in text[place:]:
                    self._fail("Unbalanced '{}' brackets; a table model is written atable{file.fits}.")
                self._fail(f"Invalid character in expression: {text[place:].lstrip()[:1]}")
            if match["table"]:
                tokens.append(("table", match["table"], match["path"].strip()))
            elif match["word"]:
                tokens.append(("word", match["word"], ""))
            elif match["symbol"] in "-/^":
                self._fail(f"No '{match['symbol']}' operator allowed in model expressions")
            else:
                tokens.append((match["symbol"], match["symbol"], ""))
            place = match.end()
        return tokens

    def _peek(self) -> str | None:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else None

    def _sum(self) -> Node:
        terms = [self._product()]
        while self._peek() == "+":
            self.place += 1
            terms.append(self._product())
        if len(terms) > 1 and not all(self._additive(term) for term in terms):
            self._fail("Each '+' delimited subexpression must contain an add component.")
        flat: list[Node] = []
        for term in terms:
            flat.extend(term.members if isinstance(term, Sum) else [term])
        return flat[0] if len(flat) == 1 else Sum(tuple(flat))

    def _product(self) -> Node:
        factors = [self._factor()]
        while self._peek() in ("*", "(", "word", "table"):
            starred = self._peek() == "*"
            if starred:
                self.place += 1
            elif self._peek() != "(" and self.tokens[self.place - 1][0] != ")":
                self._fail(f"Illegal expression sequence: {self._shown(-1)} followed by a {self._shown(0)}")
            factors.append(self._factor())
        flat: list[Node] = []
        for factor in factors:
            # what a convolution in parentheses works on ends with them
            apart = isinstance(factor, Product) and not any(self._convolves(member) for member in factor.members)
            flat.extend(factor.members if apart and isinstance(factor, Product) else [factor])
        additive = [node for node in flat if self._additive(node)]
        if len(additive) > 1:
            if all(isinstance(node, Sum) for node in additive):
                self._fail("Cannot multiply add component groups.")
            self._fail("An add component cannot multiply another add component.")
        for place, node in enumerate(flat):
            if isinstance(node, Leaf) and self._convolves(node) and not any(map(self._additive, flat[place + 1 :])):
                self._fail(f"convolution {self.words[node.index]} must be followed by an additive component.")
        return flat[0] if len(flat) == 1 else Product(tuple(flat))

    def _factor(self) -> Node:
        kind = self._peek()
        if kind == "(":
            self.place += 1
            if self._peek() == ")":
                self._fail("Illegal expression sequence: ( followed by a ) (empty parentheses)")
            node = self._sum()
            if self._peek() != ")":
                self._fail("Unbalanced parentheses.")
            self.place += 1
            return node
        if kind in ("word", "table"):
            _, word, path = self.tokens[self.place]
            self.place += 1
            self.components.append(self._component(word, path if kind == "table" else None))
            self.words.append(f"{word.lower()}{{{path}}}" if kind == "table" else self.components[-1].name)
            return Leaf(len(self.components) - 1)
        if kind is None:
            if self.place:
                self._fail(f"Cannot end an expression with a {self._shown(-1)}")
            raise XspecError("Error: Model definition string is required.")
        if not self.place:
            self._fail(f"Cannot begin an expression with a {self._shown(0)}")
        self._fail(f"Illegal expression sequence: {self._shown(-1)} followed by a {self._shown(0)}")

    def _component(self, word: str, path: str | None) -> ComponentType:
        if path is not None:
            if word.lower() not in ("atable", "mtable", "etable"):
                self._fail(f"{word} is no table model: write atable{{...}}, mtable{{...}} or etable{{...}}")
            return self.load_table(word.lower(), path)
        return self.lookup(word)

    def _additive(self, node: Node) -> bool:
        if isinstance(node, Leaf):
            return self.components[node.index].kind == "add"
        return isinstance(node, Sum) or any(self._additive(member) for member in node.members)

    def _convolves(self, node: Node) -> bool:
        return isinstance(node, Leaf) and self.components[node.index].kind == "con"

    def _shown(self, offset: int) -> str:
        place = self.place + offset
        return self.tokens[place][1] if 0 <= place < len(self.tokens) else "end"

    def _fail(self, reason: str) -> NoReturn:
        raise XspecError(f'Model Command Error: {reason} In "{self.source.strip()}".')


def _standard(tokens: list[tuple[str, str, str]]) -> list[int | str]:
    """Return the tokens as XSPEC prints them: components by their 0-based number, stars and parentheses as strings.

    A star beside a parenthesis goes, and so do parentheses around one component (a star takes their place beside
    another component) and those that nothing multiplies.
    """
    plain: list[int | str] = []
    count = 0
    for kind, _, _ in tokens:
        if kind in ("word", "table"):
            plain.append(count)
            count += 1
        elif kind == "(" and plain and plain[-1] == "*":
            plain[-1] = "("
        elif not (kind == "*" and plain and plain[-1] == ")"):
            plain.append(kind)
    return _without_redundant(plain)


def _without_redundant(tokens: list[int | str]) -> list[int | str]:
    result: list[int | str] = []
    place = 0
    while place < len(tokens):
        if tokens[place] != "(":
            result.append(tokens[place])
            place += 1
            continue
        depth, end = 1, place
        while depth:
            end += 1
            depth += (tokens[end] == "(") - (tokens[end] == ")")
        inner = _without_redundant(tokens[place + 1 : end])
        before = tokens[place - 1] if place else "+"
        after = tokens[end + 1] if end + 1 < len(tokens) else "+"
        if len(inner) == 1:
            result += ["*"] * isinstance(before, int) + inner + ["*"] * isinstance(after, int)
        elif isinstance(before, int) or before == ")" or isinstance(after, int) or after == "(":
            result += ["(", *inner, ")"]
        else:
            result += inner
        place = end + 1
    return result


def _render(standard: tuple[int | str, ...], words: list[str] | tuple[str, ...]) -> str:
    return "".join(words[t] if isinstance(t, int) else " + " if t == "+" else t for t in standard)
