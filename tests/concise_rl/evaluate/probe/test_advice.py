"""What a probe finds and advises, limit by limit."""

from dataclasses import replace
from typing import Any

import pytest

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.advice import METHODS, round_up
from concise_rl.evaluate.probe.findings import Finding, find
from concise_rl.evaluate.probe.limits import LIMITS
from concise_rl.evaluate.probe.probe import check_thinks
from concise_rl.evaluate.probe.settings import SETTINGS
from reward import OBJECTIVES
from tests.concise_rl.evaluate.probe.made import about, advice, groups, measured


def finding(name: str, **changes: Any) -> Finding:
    return next(one for one in find(measured(**changes)) if one.name == name)


def fits(name: str, **changes: Any) -> bool | None:
    return next(fit.fits for fit in advice(**changes).methods if fit.name == name)


FIELDS = {
    "rarely_cut": "cut", "half_cut": "cut", "closed": "closed", "closed_at_all": "closed", "right_enough": "accuracy",
    "mostly_right": "accuracy", "worth_it": "saved", "redundant": "redundant", "stated": "stated",
    "long_paths": "path_over_answer",
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_kept_missed_or_unknown_by_the_interval(name: str) -> None:
    limit = LIMITS[name]

    def holds(value: float) -> bool | None:
        fact = about(value, 0.01)
        of_8 = replace(groups(8), all_right=fact, mixed=fact)
        changes = {FIELDS[name]: fact} if name in FIELDS else {"groups": [of_8]}
        return limit.holds(measured(**changes).rollouts)

    assert holds(limit.at + 0.03) is limit.above
    assert holds(limit.at - 0.03) is not limit.above
    assert holds(limit.at + 0.005) is None


def test_every_limit_says_why_it_lies_where_it_does() -> None:
    assert all(len(limit.reason) > 40 and limit.words for limit in LIMITS.values())


def test_every_method_that_is_advised_exists_and_has_a_recipe() -> None:
    assert {method.name for method in METHODS} <= set(OBJECTIVES)
    assert {method.name for method in METHODS} == set(SETTINGS)
    assert all(name in LIMITS for method in METHODS for name in method.needs)


def test_redundant_thinking_is_worth_training() -> None:
    found = advice()
    assert found.verdict == "train"
    assert found.headline == "Worth training: 60 % of the thinking comes after the answer."
    assert found.best == "grpo_lambda"


def test_nothing_redundant_is_not_worth_training() -> None:
    found = advice(saved=about(0.03), redundant=about(0.04))
    assert found.verdict == "leave"
    assert found.headline == "Not worth training: 4 % of the thinking comes after the answer."
    assert found.best == "grpo"


def test_a_model_that_is_mostly_cut_needs_a_higher_cap_first() -> None:
    found = advice(cut=about(0.7), quantiles={10: 900, 50: 8192, 90: 8192, 99: 8192})
    assert found.verdict == "raise_cap" and found.best is None
    assert found.cap.value == 16384
    assert "were cut at 8,192" in found.headline


def test_a_model_that_is_seldom_right_is_trained_for_accuracy_first() -> None:
    found = advice(accuracy=about(0.1), groups=[groups(8, 0.0, 0.4)])
    assert found.verdict == "accuracy_first"
    assert found.best == "grpo"


def test_an_interval_across_a_limit_asks_for_more_samples() -> None:
    found = advice(saved=about(0.1, 0.05))
    assert found.verdict == "sample_more"
    assert "10.0 % [5.0 %, 15.0 %] may or may not be above 10.0 %" in found.headline


def test_unread_thinking_asks_for_more_samples() -> None:
    assert advice(saved=Estimate(None, None), redundant=Estimate(None, None)).verdict == "sample_more"


def test_a_fault_comes_before_everything_but_the_cap() -> None:
    found = advice(closed=about(0.1), others={"</thinking>": 0.9})
    assert found.verdict == "look"
    assert "'</thinking>'" in found.headline


def test_few_groups_that_are_all_right_speak_against_the_gate() -> None:
    assert fits("grpo_lambda") is True
    assert fits("grpo_lambda", groups=[groups(8, 0.05, 0.8)]) is False
    assert fits("grpo_lambda", groups=[]) is None


def test_methods_with_a_judge_want_redundancy_that_the_thinking_states() -> None:
    for name in ("decs", "lc_r1"):
        assert fits(name) is True
        assert fits(name, redundant=about(0.2)) is False
        assert fits(name, stated=about(0.5)) is False


def test_serial_groups_want_long_paths() -> None:
    for name in ("s_grpo", "jet"):
        assert fits(name) is True
        assert fits(name, path_over_answer=about(3, 1)) is False


def test_a_length_penalty_without_a_gate_wants_a_model_that_is_mostly_right() -> None:
    assert fits("length_penalty") is True
    assert fits("length_penalty", accuracy=about(0.4)) is False


def test_ddca_fits_a_model_that_is_right_in_a_third() -> None:
    assert fits("ddca", accuracy=about(0.35)) is True


def test_what_speaks_against_a_method_is_said_with_the_number() -> None:
    why = next(fit.why for fit in advice(redundant=about(0.2)).methods if fit.name == "decs")
    assert why == "thinking after the first statement of the answer: 20.0 %, and it needs at least 30.0 %"


@pytest.mark.parametrize(
    ("length", "cap"), [(37, 48), (286, 320), (320, 320), (1500, 1536), (7300, 7424), (9000, 9216)]
)
def test_a_cap_is_rounded_up_to_a_usual_number(length: int, cap: int) -> None:
    assert round_up(length) == cap


def test_a_cap_leaves_room_for_the_longest_prompt() -> None:
    assert advice(context=8000).cap.value == 8000 - 640


def test_groups_of_16_are_for_problems_of_which_8_rollouts_say_nothing() -> None:
    assert advice().group.value == 8
    assert advice(groups=[groups(8, 0.05, 0.3), groups(16, 0.02, 0.5)]).group.value == 16
    assert advice(groups=[groups(8, 0.5, 0.3), groups(16, 0.3, 0.5)]).group.value == 8


def test_another_delimiter_is_suggested_where_its_own_is_missing() -> None:
    found = finding("think_end", closed=about(0.0, 0.0), others={"<|end_of_thought|>": 0.98})
    assert found.level == "fault" and "98.0 % hold '<|end_of_thought|>'" in found.text


def test_a_delimiter_that_is_there_is_fine_and_one_that_is_often_missing_is_not() -> None:
    assert finding("think_end").level == "ok"
    assert finding("think_end", closed=about(0.8)).level == "look"
    assert finding("think_end", closed=about(0.3)).level == "fault"


def test_a_template_that_closes_the_thinking_is_a_fault() -> None:
    found = finding("template", opening="<think>\n\n</think>\n\n", closes=True)
    assert found.level == "fault" and "enable_thinking" in found.text
    assert "the template opens the thinking" in finding("template", opening="<think>\n", opens=True).text


def test_an_end_that_is_not_the_tokenizers_is_worth_a_look() -> None:
    assert finding("EOS").level == "ok"
    assert finding("EOS", ends={"<|im_end|>": 0, "<|endoftext|>": 500}).level == "look"


def test_prompts_have_to_fit_beside_the_cap() -> None:
    assert finding("prompts").level == "ok"
    assert finding("prompts", context=8500).level == "fault"


def test_unclosed_unjudged_and_unstated_samples_are_worth_a_look() -> None:
    assert finding("unclosed", unclosed=about(0.2)).level == "look"
    assert finding("verifier", unjudged=40).level == "look"
    assert finding("judge", stated=about(0.5)).level == "look"


def test_a_model_that_never_closes_its_thinking_is_refused_unless_it_is_seen_why() -> None:
    never = about(0.0, 0.0)
    with pytest.raises(ValueError, match="never closes its thinking with '</think>', in none of 512 samples"):
        check_thinks(measured(closed=never))
    check_thinks(measured(closed=never, others={"</thinking>": 1.0}))
    check_thinks(measured(closed=never, closes=True))
    check_thinks(measured(closed=never, cut=about(0.9)))
