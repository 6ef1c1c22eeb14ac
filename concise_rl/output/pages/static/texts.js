// The texts of many samples, packed in chunks that are unpacked when one of them is read.
const Texts = (() => {
  const KEPT = 12; // chunks held unpacked, the last ones used

  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // chunks: [index of the first text, packed texts] of each.
  function store(chunks) {
    const held = new Map();

    async function read(index) {
      const place = chunks.findLastIndex(([first]) => first <= index);
      const texts = held.get(place) ?? unpack(chunks[place][1]);
      held.delete(place);
      held.set(place, texts);
      if (held.size > KEPT) held.delete(held.keys().next().value);
      return (await texts)[index - chunks[place][0]];
    }
    return { read };
  }
  return { unpack, store };
})();
