const graphemes = new Intl.Segmenter();

function firstLetter(word: string): string {
  return [...graphemes.segment(word)][0]?.segment ?? "";
}

/** The first letters of two words, or the first character of one: "AL" for Ada Lovelace, "李" for 李雷. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s_-]+/u);
  const last = words.length > 1 ? firstLetter(words.at(-1) ?? "") : "";
  return `${firstLetter(words[0] ?? "")}${last}`.toLocaleUpperCase();
}
