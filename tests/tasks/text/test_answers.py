"""The golden table of answers."""

from fractions import Fraction

import pytest

from peftscope.tasks.text.answers import (
    extract_answer,
    extract_number,
    extract_solution,
    is_correct,
    parse_number,
    states_number,
)

GOLDEN = [
    ("2,125", "2125"),
    ("1,234,567.5", "2469135/2"),
    ("18 dollars", "18"),
    ("$18", "18"),
    ("US$18", "18"),
    ("£ 7", "7"),
    ("18cm", "18"),
    ("18.", "18"),
    ("18.00", "18"),
    ("It costs $18.00.", "18"),
    ("0.50", "1/2"),
    (".5", "1/2"),
    ("-5", "-5"),
    ("−4", "-4"),
    ("a change of -$5.50", "-11/2"),
    ("$-5", "-5"),
    ("10-5", "5"),
    ("10 - 5 = 5", "5"),
    ("- 5 apples", "5"),
    ("a 12-hour day", "12"),
    ("1/2", "1/2"),
    ("20/14", "10/7"),
    ("3 1/2 cups", "7/2"),
    ("1/0", None),
    ("50%", "50"),
    (r"50\%", "50"),
    ("1e3", "1000"),
    ("[1,2,3]", "3"),
    ("so 48/2 = 24", "24"),
    ("#### 42", "42"),
    ("####42", "42"),
    ("48/2 = 24\n#### 2,125\n", "2125"),
    ("The answer is: 42.", "42"),
    ("the answer is 42", "42"),
    ("The final answer is $42$", "42"),
    ("**Final Answer:** 42", "42"),
    ("The answer is:\n\n42", "42"),
    ("The answer to the question is 9.", "9"),
    ("The answer is 42. I hope that helps all 7 of you.", "42"),
    ("The answer is 42 because 7 = 7", "42"),
    ("#### 3 + 4 = 7", "7"),
    ("#### 5\n\nQuestion: Tom has 9 apples and", "5"),
    ("Step 1: 3 pies, $5 each.The answer is: 15", "15"),
    ("The answer is $5 per hour, not 6", "5"),
    (r"\boxed{42}", "42"),
    (r"so $x = \boxed{\frac{1}{2}}$ of 9", "1/2"),
    (r"$-\frac{1}{2}$", "-1/2"),
    (r"3\dfrac{1}{2}", "7/2"),
    (r"\frac12", "1/2"),
    (r"\$2{,}125", "2125"),
    (r"2\,125", "2125"),
    (r"\boxed{18 \text{ dollars}}", "18"),
    ("no number at all", None),
    ("", None),
    ("####", None),
    ("x2 and H2O", None),
    ("9" * 5000, None),
    ("The answer is unclear. There were 4 apples", "4"),
]


@pytest.mark.parametrize(("text", "expected"), GOLDEN)
def test_answers_are_extracted_as_in_the_golden_table(text, expected):
    assert extract_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("12 apples and 7 pears", 12, 7),
        ("#### 5\n\nQuestion: 3 + 4?\n#### 7", 5, 7),
        ("2 + 2. The answer is 4. Then 9", 4, 4),
        (r"\boxed{1} and \boxed{2}", 1, 2),
    ],
)
def test_a_setting_selects_the_first_or_last_answer(text, first, last):
    assert (extract_number(text, "first"), extract_number(text, "last")) == (first, last)


@pytest.mark.parametrize(
    ("output", "solution", "right"),
    [
        ("2125", "2,125", True),
        ("1/2", "0.5", True),
        ("It is 50%", "50", True),
        ("3", "3.01", False),
        ("none", "3", False),
        ("The answer is: Blue.", "blue", True),
        ("It is red.\nblue", "blue", True),
        ("It is red.", "blue", False),
        (r"The answer is: \frac{x}{2}", r"\frac{x}{2}", True),
        ("The answer is: x^2 + 1", "x^2 + 2", False),
        ("11", "0011", False),
        ("0011", "0011", True),
        ("1 2\n3 4", "1 2\n3 4", True),
    ],
)
def test_solutions_are_compared_as_numbers_or_else_as_texts(output, solution, right):
    assert is_correct(output, solution) is right


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18 dollars", 18),
        ("-3.5", Fraction(-7, 2)),
        ("x^2", None),
        ("3 hours 20 minutes", None),
        ("12:30", None),
    ],
)
def test_only_a_number_with_its_unit_is_a_number(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "She has 3 + 4 = 7.\n#### 7\nQuestion: 5\n#### 9\n",
        "First \\boxed{2\n#### 3\n} then \\boxed{4}\n and more\n#### 5\n",
        "The final answer\nis: 8 apples\nThe answer is 9\n",
        "####\n\n4\n#### 6\n",
        "The answer is unknown\n#### 12\n",
    ],
)
def test_no_more_text_changes_the_first_answer_once_it_is_stated(text):
    whole = extract_number(text, "first")
    beginnings = [text[:end] for end in range(len(text) + 1)]
    decided = [beginning for beginning in beginnings if states_number(beginning)]
    assert decided, "it states one"
    assert {extract_number(beginning, "first") for beginning in decided} == {whole}
    assert decided == beginnings[-len(decided) :], "what is decided stays decided"


def test_a_worked_answer_ends_in_its_solution():
    assert extract_solution("She has 3 + 4 = 7.\n#### 7 apples") == "7"
    assert extract_solution("We get $x+1$.\nThe answer is: $x+1$") == "x+1"
    assert extract_solution("They are 8 in all.") == "8"
    assert extract_solution("Nobody knows.") is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It costs USD25.", 25),
        ("EUR 1,250.50 in all", Fraction("1250.5")),
        ("合計は２５円です", 25),
        ("共25元", 25),
        ("一共3万人", 30_000),
        ("1.5億", 150_000_000),
        ("कुल १२,३४५ रुपये", 12_345),
        ("₹1,00,000", 100_000),
        ("المجموع ٢٥٫٥", Fraction("25.5")),
        ("١٬٢٥٠", 1250),
        ("12\u202f345 Fr.", 12_345),
        ("－７", -7),
        ("so there are42", 42),
        ("take A4 paper", None),
        ("water is H2O", None),
        ("x2", None),
    ],
)
def test_numbers_are_read_in_any_script_and_next_to_letters(text: str, number: object) -> None:
    assert extract_number(text) == number
