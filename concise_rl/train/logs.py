"""The part of the trainer that logs a batch. Private parts of TRL in use: `_metrics`, `_logs`."""

from typing import Any

from accelerate.utils import gather_object
from trl import GRPOTrainer

from concise_rl.methods import Objective
from concise_rl.recipe.config import ConciseConfig
from concise_rl.train.clock import Clock
from concise_rl.train.credit import Credited, Creditor
from concise_rl.train.metrics import Counted, batch_metrics, ratio_columns, ratio_metrics, step_metrics
from concise_rl.verify.pool import VerifierPool


class BatchLogs(GRPOTrainer):
    """Logs what the rollouts of a batch were, and what the method made of them."""

    args: ConciseConfig
    method: Objective
    verifier: VerifierPool
    creditor: Creditor
    clock: Clock

    def _log_batch(self, credited: Credited, scored: dict[str, Any], more: dict[str, float]) -> None:
        """Log a batch; the method's advantages take the place of those that TRL has logged by now."""
        assert self.model is not None
        of_step = step_metrics(gather_object([self._counted(credited)]))
        logged = batch_metrics(credited, self.method) | of_step | more | self._ratio_metrics(scored)
        for key, value in logged.items():
            self._metrics["train" if self.model.training else "eval"][key].append(value)
        advantages = credited.advantages
        scalars = (advantages if advantages.ndim == 1 else advantages.mean(dim=1)).tolist()
        theirs: Any = self._logs["advantages"]
        for _ in range(min(len(scalars), len(theirs))):
            theirs.pop()
        theirs.extend(scalars)

    def _counted(self, credited: Credited) -> Counted:
        """What this rank counted in this step."""
        parts = {"verifier": self.verifier.counters}
        if labeller := self.creditor.tools.labeller:
            parts["judge"] = labeller.counters
        counters = {f"{part}/{name}": count for part, counted in parts.items() for name, count in counted.items()}
        rollouts = credited.judged.rollouts
        return Counted(len(rollouts), sum(r.sampled for r in rollouts), counters, dict(self.clock.seconds))

    def _ratio_metrics(self, scored: dict[str, Any]) -> dict[str, float]:
        """Of the importance weights, where there are any."""
        if "importance_sampling_ratio" not in scored:
            return {}
        clip = self.args.vllm_importance_sampling_clip_max
        columns_BC = ratio_columns(scored, self.args.vllm_importance_sampling_mode, clip)
        return ratio_metrics(self.accelerator.gather(columns_BC))
