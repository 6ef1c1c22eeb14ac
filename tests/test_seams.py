"""Overrides of TRL and transformers are those that were read."""

import json
from dataclasses import replace

import pytest

from tests.seams import RECORD, compare, current, differences, fingerprint, gone, private_reads

RECORDED = json.loads(RECORD.read_text())


def test_the_installed_versions_are_the_ones_that_were_read() -> None:
    assert compare() == []


def test_the_overrides_of_mixins_are_recorded_too() -> None:
    assert "concise_rl.train.finite.FiniteSteps._get_grad_norm" in RECORDED


def test_a_method_that_upstream_has_dropped_breaks() -> None:
    found = dict(current())
    found.pop("concise_rl.train.finite.FiniteSteps.compute_loss")
    assert [kind for kind, _ in differences(RECORDED, found)] == ["breaks"]


@pytest.mark.parametrize(("change", "kind"), [({"signature": "(self)"}, "breaks"), ({"source": "0"}, "read again")])
def test_a_method_that_has_changed_is_named(change: dict[str, str], kind: str) -> None:
    found, name = dict(current()), "concise_rl.train.card.WithCard._save"
    found[name] = replace(found[name], **change)
    ((said, line),) = differences(RECORDED, found)
    assert said == kind and line.startswith(name)


def test_comments_and_docstrings_change_nothing() -> None:
    assert fingerprint('def f(x):\n    """Says."""\n    return x\n') == fingerprint("def f(x):\n    return x  # it\n")


def test_a_private_name_that_is_gone_is_named_with_its_files() -> None:
    assert "_metrics" in private_reads()
    assert list(gone({"_lost": ["trainer.py"]}, [json])) == [("breaks", "trainer.py: the trainer's _lost is gone")]
