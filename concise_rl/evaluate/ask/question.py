"""The question that `concise-rl try` asks: one of a task, or one of the user's own."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from concise_rl.data.rows import columns_read
from concise_rl.data.sources import GENERATED
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.spec import Measurement
from concise_rl.files import SETTINGS_FILE, read_object
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.rollout.collect import Row
from concise_rl.tasks.tiny import WEIGHTS
from concise_rl.verify.pool import VerifierPool

logger = logging.getLogger(__name__)

SUMS = "tiny:sums"
"""The task of the embedded reasoner, and the only one that it knows."""
_SUM = re.compile(r"-?\d( ?[-+] ?\d)*")
_KNOWN = re.compile(r"\d( ?[-+] ?\d){2,5}")
_SENTENCE = "State the final answer to the following arithmetic problem:"


@dataclass(frozen=True)
class Question:
    """Hold what is asked.

    Attributes:
        rows: one row, with `prompt` and `answer`; the answer is empty where nobody knows it.
        origin: where it comes from, in words.
        index: its number in its task; 0 for a question of the user's own. Its draws depend on it.
    """

    rows: Dataset
    origin: str
    index: int = 0

    @property
    def row(self) -> Row:
        """Return the row."""
        return self.rows[0]

    @property
    def text(self) -> str:
        """Return what is asked, before the prompt template and the chat template."""
        return str(self.row["prompt"])

    @property
    def gold(self) -> str | None:
        """Return the right answer, where it is known."""
        return str(self.row["answer"]) or None


def own_question(text: str, gold: str | None, knows_sums: bool) -> Question:
    """Make a question of the user's own.

    Args:
        text: the question.
        gold: its answer, if the user knows it.
        knows_sums: whether all that will be asked are reasoners that know `tiny:sums` alone. They are asked a bare sum
            of digits in the words that they know, and its answer is worked out.
    """
    bare = re.sub(r"\s*=?\s*\??$", "", text.removeprefix(_SENTENCE).strip())
    if knows_sums and _SUM.fullmatch(bare):
        terms = re.findall(r"[-+]?\d", bare.replace(" ", ""))
        spaced = re.sub(r"(?<=\d) ?([-+]) ?", r" \1 ", bare)
        text = f"{_SENTENCE} {spaced} ="
        gold = str(sum(map(int, terms))) if gold is None else gold
    if knows_sums and not _KNOWN.fullmatch(bare):
        logger.warning("The embedded reasoners know sums of 3 to 6 digits alone, '4 - 5 + 2 + 3' say: expect nonsense.")
    return Question(Dataset.from_list([{"prompt": text, "answer": gold or ""}]), "your question")


def question_of_task(measurement: Measurement, index: int) -> Question:
    """Take a question of a task, as `concise-rl eval` numbers them when it takes all of them.

    Args:
        measurement: says which task, split and seed.
        index: number of the question, from 0 on.

    Raises:
        ValueError: when the task cannot be read, or has no such question.
    """
    wanted = index + 1 if measurement.task.startswith(GENERATED) else None
    columns = columns_read(measurement.verifier, DEFAULT_JUDGE)
    rows = measured_rows(measurement.model_copy(update={"problems": wanted}), columns)
    if index >= len(rows):
        raise ValueError(f"{measurement.task} has {len(rows)} questions: --index is one of 0 to {len(rows) - 1}.")
    return Question(rows.select([index]), f"{measurement.task}, question {index}", index)


def check_gold(question: Question, pool: VerifierPool) -> None:
    """Make sure that the verifier takes the right answer for one. This starts its worker, too.

    Raises:
        ValueError: when it does not.
    """
    if question.gold is None:
        return
    if pool.judge([(pool.gold_response(question.row), question.row)])[0] != pool.own_verdict:
        raise ValueError(
            f"The verifier {pool.name!r} does not take {question.gold!r} for a right answer ({question.origin}): give "
            "another --gold or --index, or another --verifier (exact compares text)."
        )
    pool.reset_counters()


def default_task(models: Sequence[str]) -> str | None:
    """Return the task that goes with the models: `tiny:sums` with an embedded reasoner, and with a trained folder what
    it was trained on. None where neither is known."""
    if any(model.startswith("tiny:") or Path(model).parent == WEIGHTS for model in models):  # as a server names them
        return SUMS
    trained_on = (_trained_on(Path(model)) for model in models)
    return next((task for task in trained_on if task), None)


def _trained_on(folder: Path) -> str | None:
    """Return what the settings in the folder of a run say, or in that of the run that a checkpoint belongs to."""
    files = (folder / SETTINGS_FILE, folder.parent / SETTINGS_FILE)
    found = next((file for file in files if file.is_file()), None)
    return read_object(found).get("dataset") if found else None
