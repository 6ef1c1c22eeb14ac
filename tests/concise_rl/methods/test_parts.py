from concise_rl.methods import Crop, Label, Parallel, Parts, RunContext, add_to_prompt
from concise_rl.reading.trace import read_trace
from reward import build_objective


def test_the_parts_of_plain_grpo_add_no_facts() -> None:
    assert Parts() == build_objective("grpo").parts(RunContext.sketch())
    assert Parts().facts == () and Parts().plan == Parallel()


def test_parts_know_the_facts_of_plan_writer_and_stages() -> None:
    writer = build_objective("l1_exact").parts(RunContext.sketch()).prompts
    parts = Parts(prompts=writer, stages=(Label("chunk"), Crop()))
    assert [fact.name for fact in parts.facts] == ["target", "redundant", "necessary", "reflections"]


def test_a_sketch_writes_the_delimiter_as_one_token_wherever_it_stands() -> None:
    run = RunContext.sketch(think_end="</t>")
    ids = run.encode("stop now</t>\n\nso")
    assert ids.count(-1) == 1 and read_trace(ids, run.delimiters).answer_ids == (0,)
    assert -1 not in run.encode("no delimiter")


def test_text_goes_behind_the_prompt_or_the_last_turn_of_its_conversation() -> None:
    assert add_to_prompt({"prompt": "2 + 2?"}, " Be brief.")["prompt"] == "2 + 2? Be brief."
    turns = [{"role": "system", "content": "You add."}, {"role": "user", "content": "2 + 2?"}]
    row = {"prompt": turns, "answer": "4"}
    assert add_to_prompt(row, " Be brief.")["prompt"] == [turns[0], {"role": "user", "content": "2 + 2? Be brief."}]
    assert row["prompt"][1]["content"] == "2 + 2?", "the row of the data stays as it is"
