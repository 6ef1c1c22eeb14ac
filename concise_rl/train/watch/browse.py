"""The recorded rollouts of a run as its page shows them: the best and the worst of a group side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from concise_rl.output.pages.parts import Part
from concise_rl.output.pages.samples import VERDICT_MARKS, VERDICT_TONES, VERDICTS, Category, Number, Text, browser_data

BUDGET = 4_000_000
"""Characters that the packed texts may take: the page is written again and again."""
Rollout = Mapping[str, Any]


def rollouts_data(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Turn lines of `rollouts.jsonl` into what the macro `browser` takes."""
    rows = [(i, group, rollout) for i, group in enumerate(groups) for rollout in group["rollouts"]]
    rollouts = [rollout for _, _, rollout in rows]
    places = [place for group in groups for place in places_of(group["rollouts"])]
    texts = [Text(group["prompt"], group["gold"], parts_of(rollout)) for _, group, rollout in rows]
    facts = [
        Category("step", "step", [str(group["step"]) for _, group, _ in rows]),
        Category("verdict", "verdict", [VERDICTS[r["correct"]] for r in rollouts], VERDICT_MARKS, VERDICT_TONES),
        Number("tokens", "tokens", [r["tokens"] for r in rollouts]),
        Number("advantage", "advantage", [r["advantage"] for r in rollouts], digits=2),
        Category("place", "in its group", places, wide=True),
        *further_facts(rollouts),
    ]
    return browser_data(facts, texts, [i for i, _, _ in rows], beside_of(groups, places), BUDGET)


def further_facts(rollouts: Sequence[Rollout]) -> list[Category | Number]:
    """Return what is shown with one rollout, and of which not all runs know something."""
    parts = list(dict.fromkeys(part for r in rollouts for part in r.get("advantage_by_part", {}) if part != "end"))
    numbers = [
        Number("thinking", "thinking", [r["thinking_tokens"] for r in rollouts], listed=False),
        Number("redundant", "redundant", [r["redundant_tokens"] for r in rollouts], wide=True),
        Number("reward", "reward", [r["reward"] for r in rollouts], digits=3, listed=False),
        *(
            Number(
                f"advantage-{part}",
                f"advantage of {part}",
                [r.get("advantage_by_part", {}).get(part) for r in rollouts],
                digits=2,
                listed=False,
                sort=False,
            )
            for part in parts
        ),
    ]
    known = [number for number in numbers if any(value is not None for value in number.values)]
    return [*known, Category("stop", "ended by", [r["stop"] for r in rollouts], wide=True)]


def places_of(rollouts: Sequence[Rollout]) -> list[str | None]:
    """Name the rollouts of a group that are worth most and least; nobody where all are worth the same."""
    worth = [rollout["advantage"] for rollout in rollouts]
    known = {value for value in worth if value is not None}
    if len(known) < 2:
        return [None] * len(worth)
    best, worst = worth.index(max(known)), worth.index(min(known))
    return ["best" if i == best else "worst" if i == worst else None for i in range(len(worth))]


def beside_of(groups: Sequence[Mapping[str, Any]], places: Sequence[str | None]) -> list[int | None]:
    """Say whom each rollout is shown beside: the worst beside the best, and all others the best."""
    beside: list[int | None] = []
    for group in groups:
        first, size = len(beside), len(group["rollouts"])
        own = list(places[first : first + size])
        if "best" not in own:
            beside += [None] * size
            continue
        best, worst = first + own.index("best"), first + own.index("worst")
        beside += [worst if first + i == best else best for i in range(size)]
    return beside


def parts_of(rollout: Rollout) -> list[Part]:
    """Cut the completion into its parts. The token that ends it is no text."""
    return [Part(kind, text) for kind, text in rollout["parts"] if kind != "end"]
