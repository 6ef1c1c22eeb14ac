import pytest

from concise_rl.rollout.exits import exit_of
from concise_rl.rollout.exits.budget import Budget
from concise_rl.rollout.exits.converge import Converge
from concise_rl.rollout.exits.deer import Deer


def test_a_bare_value_sets_the_main_option() -> None:
    assert exit_of("budget:64") == Budget(limit=64) and exit_of("deer:0.9") == Deer(threshold=0.9)


def test_options_are_given_by_name_and_texts_may_hold_commas_and_line_breaks() -> None:
    assert exit_of("deer:threshold=0.8,mean=avg2,suffix=So, then") == Deer(
        threshold=0.8, mean="avg2", suffix="So, then"
    )
    assert exit_of(r'deer:words=["Wait","Hmm"],suffix="\n"') == Deer(words=("Wait", "Hmm"), suffix="\n")
    assert exit_of('converge:{"k": 2, "every": 8}') == Converge(k=2, every=8)


def test_a_dotted_path_names_a_class() -> None:
    assert exit_of("concise_rl.rollout.exits.deer.Deer:0.5") == Deer(threshold=0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dear", "Unknown exit 'dear'. Did you mean 'deer'"),
        ("x", "Unknown exit 'x'. Valid: .*no-think"),
        ("deer:treshold=0.9", "option of exit 'deer': 'treshold'. Did you mean 'threshold'"),
        ("deer:2", "Options of exit 'deer': threshold: .* less than or equal to 1"),
        ("deer:", "give options behind the colon"),
        ("no-think:3", "has no main option: give key=value. It has closing, limit"),
        ("deer:{", "is no JSON"),
        ("budget:limit=3,limit=4", "gives limit twice"),
        ('deer:words=[""]', "words: give one text or more, none of them empty"),
        ("concise_rl.rollout.cost.Cost", "is no exit: derive the class from"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        exit_of(text)
