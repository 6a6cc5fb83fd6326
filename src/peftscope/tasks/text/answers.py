"""Answers in texts: finding them, reading them as numbers, comparing them. Pure functions.

A *stated* answer (``#### 4``, ``The answer is: 4``, ``\\boxed{4}``) goes before a bare number. Units,
currency and per cent signs are read over ("50%" is 50, as GSM8K has it), "2,125" is 2125, "1/2" is 0.5,
"3 1/2" is 3.5. Digits may be of any script, stand next to letters ("USD25", "共25元") and be multiplied by a
word ("3万"). Numbers are compared exactly, as fractions.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Literal

__all__ = [
    "Which",
    "extract_answer",
    "extract_number",
    "extract_solution",
    "extract_text",
    "is_correct",
    "parse_number",
    "states_number",
]

Which = Literal["first", "last"]

_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
_DIGITS = rf"(?:(?:{_GROUPED}|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
_UNSIGNED = rf"{_DIGITS}(?:[eE][+-]?[0-9]{{1,2}}(?!\w))?"
_NUMBER = re.compile(
    # A hyphen after a word, number or bracket joins or subtracts ("10-5", "x-3"); elsewhere it is a sign. A digit
    # stands at a word's start, after two letters at least ("USD25", not "x2") or after one of another script.
    r"(?:(?P<sign>(?<![\w)\]}%.])-)?[$€£¥]\s?(?P<sign2>-)?|(?P<sign3>(?<![\w)\]}%.])-)"
    r"|(?<![\w.])|(?<=[^\W\d_]{2})|(?<=[^\W\d_a-zA-Z]))"
    rf"(?:(?P<whole>[0-9]+)\s(?P<part>[0-9]+)/(?P<of>[0-9]+)(?![\d./])"
    rf"|(?P<number>{_UNSIGNED})(?:\s?(?P<times>[百千万萬億亿兆]+))?(?:\s?/\s?(?P<divisor>{_DIGITS}))?)"
)
_MARKER = re.compile(
    r"####|\b(?:(?:the|my|our)\s+(?:final\s+|correct\s+)?|final\s+)answer(?:\s+to\s[^.\n]{0,80}?)?\s*(?:is|:|=)\s*:?",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SUM_SO_FAR = re.compile(r"[\s$€£(]*[-+*/×÷xX^0-9.,()$€£ ]+=")
_UNITS = {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8, "兆": 10**12}
"""What Chinese, Japanese and Korean write after a number to multiply it."""
_SEPARATORS = {"٫": ".", "٬": ",", "．": ".", "，": ",", "﹒": ".", "﹐": ","}
_LONGEST_NUMBER = 300
"""Digits beyond which a run of digits is a model stuck in a loop, not a number."""


def extract_number(text: str, which: Which = "last") -> Fraction | None:
    """The number a text gives as its answer, None if there is none.

    >>> extract_number("She pays 3 x 6 = $18. The answer is: 18 dollars. Question: how many of the 7 ...")
    Fraction(18, 1)
    """
    stated = [n for segment in _stated(text) if (n := _number_in(segment)) is not None]
    found = stated or _numbers(_plain(text))
    return (found[0] if which == "first" else found[-1]) if found else None


def states_number(text: str) -> bool:
    """Whether a text states a number as its answer in a line that has ended: more text cannot change its first.

    >>> [states_number(text) for text in ("She has 3\\n", "#### 4", "#### 4\\nNext")]
    [False, False, True]
    """
    ended = text[: text.rfind("\n") + 1]
    boxes_end = all(_closing(ended[match.end() :]) is not None for match in _BOX.finditer(ended))
    return boxes_end and any(_number_in(segment) is not None for segment in _stated(ended))


def extract_text(text: str, which: Which = "last") -> str | None:
    """The answer of a text that need not be a number: what is stated, else its first or last line.

    >>> extract_text("Let us see.\\nThe answer is: blue.")
    'blue'
    """
    stated = [cleaned for segment in _stated(text) if (cleaned := _trim(segment))]
    found = stated or [cleaned for line in text.splitlines() if (cleaned := _trim(line))]
    return (found[0] if which == "first" else found[-1]) if found else None


def extract_answer(text: str, which: Which = "last") -> str | None:
    """The answer of a text in one spelling: a number where it gives one, None if there is none.

    >>> [extract_answer(text) for text in ("it costs $2,125.00.", "It is \\\\boxed{-\\\\frac{1}{2}}", "no")]
    ['2125', '-1/2', None]
    """
    number = extract_number(text, which)
    return None if number is None else str(number)


def extract_solution(worked: str) -> str | None:
    """What a worked answer ends in: the last thing it states, a number if it is one, else its last number.

    >>> [extract_solution(text) for text in ("48/2 = 24\\n#### 2,400 clips", "The answer is: x + 1", "so 7")]
    ['2400', 'x + 1', '7']
    """
    stated = [segment for segment in _stated(worked) if _trim(segment)]
    if not stated:
        return extract_answer(worked)
    number = parse_number(_result_of_sum(_plain(stated[-1])))
    return _trim(stated[-1]) if number is None else str(number)


def parse_number(text: str) -> Fraction | None:
    """A text that is a number and nothing else but currency, unit or full stop; None for any other.

    >>> parse_number("$1,200.50"), parse_number("18 dollars"), parse_number("x^2 + 1"), parse_number("0011")
    (Fraction(2401, 2), Fraction(18, 1), None, None)
    """
    plain = _trim(_plain(text))
    match = _NUMBER.match(plain)
    if match is None or not re.fullmatch(r"\s*%?\s*(?:[^\W\d][^\d=+*^]*)?", plain[match.end() :]):
        return None
    if re.match(r"0[0-9]", match["number"] or ""):
        return None  # a code such as 0011, in which the zeros count
    return _value(match)


def is_correct(output: str, solution: str, which: Which = "last") -> bool:
    """Whether a text gives the solution: the same number, or the same text where the solution is none.

    >>> is_correct("That makes 2125 dollars.", "2,125"), is_correct("The answer is Blue.", "blue")
    (True, True)
    """
    expected = parse_number(solution)
    if expected is not None:
        return extract_number(output, which) == expected
    wanted = _normal(solution)
    answer = extract_text(output, which)
    return _normal(output) == wanted or (answer is not None and _normal(answer) == wanted)


def _stated(text: str) -> list[str]:
    """What follows each marker and what stands in each box, in the order of the text."""
    found = [(match.end(), _rest_of_line(text[match.end() :])) for match in _MARKER.finditer(text)]
    for match in _BOX.finditer(text):
        found.append((match.end(), _balanced(text[match.end() :])))
    return [segment for _, segment in sorted(found)]


def _rest_of_line(text: str) -> str:
    """The line that begins here, or the next one if it is blank."""
    return next((line for line in text.split("\n")[:3] if line.strip(" \t*:$\\[")), "")


def _balanced(text: str) -> str:
    """The text up to the brace that closes one opened before it."""
    end = _closing(text)
    return text.split("\n")[0] if end is None else text[:end]


def _closing(text: str) -> int | None:
    """Where the brace stands that closes one opened before the text; None where none does."""
    depth = 1
    for i, char in enumerate(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0:
            return i
    return None


def _number_in(segment: str) -> Fraction | None:
    """The number a stated answer gives: its first, or the result if it begins with a sum."""
    numbers = _numbers(_result_of_sum(_plain(segment)))
    return numbers[0] if numbers else None


def _result_of_sum(plain: str) -> str:
    """What follows the last equals sign of a sum the text begins with: "7 apples" of "3 + 4 = 7 apples"."""
    while (match := _SUM_SO_FAR.match(plain)) and _numbers(plain[match.end() :]):
        plain = plain[match.end() :]
    return plain


def _numbers(plain: str) -> list[Fraction]:
    return [value for match in _NUMBER.finditer(plain) if (value := _value(match)) is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > _LONGEST_NUMBER:
        return None
    if match["whole"] is not None:
        part, of = int(match["part"]), int(match["of"])
        if of == 0:
            return None
        value = int(match["whole"]) + Fraction(part, of)
    else:
        value = Fraction(match["number"].replace(",", ""))
        for unit in match["times"] or "":
            value *= _UNITS[unit]
        if match["divisor"] is not None:
            divisor = Fraction(match["divisor"].replace(",", ""))
            if divisor == 0:
                return None
            value /= divisor
    return -value if match["sign"] or match["sign2"] or match["sign3"] else value


def _plain(text: str) -> str:
    """The text with LaTeX, typographic signs and digits of other scripts written plainly."""
    if not text.isascii():
        text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
        text = re.sub(r"(?<=[0-9])[٫٬．，﹒﹐](?=[0-9])", lambda match: _SEPARATORS[match[0]], text)
        text = re.sub(r"(?<=[0-9])[\u00a0\u202f\u2009](?=[0-9]{3}(?![0-9]))", "", text)
        text = text.replace("－", "-").replace("％", "%").replace("￥", "¥").replace("＄", "$")
    text = text.replace("−", "-").replace("{,}", ",")
    text = re.sub(r"\\[!,;: ]", "", text)
    text = re.sub(r"\\([$%])", r"\1", text)
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r" \1", text)
    text = re.sub(r"\\(?:left|right)(?![a-zA-Z])", "", text)
    over = r"\\[dtc]?frac\s*(?:\{\s*([-0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))"
    text = re.sub(rf"(?<=[0-9])\s*{over}", lambda m: f" {m[1] or m[2]}/{m[3] or m[4]}", text)
    return re.sub(over, lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", text)


def _trim(text: str) -> str:
    return text.strip().strip("*$").rstrip(".!").strip()


def _normal(text: str) -> str:
    return " ".join(_trim(text).casefold().split())
