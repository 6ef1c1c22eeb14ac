// Tables that a reader sorts: a click on a column's title sorts by it, largest first for numbers; again, the other way.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const bodies = [...table.tBodies];
  // A body of several rows is one entry and its details. Bodies are then sorted, each by its first row.
  const grouped = bodies.length > 1;
  const heads = [...table.tHead.rows].at(-1).cells; // groups of columns may have a row of their own above
  const units = grouped ? bodies : [...bodies[0].rows];

  function keyOf(unit, column) {
    const cell = (grouped ? unit.rows[0] : unit).cells[column];
    const value = (cell.dataset.value ?? cell.textContent).trim();
    if (value === "" || value === "-") return null;
    const number = Number(value.replaceAll(",", "").replace("−", "-").replace(/\s*[%x]$/, ""));
    return Number.isNaN(number) ? value : number;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortBy(header, column) {
    const keys = new Map(units.map((unit) => [unit, keyOf(unit, column)]));
    const isNumeric = [...keys.values()].some((key) => typeof key === "number");
    const before = header.getAttribute("aria-sort");
    const down = before ? before === "ascending" : isNumeric;
    for (const other of heads) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sorted = [...units].sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null); // what is not known comes last, either way
      return (down ? -1 : 1) * compare(x, y);
    });
    (grouped ? table : bodies[0]).append(...sorted);
  }

  [...heads].forEach((header, column) => {
    if ("nosort" in header.dataset || units.length < 2) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(header, column));
  });
}
