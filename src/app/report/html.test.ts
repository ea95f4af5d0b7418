import { expect, test } from "vitest";
import { escapeHtml, html, trusted } from "./html.ts";

test("what goes into a template is escaped, in text and in attributes", () => {
  expect(html`<p title="${`a"b'c`}">${"<i>&"}</p>`.markup).toBe(`<p title="a&quot;b&#39;c">&lt;i&gt;&amp;</p>`);
});

test("markup and lists of markup go in as they are, undefined is nothing", () => {
  expect(html`${[html`<b>${1}</b>`, trusted("<i></i>")]}${undefined}`.markup).toBe("<b>1</b><i></i>");
});

test("control characters that HTML forbids are made visible", () => {
  expect(escapeHtml("a\u0000b\u001bc\td\n")).toBe("a\ufffdb\ufffdc\td\n");
});
