import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from concise_rl.cli import main
from concise_rl.evaluate.compare import MARGIN, command_of, compare
from concise_rl.evaluate.compare.failed import FailedRun
from concise_rl.evaluate.compare.join import join
from concise_rl.evaluate.compare.report import build_comparison
from concise_rl.evaluate.compare.table import markdown_table, terminal_table
from concise_rl.evaluate.compare.wording import advice, first_sentence, front_sentence
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.report import build_report
from tests.browser import PHONE, OpenPage, column, overflow
from tests.concise_rl.evaluate.compare.folders import drawn, evaluated


def three(folder: Path) -> list[Path]:
    """A baseline; a method that saves as much as can be, one that saves less, and one that costs accuracy."""
    one = evaluated(
        folder / "one",
        ("short", drawn(10)),
        ("long", drawn(30)),
        baseline=drawn(40, lambda p, k: (p + k) % 4 > 0),
    )
    wrong = drawn(8, lambda p, k: p % 2 > 0)
    return [one, evaluated(folder / "two", ("rash", wrong), ("rash", wrong))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return three(tmp_path_factory.mktemp("evaluations"))


def counted(folders: list[Path], sort: str | None = None, failed: Sequence[FailedRun] = ()) -> dict[str, Any]:
    """The report alone, without page and figures."""
    report, evaluation = build_comparison(join(folders, Path("out")), sort, MARGIN, failed)
    assert [label.name for label in evaluation.labels] == [entry["label"] for entry in report["methods"]]
    return report


def test_the_numbers_of_a_label_are_those_of_its_own_report(folders: list[Path]) -> None:
    report, alone = counted(folders), build_report(read_evaluation(folders[0]))
    for entry in alone["methods"]:
        found = next(method for method in report["methods"] if method["label"] == entry["label"])
        assert {name: found[name] for name in entry} == entry


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (None, ["short", "long", "rash"]),
        ("tokens", ["rash", "short", "long"]),
        ("accuracy", ["long", "short", "rash"]),
        ("saved", ["rash", "short", "long"]),
        ("front", ["rash", "short", "long"]),
    ],
)
def test_methods_are_sorted_by_a_column_the_best_first(folders: list[Path], sort: str | None, order: list[str]) -> None:
    report = counted(folders, sort)
    assert [entry["label"] for entry in report["methods"]] == order
    assert report["model"] == report["methods"][0]


def test_every_model_knows_where_it_stands_to_the_front(folders: list[Path]) -> None:
    report = counted(folders)
    places = {entry["label"]: entry["front"] for entry in [report["baseline"], *report["methods"]]}
    assert [name for name, place in places.items() if place["on_front"]] == ["short", "rash"]
    assert places["long"] == {"on_front": False, "share": 0.0, "dominated_by": "short"}
    assert front_sentence(report) == "On the Pareto front (2 of 4 models): rash and short."


def test_pairs_go_by_name_and_have_a_verdict_each_way(folders: list[Path]) -> None:
    pairs = {(pair["first"], pair["second"]): pair for pair in counted(folders)["pairs"]}
    assert len(pairs) == 6
    assert pairs["short", "long"]["first_saves"] == "yes" and pairs["short", "long"]["second_saves"] == "no"
    assert pairs["long", "rash"]["second_saves"] == "no"


def test_without_a_baseline_nothing_is_saved_and_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    found = compare([evaluated(tmp_path / "a", ("one", drawn(10)), ("two", drawn(30)))], tmp_path / "out")
    assert found.report["sorted_by"] == "accuracy"
    assert "saved" not in markdown_table(found.report).splitlines()[0]
    assert "--baseline LABEL" in advice(found.report) and "No baseline" in found.page.read_text()


def test_with_a_baseline_no_advice_is_given(folders: list[Path]) -> None:
    assert advice(counted(folders)) == ""


@pytest.mark.parametrize(("sort", "message"), [("aes", "There is no baseline"), ("speed", "Unknown column 'speed'")])
def test_a_column_that_is_not_there_cannot_sort(tmp_path: Path, sort: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare([evaluated(tmp_path / "a", ("one", drawn(10)))], tmp_path / "out", sort=sort)


def test_methods_that_nobody_could_judge_have_tokens_and_no_front(tmp_path: Path) -> None:
    unjudged = [s.model_copy(update={"correct": None}) for s in drawn(10)]
    found = compare([evaluated(tmp_path / "a", ("one", unjudged), ("two", unjudged))], tmp_path / "out")
    assert [entry["front"] for entry in found.report["methods"]] == [None, None]
    assert found.report["pairs"] == [] and found.page.is_file()


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        compare([folder], tmp_path / "out")
        return {str(path): path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()}

    folder = evaluated(tmp_path / "one", ("short", drawn(10)), ("long", drawn(30)))
    first = contents()
    assert contents() == first
    assert {Path(name).name for name in first} >= {"compare.json", "compare.html", "compare_pareto.png"}


def plain(report: dict[str, Any]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(report))
    return console.export_text()


def test_the_table_fits_a_terminal_and_shows_what_failed(folders: list[Path]) -> None:
    report = counted(folders, failed=[FailedRun("jet", 2, "out of memory")])
    shown = plain(report)
    assert max(map(len, shown.splitlines())) <= 80
    row = next(line for line in shown.splitlines() if "short" in line)
    assert "100.0 %" in row and "15.5" in row and "+1." in row and "●" in row
    assert "jet, seed 2" in shown and "2 seeds" in shown


def test_one_model_alone_has_no_front(tmp_path: Path) -> None:
    report = counted([evaluated(tmp_path / "a", ("one", drawn(10)))])
    assert markdown_table(report).splitlines()[0] == "| model | accuracy | tokens | stopped short | x oracle |"
    assert front_sentence(report) == ""


def test_the_markdown_table_has_a_row_for_each_model(folders: list[Path]) -> None:
    report = counted(folders, failed=[FailedRun("jet", None, "out of memory")])
    lines = markdown_table(report).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| baseline",
        "| **short**",
        "| long",
        "| **rash** (2 seeds)",
        "| jet",
    ]
    assert "53.8 %" not in lines[2] and "[" in lines[3]


def test_the_headline_says_by_what_the_first_is_the_first(folders: list[Path]) -> None:
    report = counted(folders, "tokens")
    assert first_sentence(report).startswith("First by tokens: rash uses 70.3 % fewer tokens; its accuracy")


def test_the_command_writes_json_to_stdout_and_words_to_stderr(tmp_path: Path, capsys: Any) -> None:
    folder, out = evaluated(tmp_path / "a", ("one", drawn(10)), ("two", drawn(30))), str(tmp_path / "out")
    main(["compare", str(folder), "--out", out, "--json"])
    written, said = capsys.readouterr()
    assert json.loads(written) == json.loads((tmp_path / "out/compare.json").read_text())
    assert "Pareto front" in said and "Page:" in said
    main(["compare", str(folder), "--out", out, "--markdown"])
    assert capsys.readouterr().out.startswith("| model | accuracy |")


def test_the_command_that_makes_it_again_has_every_option_that_was_set() -> None:
    words = command_of([Path("a b"), Path("c")], Path("out"), [("c", "mine")], "a b", "tokens", 1.0)
    assert words == ("concise-rl compare 'a b' c --label c=mine --baseline 'a b' --sort tokens --margin 1 --out out")


@pytest.mark.parametrize("words", [["--label", "grpo"], ["--margin", "-1"], ["--json", "--markdown"]])
def test_wrong_options_are_one_line(tmp_path: Path, words: list[str], capsys: Any) -> None:
    folder = evaluated(tmp_path / "a", ("one", drawn(10)))
    with pytest.raises(SystemExit) as stopped:
        main(["compare", str(folder), "--out", str(tmp_path / "out"), *words])
    said = capsys.readouterr().err if stopped.value.code == 2 else str(stopped.value.code)
    assert said.startswith("error: ") and said.strip().count("\n") == 0


def test_the_page_works_in_a_browser(tmp_path: Path, folders: list[Path], open_page: OpenPage) -> None:
    page = open_page(compare(folders, tmp_path / "out", failed=[FailedRun("jet", 2, "</script><b>gone")]).page)
    assert column(page, 1, "#table") == ["baseline", "short", "long", "rash"]
    page.locator("#table th:nth-child(3) button").click()
    assert column(page, 1, "#table") == ["baseline", "long", "short", "rash"]
    assert page.locator("#table tfoot").inner_text().split("\t") == ["jet, seed 2", "✗ failed: </script><b>gone"]
    page.locator("#table tr[data-method='1']").hover()
    assert page.locator("figure [data-method='1'].chosen").count() and page.locator("body.picked").count()
    assert page.locator("details.example").count() == 6
    assert overflow(page) == 0


def test_the_page_of_many_methods_fits_a_phone(tmp_path: Path, open_page: OpenPage) -> None:
    models = [
        (f"a_method_of_a_long_name_{i}", drawn(10 + 3 * i, lambda p, k, i=i: (p + k) % (i + 2) > 0)) for i in range(9)
    ]
    folder = evaluated(tmp_path / "many", *models, baseline=drawn(40))
    page = open_page(compare([folder], tmp_path / "out").page, PHONE, color_scheme="dark")
    assert overflow(page) == 0
    assert page.locator("table.pairs tbody tr").count() == 10
