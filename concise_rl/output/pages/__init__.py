"""The kit of every HTML page: one self-contained file that opens anywhere and loads nothing.

A page is a template of its own package that extends `kit/base.html.j2`. The kit inlines the styles, and the scripts of
the parts that the page uses.
"""

import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from concise_rl.files import write_atomically
from concise_rl.output.pages.palette import css_variables

STYLES = ("vendor/uPlot.min.css", "static/style.css", "static/browser.css")
SCRIPTS = {
    "theme": ("static/theme.js",),
    "table": ("static/table.js", "static/copy.js"),
    "curves": ("vendor/uPlot.iife.min.js", "static/curves.js"),
    "browser": ("static/texts.js", "static/detail.js", "static/browser.js"),
}
"""The scripts of each part, in the order in which they run. `theme` and `table` are in every page."""


def write_page(path: Path, template: str, package: str, **values: Any) -> None:
    """Render a page and replace the file at `path` by it in one step.

    Args:
        path: where the page goes; its folder is made if need be.
        template, package, values: see `render`.

    Raises:
        OSError: when the file cannot be written; the previous one is then left as it was.
    """
    write_atomically(path, render(template, package, **values))


def render(template: str, package: str, **values: Any) -> str:
    """Render a page as one self-contained file. The same values give the same bytes.

    Args:
        template: name of a template in the folder of `package`, `report.html.j2` say.
        package: the caller's own package, `concise_rl.evaluate` say.
        values: what the template may name. Functions too, to write numbers.

    Returns:
        The content of the HTML file.
    """
    return _environment(package).get_template(template).render(**values)


def _environment(package: str) -> Environment:
    """Return the templates of the kit and of the package, and what all of them may call."""
    kit = PrefixLoader({"kit": PackageLoader("concise_rl.output.pages", "templates")})
    environment = Environment(
        loader=ChoiceLoader([kit, PackageLoader(package, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    used = ["table"]  # the parts of this one page; it names them before its last element, where the scripts are

    def use(part: str) -> str:
        if part not in used:
            used.append(part)
        return ""

    callables: dict[str, Any] = {
        "island": island,
        "use": use,
        "stylesheet": lambda: Markup(_stylesheet()),
        "script": lambda part: Markup(_script(part)),
        "used_scripts": lambda: Markup("\n".join(map(_script, used))),
    }
    environment.globals.update(callables)
    return environment


def island(identifier: str, data: Any) -> Markup:
    """Write data as a JSON island: an element that a script finds by its id and reads, and that never runs.

    Args:
        identifier: id of the element.
        data: what `json` can write. NaN and infinity become null, which JSON can say.
    """
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` in a model's text would end the element, or keep it from ending.
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(f'<script type="application/json" id="{Markup.escape(identifier)}">{text}</script>')


def _finite(data: Any) -> Any:
    """Return data without the floats that JSON has no word for."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


@cache
def _stylesheet() -> str:
    return f":root {{\n{css_variables()}\n}}\n" + "\n".join(_read(path) for path in STYLES)


@cache
def _script(part: str) -> str:
    return "\n".join(_read(path) for path in SCRIPTS[part])


def _read(path: str) -> str:
    return files("concise_rl.output.pages").joinpath(path).read_text("utf-8")
