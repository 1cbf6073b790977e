"""Parameter links: what ``= p2*0.5+1.0`` means.

A bare integer or ``p<n>`` is the parameter of that global index in the unnamed model, ``name:<n>`` or ``name:p<n>``
one of a named model; an integer that is no parameter is a number, and so is everything with a point or an exponent
(XSPEC manual, "newpar").  The same expression is evaluated on floats and, differentiably, on torch tensors.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from typing import Any

from xspec_sixsa.embedded.state import XspecError

__all__ = ["Link"]

_TOKEN = re.compile(
    r"\s*(?P<number>(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?)"
    r"|\s*(?P<parameter>(?:[A-Za-z_]\w*:)?[pP]?\d+(?![\w.]))"
    r"|\s*(?P<word>[A-Za-z_]\w*)"
    r"|\s*(?P<power>\*\*)"
    r"|\s*(?P<symbol>[-+*/^(),])"
)
_FUNCTIONS = frozenset("exp sin sind cos cosd tan tand log ln sqrt abs asin acos max min".split())


class Link:
    """A parsed link expression.

    Parameters
    ----------
    text : str
        The expression, without the leading ``=``.
    find : callable
        ``find(model_name, global_index)`` returns what stands for the parameter (in the engine its `ParameterState`),
        or None where there is none.

    Attributes
    ----------
    members : list
        What `find` returned for the parameters that the expression refers to, one entry for each appearance.
    """

    def __init__(self, text: str, find: Callable[[str, int], Any]) -> None:
        self.members: list[Any] = []
        self._tokens: list[tuple[str, str]] = []
        python: list[str] = []
        place = 0
        text = text.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise XspecError(f"Invalid link expression: {text[place:].strip()[:20]!r} in '= {text}'.")
            place = match.end()
            kind = str(match.lastgroup)
            token = match[kind]
            before = self._tokens[-1] if self._tokens else ("", "")
            operand = before[0] in ("number", "parameter") or before[1] == ")"
            if operand and (token == "(" or (before[1] == ")" and kind != "symbol" and kind != "power")):
                python.append("*")  # XSPEC understands 2(p1) and (p1)p2 as products
            if kind == "parameter":
                python.append(self._parameter(token, text, find))
            elif kind == "word":
                if token.lower() not in _FUNCTIONS:
                    raise XspecError(
                        f"Invalid link expression: {token!r} in '= {text}' is neither a parameter (p2, name:p2) nor "
                        f"one of the functions {', '.join(sorted(_FUNCTIONS))}."
                    )
                self._tokens.append(("word", token.lower()))
                python.append(token.lower())
            else:
                token = "^" if kind == "power" else token
                self._tokens.append((kind, token))
                python.append("**" if token == "^" else token)
        if not self.members:
            raise XspecError(
                f"Link expression contains no valid parameters: = {text}. Refer to parameters by their global index, "
                "for instance '= p2*0.5'; to set a number leave the '=' out."
            )
        try:
            tree = ast.parse(" ".join(python).strip(), mode="eval").body
        except SyntaxError:
            raise XspecError(f"Invalid link expression: '= {text}' cannot be read.") from None
        self._evaluate = _compile(tree, text)

    @property
    def simple(self) -> Any | None:
        """The one parameter this link merely repeats, or None for anything longer."""
        return self.members[0] if len(self._tokens) == 1 else None

    @property
    def text(self) -> str:
        """The link as XSPEC shows it (``= p2*0.5 + 1.0``), with the parameters' present indices."""
        parts = []
        members = iter(self.members)
        for i, (kind, token) in enumerate(self._tokens):
            if kind == "parameter":
                parts.append(next(members).reference)
            elif token == "*" and (self._tokens[i - 1][1] == ")" or self._tokens[i + 1][1] == "("):
                continue
            else:
                parts.append(f" {token} " if token in "+-" else token)
        return "= " + "".join(parts)

    def value(self, of: Callable[[Any], Any]) -> Any:
        """Evaluate with ``of(parameter state)`` giving each member's value, a float or a tensor."""
        return self._evaluate([of(member) for member in self.members])

    def depends_on(self, state: Any) -> bool:
        """Whether `state` is among the members, directly or through their own links."""
        return any(m is state or (m.link is not None and m.link.depends_on(state)) for m in self.members)

    def _parameter(self, token: str, text: str, find: Callable[[str, int], Any]) -> str:
        name, _, number = token.rpartition(":")
        explicit = bool(name) or number[0] in "pP"
        index = int(number.lstrip("pP"))
        state = find(name, index)
        if state is None:
            if explicit:
                raise XspecError(
                    f"Invalid link expression: No matching parameter for parameter reference {token} in '= {text}'."
                )
            self._tokens.append(("number", number))
            return number
        self._tokens.append(("parameter", token))
        self.members.append(state)
        return f"_m{len(self.members) - 1}"


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


def _compile(node: ast.AST, text: str) -> Callable[[list[Any]], Any]:
    """Turn a checked syntax tree into a function of the members' values; nothing else can be called or named."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        constant = float(node.value)
        return lambda values: constant
    if isinstance(node, ast.Name) and node.id.startswith("_m"):
        place = int(node.id[2:])
        return lambda values: values[place]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _compile(node.operand, text)
        return (lambda values: -inner(values)) if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        operator = _OPERATORS[type(node.op)]
        left, right = _compile(node.left, text), _compile(node.right, text)
        return lambda values: operator(left(values), right(values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        name = node.func.id
        arguments = [_compile(argument, text) for argument in node.args]
        wanted = 2 if name in ("max", "min") else 1
        if len(arguments) != wanted or node.keywords:
            raise XspecError(f"Invalid link expression: {name} takes {wanted} argument(s) in '= {text}'.")
        return lambda values: _apply(name, [argument(values) for argument in arguments])
    raise XspecError(f"Invalid link expression: '= {text}' cannot be read.")


def _apply(name: str, arguments: list[Any]) -> Any:
    """Apply an XSPEC function to floats or tensors (angles in radians, in degrees for the names ending in d)."""
    module: Any = math
    minimum: Callable[..., Any] = min
    maximum: Callable[..., Any] = max
    if not all(isinstance(argument, float) for argument in arguments):
        import torch

        module, minimum, maximum = torch, torch.minimum, torch.maximum
        arguments = [torch.as_tensor(argument, dtype=torch.float64) for argument in arguments]
    x = arguments[0]
    if name == "max":
        return maximum(*arguments)
    if name == "min":
        return minimum(*arguments)
    if name == "abs":
        return abs(x)
    if name in ("sind", "cosd", "tand"):
        return getattr(module, name[:-1])(x * (math.pi / 180.0))
    return getattr(module, {"log": "log10", "ln": "log"}.get(name, name))(x)
