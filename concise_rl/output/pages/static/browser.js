// The sample browser: a list that filters, sorts and searches many samples at once, and one of them whole.
// What is chosen stands in the page's address, so that it can be linked: #samples?model=grpo&at=12
const Browser = (() => {
  const { element, write, tone } = Detail;
  const ROW = 34; // pixels: all rows are as high, so that only those in sight need to be there
  const MARGIN = 8; // rows above and below those in sight
  const KEYS = [["j, ↓", "next sample"], ["k, ↑", "previous sample"], ["/", "search the problems"], ["Esc", "leave the search, or clear it"], ["g", "next sample of the same problem"], ["r", "all samples again"], ["?", "this help"]];

  function start(root) {
    const id = root.id;
    const data = JSON.parse(document.getElementById(root.dataset.browser).textContent);
    const texts = Texts.store(data.chunks);
    const categories = data.facts.filter((fact) => fact.kind === "category" && fact.filter && fact.names.length > 1);
    const numbers = data.facts.filter((fact) => fact.kind === "number" && fact.sort);
    const listed = data.facts.filter((fact) => fact.listed);
    const state = { q: "", sort: "", at: 0, filters: {} };
    let prompts = null; // unpacked soon after the start
    let shorts = []; // what of each problem is in the list
    let view = []; // indices of the samples that are listed, in their order

    // ---- the page's address

    // Returns whether the address has a view.
    function readAddress() {
      const [name, query = ""] = location.hash.slice(1).split("?");
      if (name !== id || !query) return false;
      const given = new URLSearchParams(query);
      state.q = given.get("q") ?? "";
      state.sort = given.get("sort") ?? "";
      state.at = Math.min(Math.max(0, Number(given.get("at")) || 0), data.count - 1);
      state.filters = {};
      for (const fact of categories) {
        if (fact.names.includes(given.get(fact.key))) state.filters[fact.key] = given.get(fact.key);
      }
      return true;
    }

    function writeAddress() {
      const query = new URLSearchParams(state.filters);
      if (state.q) query.set("q", state.q);
      if (state.sort) query.set("sort", state.sort);
      query.set("at", state.at);
      history.replaceState(null, "", `#${id}?${query}`);
    }

    // Problems often begin with the same words. In the list what follows them tells more.
    function shortened(texts) {
      let same = texts.length > 1 ? texts[0].length : 0;
      for (const text of texts) while (!text.startsWith(texts[0].slice(0, same))) same--;
      same = texts[0]?.lastIndexOf(" ", same - 1) + 1; // whole words
      return texts.map((text) => (same > 20 ? `… ${text.slice(same)}` : text).slice(0, 200));
    }

    // ---- which samples are listed

    function wanted() {
      const tests = categories.filter((fact) => fact.key in state.filters).map((fact) => {
        const value = fact.names.indexOf(state.filters[fact.key]);
        return (index) => fact.data[index] === value;
      });
      if (state.q && prompts) {
        const words = state.q.toLowerCase();
        const holds = prompts.map(([prompt]) => prompt.toLowerCase().includes(words));
        tests.push((index) => holds[data.prompt[index]]);
      }
      const found = [];
      for (let index = 0; index < data.count; index++) if (tests.every((test) => test(index))) found.push(index);
      return found;
    }

    function sorted(indices) {
      const [, key, direction] = state.sort.match(/^(.*)-(most|least)$/) ?? [];
      const fact = numbers.find((one) => one.key === key);
      if (!fact) return indices;
      const sign = direction === "most" ? -1 : 1;
      const known = indices.filter((index) => fact.data[index] !== null); // what has no number has no place in the order
      return known.sort((a, b) => sign * (fact.data[a] - fact.data[b]) || a - b);
    }

    function refresh() {
      view = sorted(wanted());
      if (view.length && !view.includes(state.at)) state.at = view[0];
      count.textContent = view.length === data.count ? `${data.count.toLocaleString("en")} samples` : `${view.length.toLocaleString("en")} of ${data.count.toLocaleString("en")} samples`;
      rows.style.height = `${view.length * ROW}px`;
      nothing.hidden = view.length > 0;
      detail.hidden = view.length === 0;
      stepper.hidden = view.length === 0;
      for (const select of selects) select.element.value = state.filters[select.key] ?? "";
      order.value = state.sort;
      if (document.activeElement !== search) search.value = state.q;
      reveal();
      paintRows();
      paintDetail();
    }

    // ---- the list

    function cell(fact, index) {
      const made = element("span", { class: `${fact.kind} ${fact.wide ? "wide" : ""} ${tone(fact, index)}` }, ...marked(fact, write(fact, index, true)));
      made.title = made.textContent;
      return made;
    }

    // A mark and its word; a phone has room for the mark.
    function marked(fact, text) {
      const mark = fact.kind === "category" && fact.marks[fact.names.find((name) => text.endsWith(name))];
      return mark ? [mark, element("span", { class: "word" }, text.slice(mark.length))] : [text];
    }

    function row(place) {
      const index = view[place];
      const made = element("div", { class: "row", role: "option", id: `${id}-${index}`, "aria-selected": index === state.at });
      made.style.top = `${place * ROW}px`;
      made.setAttribute("aria-posinset", place + 1);
      made.setAttribute("aria-setsize", view.length);
      made.append(...listed.map((fact) => cell(fact, index)), element("span", { class: "problem" }, prompts ? shorts[data.prompt[index]] : ""));
      made.addEventListener("click", () => choose(index));
      return made;
    }

    function paintRows() {
      const first = Math.max(0, Math.floor(list.scrollTop / ROW) - MARGIN);
      const last = Math.min(view.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + MARGIN);
      rows.replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, offset) => row(first + offset)));
      if (view.length) list.setAttribute("aria-activedescendant", `${id}-${state.at}`);
      else list.removeAttribute("aria-activedescendant");
    }

    // Scroll the list, and nothing else, to the sample that is chosen.
    function reveal() {
      const top = Math.max(0, view.indexOf(state.at)) * ROW;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    }

    // ---- the sample that is chosen

    function choose(index) {
      state.at = index;
      writeAddress();
      reveal();
      paintRows();
      paintDetail();
    }

    function step(by) {
      const place = view.indexOf(state.at) + by;
      if (place >= 0 && place < view.length) choose(view[place]);
    }

    function members() {
      const group = data.group[state.at];
      return data.group.flatMap((other, index) => (other === group ? [index] : []));
    }

    // After a key: a reader far down in one sample begins at the top of the next.
    function bringIntoSight() {
      if (detail.getBoundingClientRect().top < 0) stepper.scrollIntoView({ block: "start", behavior: "instant" });
      else if (root.getBoundingClientRect().top > innerHeight) root.scrollIntoView({ block: "start", behavior: "instant" });
    }

    function nextMember() {
      const all = members();
      choose(all[(all.indexOf(state.at) + 1) % all.length]);
    }

    async function paintDetail() {
      if (!view.length || !prompts) return;
      const index = state.at;
      position.textContent = `${(view.indexOf(index) + 1).toLocaleString("en")} of ${view.length.toLocaleString("en")}`;
      const shown = element("div");
      await Detail.show(shown, data, texts.read, prompts[data.prompt[index]], index);
      if (index === state.at) detail.replaceChildren(...shown.childNodes); // another one may have been chosen meanwhile
      root.dataset.shown = index;
    }

    // ---- what a reader sets

    function option(value, label) {
      return element("option", { value }, label);
    }

    function filter(fact) {
      const counts = fact.names.map(() => 0);
      for (const value of fact.data) if (value !== null) counts[value]++;
      const select = element("select", { "aria-label": fact.title }, option("", `${fact.title}: all`), ...fact.names.map((name, value) => option(name, `${fact.title}: ${name} (${counts[value].toLocaleString("en")})`)));
      select.addEventListener("change", () => {
        if (select.value) state.filters[fact.key] = select.value;
        else delete state.filters[fact.key];
        changed();
      });
      return { key: fact.key, element: select };
    }

    // Another choice of samples begins with its first one.
    function changed() {
      state.at = -1;
      refresh();
      writeAddress();
    }

    // All samples again, at the one that was read.
    function reset() {
      Object.assign(state, { q: "", sort: "", filters: {} });
      search.value = "";
      refresh();
      writeAddress();
    }

    function button(label, title, action) {
      const made = element("button", { type: "button", title, "aria-label": title }, label);
      made.addEventListener("click", action);
      return made;
    }

    const search = element("input", { type: "search", placeholder: "Search the problems", "aria-label": "Search the problems" });
    search.addEventListener("input", () => { state.q = search.value.trim(); changed(); });
    const selects = categories.map(filter);
    const order = element("select", { "aria-label": "order" }, option("", "order: as sampled"), ...numbers.flatMap((fact) => [option(`${fact.key}-most`, `order: most ${fact.title}`), option(`${fact.key}-least`, `order: least ${fact.title}`)]));
    order.addEventListener("change", () => { state.sort = order.value; changed(); });
    const help = element("dialog", { class: "help" }, element("h3", {}, "Keys"), element("dl", {}, ...KEYS.flatMap(([keys, does]) => [element("dt", {}, element("kbd", {}, keys)), element("dd", {}, does)])), element("form", { method: "dialog" }, element("button", {}, "Close")));
    const count = element("span", { class: "count", role: "status" });
    const bar = element("div", { class: "controls" }, search, ...selects.map((select) => select.element), order, button("reset", "Show all samples again (r)", reset), button("?", "Keys (?)", () => help.showModal()), count);

    const isMarked = (fact) => fact.kind === "category" && Object.keys(fact.marks).length > 0;
    const titles = element("div", { class: "row titles", "aria-hidden": "true" }, ...listed.map((fact) => element("span", { class: `${fact.kind} ${fact.wide ? "wide" : ""}` }, isMarked(fact) ? element("span", { class: "word" }, fact.title) : fact.title)), element("span", { class: "problem" }, "problem"));
    const rows = element("div", { class: "rows" });
    const nothing = element("p", { class: "note nothing" }, "No sample is like that.");
    const list = element("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "samples" }, rows);
    // Every row is a grid of its own: widths are given, not found, so that rows and titles line up.
    const longest = (fact) => Math.max(fact.title.length, ...(fact.names ?? []).map((name) => name.length + (name in fact.marks ? 2 : 0)));
    const width = (fact) => `${Math.min(11, Math.max(3.2, 0.53 * longest(fact) + 0.6))}rem`;
    root.style.setProperty("--wide", [...listed.map(width), "minmax(0, 1fr)"].join(" "));
    // On a phone a mark stands for its word, and numbers have the room of a number.
    const narrow = (fact) => (fact.kind === "number" ? `min(4.5rem, ${width(fact)})` : isMarked(fact) ? "1rem" : "minmax(0, 1fr)");
    root.style.setProperty("--narrow", listed.filter((fact) => !fact.wide).map(narrow).join(" "));
    list.addEventListener("scroll", paintRows, { passive: true });

    const position = element("span", { class: "count", "aria-live": "polite" });
    const stepper = element("div", { class: "controls stepper" }, button("←", "Previous sample (k)", () => step(-1)), button("→", "Next sample (j)", () => step(1)), position, ...(members().length > 1 ? [button("same problem", "Next sample of the same problem (g)", nextMember)] : []));
    const detail = element("div", { class: "detail" });
    const remark = element("p", { class: "note" }, data.shortened ? `The texts of all samples would make this page too large: ${data.shortened.toLocaleString("en")} long ones are not whole here. They are whole in the files beside it.` : "");
    remark.hidden = !data.shortened;
    root.replaceChildren(bar, remark, element("div", { class: "table" }, titles, list, nothing), stepper, detail, help);

    // ---- keys

    const ACTIONS = { j: () => step(1), k: () => step(-1), g: nextMember, r: reset, "?": () => help.showModal(), "/": () => search.focus() };
    const ARROWS = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => view.length && choose(view[0]), End: () => view.length && choose(view.at(-1)), PageDown: () => step(Math.min(10, view.length - 1 - view.indexOf(state.at))), PageUp: () => step(-Math.min(10, view.indexOf(state.at))) };

    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
      if (event.key === "Escape" && event.target === search) {
        if (state.q) { state.q = search.value = ""; changed(); } else search.blur();
        event.preventDefault();
        return;
      }
      if (event.target.closest("input, select, textarea, [contenteditable]")) return;
      const action = ACTIONS[event.key] ?? (event.target === list ? ARROWS[event.key] : undefined);
      if (!action) return;
      event.preventDefault();
      action();
      bringIntoSight();
    });
    addEventListener("hashchange", () => readAddress() && refresh());
    addEventListener("resize", paintRows);

    const isLinked = readAddress();
    refresh();
    Texts.unpack(data.prompts).then((unpacked) => {
      prompts = unpacked;
      shorts = shortened(prompts.map(([prompt]) => prompt));
      refresh();
      if (isLinked) root.scrollIntoView({ block: "start", behavior: "instant" });
      root.dataset.ready = performance.now().toFixed(0); // how long it took; the tests read it
    });
  }

  document.querySelectorAll("[data-browser]").forEach(start);
  return { start };
})();
