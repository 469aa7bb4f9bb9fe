"""The test set: what it bears and what is resampled of it."""

from dataclasses import replace

import pytest

from nmtkd.evidence import headline
from tests.unit.evidence.report_tree import HEADLINE

PAIRS = [f"pair {number // 2}" for number in range(12)]


def test_segments_of_one_text_are_resampled_together() -> None:
    assert not HEADLINE.is_grouped and HEADLINE.resampled == "the 12 segments"
    grouped = replace(HEADLINE, groups=["lamp"] * 7 + ["door"] * 2 + ["lamp"] + ["pump"] * 2)
    assert (grouped.is_grouped, grouped.number_of_groups) == (True, 3)
    assert grouped.resampled == "whole groups of segments (3 groups, the largest with 8 of 12 segments)"


@pytest.mark.parametrize(("least", "is_small"), [(6, False), (7, True)])
def test_few_groups_bear_no_verdict(monkeypatch: pytest.MonkeyPatch, least: int, is_small: bool) -> None:
    monkeypatch.setattr(headline, "LEAST_GROUPS", least)
    assert replace(HEADLINE, groups=PAIRS).is_small is is_small
    assert not HEADLINE.is_small  # segments that are no groups have a number of their own: min_segments


def test_it_says_what_there_is_too_little_of() -> None:
    few_groups, few_segments = (
        replace(HEADLINE, groups=PAIRS),
        replace(HEADLINE, groups=PAIRS, min_segments=13),
    )
    assert few_groups.smallness == "6 groups are too few for a verdict, which takes 30"
    assert few_segments.smallness == (
        "12 segments are too few for a verdict, which takes 13 (report.min_segments)"
    )
    assert replace(HEADLINE, groups=["lamp"] * 12).smallness.startswith("1 group is too few for a verdict")
