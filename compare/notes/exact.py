"""A third witness for the elementwise derivatives: sympy differentiates, and proves the notes' formula equal."""

from functools import cache

import sympy


@cache
def proofs() -> dict[str, tuple[str, ...]]:
    """Lines of proof by statement: the derivative, and that the difference simplifies to 0.

    Raises AssertionError if one does not.
    """
    z, y = sympy.symbols("z y", real=True)
    p = 1 / (1 + sympy.exp(-z))
    tanh = (sympy.exp(z) - sympy.exp(-z)) / (sympy.exp(z) + sympy.exp(-z))
    loss = -(y * sympy.log(p) + (1 - y) * sympy.log(1 - p))
    written = -y * sympy.log(p) + (1 - y) * sympy.log(1 - p)
    of_loss = _proved("d/dz of the loss = p - y", sympy.diff(loss, z), p - y)
    of_written = "d/dz of the loss as written = -y (1 - p) - (1 - y) p"
    return {
        "A1": (_proved("d/dz sigmoid(z) = p (1 - p)", sympy.diff(p, z), p * (1 - p)),),
        "A3": (
            _proved("(e^z - e^-z)/(e^z + e^-z) = tanh(z)", tanh.rewrite(sympy.exp), sympy.tanh(z).rewrite(sympy.exp)),
            _proved("d/dz tanh(z) = 1 - tanh(z)^2", sympy.diff(sympy.tanh(z), z), 1 - sympy.tanh(z) ** 2),
        ),
        "L2": (of_loss, _proved(of_written, sympy.diff(written, z), -y * (1 - p) - (1 - y) * p)),
        "B1": (of_loss,),
        "L3": (_proved("d/dz (1/2) (z - y)^2 = z - y", sympy.diff((z - y) ** 2 / 2, z), z - y),),
    }


def _proved(text: str, left: sympy.Expr, right: sympy.Expr) -> str:
    if sympy.simplify(left - right) != 0:
        raise AssertionError(text)
    return f"{text}, their difference simplifies to 0"
