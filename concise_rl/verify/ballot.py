"""When two answers are one: the values that they state."""

from concise_rl.verify.verifiers import latex
from concise_rl.verify.verifiers.claims import answers
from concise_rl.verify.verifiers.values import number


def ballot(answer: str) -> str:
    """Return what two answers must share to be one: the values of their boxes, or without any of their last claim."""
    return "\n".join(dict.fromkeys(map(_value, answers(answer)))) or answer.strip()


def _value(claim: str) -> str:
    """Write a number in one spelling, whatever it is written as; other claims without what LaTeX adds to them."""
    text = latex.join_thousands(latex.clean(claim))
    found = number(text)
    return f"{found.value}{'%' if found.percent else ''}" if found else text.replace(" ", "")
