"""Read what people write: YAML in UTF-8, of which nothing is dropped without a word."""

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = [key.value for key in keys]
        for at, key in enumerate(keys):
            if key.value in names[:at]:
                raise ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Any:
    """What YAML says, in which each key stands once.

    Args:
        text: the YAML.
        where: it stands, for errors.

    Raises:
        ValueError: when it is none, with the place.
    """
    try:
        return yaml.load(text, Loader=_EachKeyOnce)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{where}{place}: not YAML ({' '.join(str(problem or error).split())}).") from None


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: when it is not UTF-8: letters that cannot be read would be lost without a word.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8. Save it as UTF-8.") from None
