import { defineLanguageFacet, HighlightStyle, Language, syntaxHighlighting } from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { tags } from "@lezer/highlight";
import { GFM, parser } from "@lezer/markdown";

/** Colours and sizes are custom properties and classes of styles/editor.css, so that both themes share one style. */
const style = HighlightStyle.define([
  { tag: tags.heading1, class: "md-h1" },
  { tag: tags.heading2, class: "md-h2" },
  { tag: [tags.heading3, tags.heading4, tags.heading5, tags.heading6], class: "md-h3" },
  { tag: tags.strong, class: "md-strong" },
  { tag: tags.emphasis, class: "md-emphasis" },
  { tag: tags.strikethrough, class: "md-strike" },
  { tag: tags.monospace, class: "md-code" },
  { tag: [tags.link, tags.url], class: "md-link" },
  { tag: tags.quote, class: "md-quote" },
  { tag: [tags.processingInstruction, tags.contentSeparator, tags.labelName], class: "md-mark" },
]);

/** Markdown with GitHub's tables, task lists and strikethrough. @codemirror/lang-markdown would bring HTML, CSS and JS. */
export function markdown(): Extension {
  return [
    new Language(defineLanguageFacet(), parser.configure([GFM]), [], "markdown"),
    syntaxHighlighting(style),
  ];
}
