/** HTML by tagged template: everything put in is escaped unless it is markup made here. Leaves layout to the sections. */

/** Markup that is safe to put into a page as it is. */
export interface Markup {
  readonly markup: string;
}

export type HtmlValue = string | number | Markup | readonly HtmlValue[] | undefined;

/** Text as HTML text or attribute value: & < > " and ' become entities; control characters that HTML forbids are shown as U+FFFD. */
export function escapeHtml(text: string): string {
  return text
    // oxlint-disable-next-line no-control-regex -- exactly these are forbidden in HTML
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "\ufffd")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&#39;");
}

/** Markup from a template; strings and numbers are escaped, markup and lists of it go in as they are, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Markup {
  return { markup: strings.map((part, i) => part + (i < values.length ? toMarkup(values[i]) : "")).join("") };
}

/** Marks text as markup without escaping: only for what this package made itself. */
export function trusted(markup: string): Markup {
  return { markup };
}

function toMarkup(value: HtmlValue): string {
  if (value === undefined) return "";
  if (typeof value === "string" || typeof value === "number") return escapeHtml(String(value));
  if ("markup" in value) return value.markup;
  return value.map(toMarkup).join("");
}
