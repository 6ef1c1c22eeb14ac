// One sample, whole: its facts, the problem, and the completion in its parts.
const Detail = (() => {
  function element(name, attributes = {}, ...content) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  }

  // A fact's value as people read it; a mark goes before words, so that no colour is needed.
  function write(fact, index, short = false) {
    const value = fact.data[index];
    if (value === null) return short ? "" : "–";
    if (fact.kind === "number") {
      return value.toLocaleString("en", { minimumFractionDigits: fact.digits, maximumFractionDigits: fact.digits });
    }
    const name = fact.names[value];
    return name in fact.marks ? `${fact.marks[name]} ${name}` : name;
  }

  function tone(fact, index) {
    const value = fact.data[index];
    return (fact.kind === "category" && value !== null && fact.tones[fact.names[value]]) || "";
  }

  function piece(kind, text) {
    const remark = kind === "redundant" ? "redundant: after the answer was first stated" : kind;
    return element("pre", { class: `part ${kind}` }, element("span", { class: "tag" }, remark), text.replace(/^\n/, ""));
  }

  // Facts in one line, as `tokens 184 · redundant 148`.
  function facts(data, index) {
    const line = element("p", { class: "facts" });
    for (const fact of data.facts) {
      if (fact.data[index] === null) continue;
      const value = element("b", { class: tone(fact, index) }, write(fact, index));
      line.append(element("span", {}, fact.kind === "number" || !(fact.names[fact.data[index]] in fact.marks) ? `${fact.title} ` : "", value));
    }
    return line;
  }

  function completion(data, index, parts) {
    return element("section", { class: "trace" }, facts(data, index), ...parts.map(([kind, text]) => piece(kind, text)));
  }

  // data: the island; read: index of a sample to its parts; prompt: [text, gold answer].
  async function show(root, data, read, prompt, index) {
    const other = data.beside?.[index] ?? null;
    const shown = other === null ? [index] : [index, other];
    const texts = await Promise.all(shown.map(read));
    const [problem, gold] = prompt;
    root.replaceChildren(
      piece("prompt", problem),
      ...(gold === null ? [] : [element("p", { class: "gold" }, "right answer ", element("b", {}, gold))]),
      element("div", { class: "traces" }, ...shown.map((one, place) => completion(data, one, texts[place]))),
    );
  }
  return { element, write, tone, show };
})();
