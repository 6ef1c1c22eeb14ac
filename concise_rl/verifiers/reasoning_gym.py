"""reasoning-gym tasks, judged by the scorer of the task itself."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import reasoning_gym

# Building a scorer builds its data set, for some tasks with word lists.
_scorer: Callable[[str], Callable[..., float]] = functools.cache(reasoning_gym.get_score_answer_fn)


def verify(response: str, row: Mapping[str, Any]) -> bool:
    """Full score only: the scorers pay part of it for a wrong answer in the right form.

    Raises:
        KeyError: when the row lacks `metadata`, the JSON that `load_rows` writes, with its `source_dataset`.
    """
    metadata = json.loads(row["metadata"])
    prompt = row.get("prompt")  # in training, this is the conversation and `problem` its text
    question = prompt if isinstance(prompt, str) else row.get("problem", prompt)
    entry = {"question": question, "answer": row["answer"], "metadata": metadata}
    return _scorer(metadata["source_dataset"])(response.strip(), entry) >= 1.0
