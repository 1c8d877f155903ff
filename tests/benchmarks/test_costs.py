"""Each choice that is priced works, and the table compares within each round."""

from __future__ import annotations

import pytest

from benchmarks.costs.__main__ import PAGE, cost_rows
from benchmarks.costs.choices import CHOICES, WORK, Choice, price
from tests.conftest import have
from tests.servers import ensure


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_each_choice_does_all_of_the_work(choice: Choice) -> None:
    have(lambda: ensure("redis-8.6"))
    rates = price(choice, share=0.002)
    assert set(rates) == set(WORK)
    assert all(rate > 0 for rate in rates.values())


def test_ratios_are_formed_within_each_round() -> None:
    def round_of(first: float) -> list[dict[str, float]]:
        return [dict.fromkeys(WORK, first), *[dict.fromkeys(WORK, first / 2)] * (len(CHOICES) - 1)]

    heads, first, *others = cost_rows([round_of(100), round_of(1000), round_of(400)])
    assert len(heads) == len(first) == 1 + len(WORK)
    assert first[1:] == ["400 a second"] * len(WORK)
    assert all(row[1:] == ["0.50 (0.50 to 0.50)"] * len(WORK) for row in others)


def test_the_page_has_a_place_for_the_table() -> None:
    assert PAGE.read_text().count("<!-- calculated: costs -->") == 1
