r"""Benchmarks by name: `math500` is drawn from the hub, `math500=FILE` read from a local copy.

Sampling and samples follow what DeepSeek-R1, Qwen3 and open-r1 publish: temperature 0.6, top_p 0.95, 32,768 tokens, no
examples in the prompt and no system turn. Their counts of rows, columns and oddities were read in the cards of the data
sets, and in the loaders of lighteval 0.13, lm-eval 0.4.13 and evalscope 1.14.
"""

from pathlib import Path

from concise_rl.errors import unknown
from concise_rl.tasks.benchmarks.benchmark import Benchmark, Row
from concise_rl.tasks.benchmarks.rows import (
    boxed_row,
    gpqa_row,
    gsm8k_row,
    livecodebench_row,
    mmlu_pro_row,
    olympiad_row,
)

__all__ = ["BENCHMARKS", "Benchmark", "Row", "find_benchmark"]

BOXED = "{prompt}\nPlease reason step by step, and put your final answer within \\boxed{}."
LETTER = '{prompt}\n\nPlease show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
_EXAM = "none stated; the exam is MAA's"
_NONCOMMERCIAL = "CC BY-NC-SA 4.0"

BENCHMARKS: dict[str, Benchmark] = {
    "math500": Benchmark(
        "HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        rows=500,
        difficulty_column="level",
        prompt_template=BOXED,
        licence="none stated (MATH: MIT)",
        note="Verifiers and prompts alone move a model by 3 points (93.9 and 97.4 are published for one).",
    ),
    "gsm8k": Benchmark(
        "openai/gsm8k:main",
        revision="740312add88f781978c0658806c59bc2815b9866",
        rows=1319,
        columns=("question", "answer"),
        row=gsm8k_row,
        copies={("problem", "answer"): gsm8k_row},
        prompt_template=BOXED,
        samples=1,
        licence="MIT",
        note="Some copies have 1,317 rows, one record broken in two, and keep the commas of the gold answers.",
    ),
    "aime24": Benchmark(
        "HuggingFaceH4/aime_2024",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        split="train",
        rows=30,
        copies={("Problem", "Answer"): None},
        prompt_template=BOXED,
        samples=64,
        licence=_EXAM,
        note="Both exams, I and II. The standard error over its 30 problems stays near 6 points at 64 samples.",
    ),
    "aime25": Benchmark(
        "math-ai/aime25",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        rows=30,
        prompt_template=BOXED,
        samples=64,
        licence=_EXAM,
        note="Both exams, I and II. See aime24 for its error.",
    ),
    "aime26": Benchmark(
        "MathArena/aime_2026",
        revision="d2de22f3c656b4f56cf8981212186377d1e23bc3",
        split="train",
        rows=30,
        prompt_template=BOXED,
        samples=64,
        licence=_NONCOMMERCIAL,
        note="Both exams, I and II. See aime24 for its error. The licence forbids commercial use.",
    ),
    "hmmt_feb25": Benchmark(
        "MathArena/hmmt_feb_2025",
        revision="6fdc4277120810ff75aa22d2d5489b91f7a262a1",
        split="train",
        rows=30,
        prompt_template=BOXED,
        samples=64,
        licence=_NONCOMMERCIAL,
        note="Golds are LaTeX, not integers. The set of 2026 has 33 rows. The licence forbids commercial use.",
    ),
    "amc23": Benchmark(
        "math-ai/amc23",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        rows=40,
        prompt_column="question",
        copies={("problem", "answer"): None},
        prompt_template=BOXED,
        samples=32,
        licence=_EXAM,
        note="The 40 problems of Qwen, DEER and Dynasor: AMC 12 of 2023, A and B. DeepScaleR-style papers mean amc83.",
    ),
    "amc83": Benchmark(
        "AI-MO/aimo-validation-amc",
        revision="69d78a4a2c840e82d69af6bc742bda09005f6316",
        split="train",
        rows=83,
        prompt_template=BOXED,
        samples=16,
        licence=_EXAM,
        note="AMC 12 of 2022 and 2023, rewritten so that answers are integers; amc23 is a part of it. 43 of them, "
        "those of 2022, are among the sources of DeepScaleR's training set.",
    ),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench:OE_TO_maths_en_COMP",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        split="train",
        rows=674,
        columns=("question", "final_answer"),
        row=olympiad_row,
        difficulty_column="subfield",
        prompt_template=BOXED,
        licence="Apache-2.0",
        note="English, text alone, open-ended: 674 of 8,476 problems; copies by Qwen, DeepScaleR and DEER have 675. 94 "
        "golds are lists. lighteval's task is an exact match under 2,048 tokens: no number to compare with.",
    ),
    "minerva": Benchmark(
        "math-ai/minervamath",
        rows=272,
        prompt_column="question",
        copies={("problem", "solution"): boxed_row},
        prompt_template=BOXED,
        licence="none stated",
        note="DeepScaleR's copy has wrong golds in at least 31 rows: scores from it end near 88 %. 70 prompts hold a "
        "\\boxed{} of their own.",
    ),
    "gpqa_diamond": Benchmark(
        "Idavidrein/gpqa:gpqa_diamond",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        split="train",
        rows=198,
        columns=("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
        row=gpqa_row,
        verifier="choice",
        difficulty_column="High-level domain",
        prompt_template=LETTER,
        samples=8,
        licence="CC BY 4.0, gated: accept its terms on the hub, never publish its text",
        note="The order of the options differs from harness to harness. Here it follows from the question alone.",
    ),
    "mmlu_pro": Benchmark(
        "TIGER-Lab/MMLU-Pro",
        revision="3373e0b32277875b8db2aa555a333b78a08477ea",
        rows=12032,
        columns=("question", "options", "answer"),
        row=mmlu_pro_row,
        verifier="choice",
        difficulty_column="category",
        prompt_template=LETTER,
        samples=1,
        licence="MIT",
        note="3 to 10 options, A to J; lighteval's prompt asks for one of ABCD.",
    ),
    "lcb_v6": Benchmark(
        "lighteval/code_generation_lite:v6",
        revision="89e5fc5c2a8e748f50e95bc7235fab2372d49bfa",
        rows=175,
        columns=("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata"),
        row=livecodebench_row,
        verifier="code",
        difficulty_column="difficulty",
        samples=16,
        licence="cc, as its card says",
        note="The 175 newest problems, to April 2025; release_v6 means all 1,055. Qwen3 reports v5, October 2024 to "
        "February 2025. Programs of the model run on this machine: see the verifier code.",
    ),
    "zebra": Benchmark(
        "reasoning_gym:zebra_puzzles",
        rows=200,
        prompt_column="prompt",
        columns=("prompt", "answer", "metadata"),
        verifier="reasoning_gym",
        licence="Apache-2.0",
        note="Made by reasoning-gym from the seed, a substitute for ZebraLogic, which is gated; not its numbers.",
    ),
    "knights": Benchmark(
        "reasoning_gym:knights_knaves",
        rows=200,
        prompt_column="prompt",
        columns=("prompt", "answer", "metadata"),
        verifier="reasoning_gym",
        licence="Apache-2.0",
        note="Made by reasoning-gym from the seed.",
    ),
}
"""By name. A name is what `--task`, and `dataset` in a recipe, take."""


def find_benchmark(source: str) -> tuple[str, Benchmark, str | None] | None:
    """Find what `NAME` or `NAME=FILE` means.

    Returns:
        The name, its benchmark, and the file, or None in its place; None where `source` is no such.

    Raises:
        ValueError: for `NAME=FILE` of a name that is nearly one.
    """
    name, equals, file = source.partition("=")
    if name in BENCHMARKS:
        if equals and not file:
            raise ValueError(f"{source!r} names no file: give {name}=FILE, or {name} for the hub's own.")
        return name, BENCHMARKS[name], file or None
    if equals and name.replace("_", "").isalnum() and not Path(source).exists():
        raise unknown("benchmark", name, BENCHMARKS)
    return None
