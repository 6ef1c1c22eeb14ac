"""The formats that can be imported, one file each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from concise_rl.errors import unknown
from concise_rl.evaluate.exchange.formats import evalscope, inspect, lighteval, lm_eval
from concise_rl.evaluate.exchange.log import Log, Wanted


@dataclass(frozen=True)
class Format:
    """A format of logs.

    Attributes:
        find: lists its files at a path; none where there are none.
        read: reads some of them as one model's log.
        files: what they look like, for messages.
    """

    find: Callable[[Path], list[Path]]
    read: Callable[[Sequence[Path], Wanted], Log]
    files: str


FORMATS = {
    "inspect": Format(inspect.find, inspect.read, "a .eval or .json log"),
    "lighteval": Format(lighteval.find, lighteval.read, "details_TASK_DATE.parquet"),
    "evalscope": Format(evalscope.find, evalscope.read, "predictions/MODEL/*.jsonl, with reviews/ beside them"),
    "lm-eval": Format(lm_eval.find, lm_eval.read, "samples_TASK_DATE.jsonl"),
}


def read_log(paths: Sequence[Path], name: str | None, wanted: Wanted) -> Log:
    """Read what lies at some paths as the log of one model.

    Args:
        paths: files, or folders that hold them.
        name: of the format; None to tell it from the files.
        wanted: which score counts.

    Raises:
        ValueError: when nothing is there, the format is unknown or not clear, or the log cannot be used.
    """
    if absent := [path for path in paths if not path.exists()]:
        raise ValueError(f"There is no file or folder {absent[0]}.")
    if name is not None and name not in FORMATS:
        raise unknown("format", name, FORMATS)
    tried = [name] if name else list(FORMATS)
    found = {one: [file for path in paths for file in FORMATS[one].find(path)] for one in tried}
    fitting = [one for one, files in found.items() if files]
    where = ", ".join(map(str, paths))
    if not fitting:
        known = "; ".join(f"{one}: {FORMATS[one].files}" for one in tried)
        raise ValueError(f"{where} holds no log with anything in it. Looked for {known}.")
    if len(fitting) > 1:
        raise ValueError(f"{where} holds logs of several formats, {', '.join(fitting)}: give files, or --format.")
    log = FORMATS[fitting[0]].read(list(dict.fromkeys(found[fitting[0]])), wanted)
    if not log.logged:
        raise ValueError(f"{log.name} holds no samples.")
    log.check_texts()
    return log
