"""Each rule of compatibility by itself: what it refuses, and the nearest that it lets pass."""

from typing import Any

import pytest

from concise_rl.methods import Clipped, Label, Objective, Parts, RunContext
from concise_rl.recipe.compatibility import RULES
from concise_rl.recipe.config import ConciseConfig
from reward import Conciser, Decs, Dot, Grpo, LcR1, SGrpo

BY_NAME = {rule.__name__: rule for rule in RULES}
VLLM: dict[str, Any] = {"use_vllm": True, "vllm_importance_sampling_mode": "sequence_mask"}
BY_TOKEN: dict[str, Any] = VLLM | {"vllm_importance_sampling_mode": "token_truncate"}

HALF_GROUPS: dict[str, Any] = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


class OwnLoss(Grpo):
    """GRPO with a loss that it brings along."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(loss=Clipped())


class LossOfLabels(OwnLoss):
    """A loss that reads labels, which nobody adds."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(loss=Clipped(("necessary",)))


class LabelledLoss(OwnLoss):
    """A loss that reads labels, and the stage that adds them."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(loss=Clipped(("necessary",)), stages=(Label("line"),))


Case = tuple[str, Objective, dict[str, Any], str, Objective, dict[str, Any]]
CASES: list[Case] = [
    (
        *("_own_loss_reads_facts_that_there_are", LossOfLabels(), {}, "name in parts() what does"),
        *(LabelledLoss(), {}),
    ),
    # rule, method and settings that it refuses, what it says to set, the nearest that passes
    ("_no_refused_setting", Grpo(), {"remove_unused_columns": True}, "remove_unused_columns", Grpo(), {}),
    ("_no_refused_setting", Grpo(), {"reward_weights": [1.0]}, "reward_weights", Grpo(), {"reward_weights": None}),
    ("_has_a_cap", Grpo(), {"max_completion_length": None}, "max_completion_length", Grpo(), {}),
    ("_known_loss", Grpo(), {"loss_type": "dappo"}, "'dapo'", Grpo(), {"loss_type": "dapo"}),
    (
        *("_nothing_dropped", Grpo(), {"loss_type": "cispo", "delta": 3.0}, "leave delta out"),
        *(Grpo(), {"loss_type": "grpo", "delta": 3.0}),
    ),
    (
        *("_nothing_dropped", Grpo(), {"ref_model_sync_steps": 8}, "leave ref_model_sync_steps out"),
        *(Grpo(), {"ref_model_sync_steps": 8, "sync_ref_model": True, "beta": 0.1}),
    ),
    (
        *("_one_advantage_a_rollout", Decs(), {"off_policy_mask_threshold": 0.5}, "off_policy_mask_threshold to null"),
        *(Grpo(), {"off_policy_mask_threshold": 0.5}),
    ),
    (
        *("_one_advantage_a_rollout", LcR1(), {"loss_type": "vespo"}, "use dapo"),
        *(LcR1(), {"loss_type": "dapo"}),
    ),
    (
        *("_own_loss_reads_its_settings", OwnLoss(), {"loss_type": "cispo"}, "set one of grpo, bnpo"),
        *(OwnLoss(), {"loss_type": "bnpo"}),
    ),
    (
        *("_own_loss_reads_its_settings", OwnLoss(), {"loss_type": "grpo", "delta": 3.0}, "Leave delta out"),
        *(Grpo(), {"loss_type": "grpo", "delta": 3.0}),
    ),
    (
        *("_own_loss_reads_its_settings", OwnLoss(), {"entropy_coef": 0.1}, "Leave entropy_coef out"),
        *(OwnLoss(), {"entropy_coef": 0.0}),
    ),
    ("_delimiter_for_labels", Decs(), {"think_end": None}, "set think_end", Grpo(), {"think_end": None}),
    (
        *("_loss_forgets_what_is_dropped", Dot(), {"loss_type": "grpo"}, "set it to one of dapo, cispo"),
        *(Dot(), {"loss_type": "cispo"}),
    ),
    (
        *("_loss_forgets_what_is_dropped", Grpo(), {"loss_type": "grpo", "curriculum": "kappa"}, "dapo, cispo"),
        *(Grpo(), {"loss_type": "grpo"}),
    ),
    (
        *("_scale_reaches_the_objective", Decs(), {"scale_rewards": "none"}, "Leave scale_rewards out"),
        *(Decs(), {"scale_rewards": "group"}),
    ),
    (
        *("_scale_reaches_the_objective", Conciser(), {"scale_rewards": "none"}, "give it to the objective"),
        *(Conciser(scale_rewards="none"), {"scale_rewards": "none"}),
    ),
    (
        *("_whole_groups_share", SGrpo(), HALF_GROUPS, "multiple of num_generations (8)"),
        *(SGrpo(), {"per_device_train_batch_size": 8}),
    ),
    (
        *("_whole_groups_share", Grpo(), {"shared_prefix": True, **HALF_GROUPS}, "or set shared_prefix: false"),
        *(Grpo(), {"shared_prefix": False, **HALF_GROUPS}),
    ),
    (
        *("_rows_run_apart_or_share", Grpo(), {"shared_prefix": True, "rows_per_forward": 4}, "rows_per_forward"),
        *(Grpo(), {"shared_prefix": False, "rows_per_forward": 4}),
    ),
    (
        *("_rows_share_no_noise", Grpo(), {"shared_prefix": True, "neftune_noise_alpha": 5.0}, "neftune_noise_alpha"),
        *(Grpo(), {"shared_prefix": False, "neftune_noise_alpha": 5.0}),
    ),
    (
        *("_rollouts_are_sampled", Grpo(), {"generation_kwargs": {"top_k": 5}}, "Set top_k"),
        *(Grpo(), {"top_k": 5}),
    ),
    (
        *("_rollouts_are_sampled", Grpo(), {"generation_kwargs": {"num_beams": 2}}, "Leave out do_sample, beams"),
        *(Grpo(), {"generation_kwargs": {"num_beams": 1, "do_sample": True}}),
    ),
    (
        *("_batches_as_sampled", Grpo(), {"accelerator_config": {"split_batches": True}}, "Leave it out"),
        *(Grpo(), {"accelerator_config": {"split_batches": False}}),
    ),
    ("_weights_by_token", Grpo(), VLLM | {"loss_type": "vespo"}, "token_truncate or token_mask", Grpo(), VLLM),
    ("_weights_by_token", SGrpo(), VLLM, "set vllm_importance_sampling_mode to token_truncate", SGrpo(), BY_TOKEN),
    (
        *("_weights_by_token", Decs(), VLLM, "set vllm_importance_sampling_mode to token_truncate"),
        *(Decs(), VLLM | {"vllm_importance_sampling_correction": False}),
    ),
]


def config(**settings: Any) -> ConciseConfig:
    return ConciseConfig(output_dir="unused", use_cpu=True, bf16=False, report_to="none", **settings)


@pytest.mark.parametrize(("name", "refused", "settings", "said", "taken", "near"), CASES)
def test_a_rule_refuses_one_thing_and_says_what_to_set(
    name: str, refused: Objective, settings: dict, said: str, taken: Objective, near: dict
) -> None:
    complaint = BY_NAME[name](refused, config(**settings))
    assert complaint and said in complaint and "\n" not in complaint and complaint[-1] in ".?"
    assert BY_NAME[name](taken, config(**near)) is None


def test_every_rule_is_tested_by_itself() -> None:
    assert {case[0] for case in CASES} == set(BY_NAME)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_what_is_nearest_passes_the_rules_before_it(case: Case) -> None:
    before = RULES[: list(BY_NAME).index(case[0])]
    assert [rule.__name__ for rule in before if rule(case[4], config(**case[5]))] == []
