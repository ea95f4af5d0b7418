/** The report in a real browser: from disk, without a network, at the widths of a phone and of a desk, in light, in dark and on paper. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exampleMatrix, exampleRecord } from "../src/app/report/example-run.fixture.ts";
import { renderReport } from "../src/app/report/render.ts";
import { inspectPage, inspectPixels } from "./support/in-page.mjs";

const executable = [process.env["FEDTUNE_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path !== undefined && path !== "" && existsSync(path));
const reason = executable === undefined ? " (skipped: no Chromium here; install Debian's `chromium`, or name one in FEDTUNE_CHROMIUM)" : "";

const REPORTS = {
  "a matrix": () => exampleMatrix(),
  "settings that vary": () => [0.0001, 0.0005, 0.001].flatMap((learningRate, i) => ["lora", "bottleneck", "ia3", "vera"].map((method) => exampleRecord({ name: "dolly-15k", method, learningRate, strength: 0.5 + i / 5, seed: 1, benchmarks: true, folder: `dolly-15k-${method}-${i}` }))),
  "one run": () => [exampleRecord({ benchmarks: true })],
};
const SCREENS = [390, 1280].flatMap((width) => (["light", "dark"] as const).map((scheme) => ({ width, scheme })));

describe.skipIf(executable === undefined)(`the report in a browser${reason}`, { timeout: 60_000 }, () => {
  let browser: Browser;
  let folder = "";
  beforeAll(async () => {
    browser = await chromium.launch({ ...(executable !== undefined && { executablePath: executable }), args: ["--no-sandbox", "--disable-gpu"] });
    folder = mkdtempSync(join(tmpdir(), "fedtune-report-"));
  });
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The page as a reader opens it, and everything that went wrong or was asked for besides the file itself. */
  const open = async (name: keyof typeof REPORTS, { width, scheme }: (typeof SCREENS)[number]): Promise<{ readonly page: Page; readonly troubles: string[]; readonly [Symbol.asyncDispose]: () => Promise<void> }> => {
    const file = join(folder, `${name.replaceAll(" ", "-")}.html`);
    if (!existsSync(file)) writeFileSync(file, renderReport(REPORTS[name]()));
    const address = pathToFileURL(file).href;
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, offline: true });
    const page = await context.newPage();
    const troubles: string[] = [];
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) troubles.push(message.text());
    });
    page.on("pageerror", (error) => troubles.push(String(error)));
    page.on("request", (request) => {
      if (request.url() !== address) troubles.push(`asked for ${request.url()}`);
    });
    page.on("requestfailed", (request) => troubles.push(`failed: ${request.url()}`));
    await page.goto(address);
    return { page, troubles, [Symbol.asyncDispose]: () => context.close() };
  };

  describe.each(Object.keys(REPORTS) as (keyof typeof REPORTS)[])("%s", (name) => {
    test.each(SCREENS)("at $width px in $scheme opens without a network, fits, and can be read", async (screen) => {
      await using opened = await open(name, screen);
      const { page, troubles } = opened;
      const found = await page.evaluate(inspectPage);
      expect(troubles).toEqual([]);
      expect(found.scrollWidth).toBeLessThanOrEqual(screen.width);
      expect(found.tooWide).toEqual([]);
      expect(found.drawings).toBeGreaterThanOrEqual(4);
      expect(found.figuresWithoutDrawing).toEqual([]);
      expect(found.cut).toEqual([]);
      expect(found.overlapping).toEqual([]);
      expect(found.faint).toEqual([]);
    });

    test("its charts are drawn, on a light page in light and on a dark one in dark", async () => {
      const backgrounds: number[] = [];
      for (const scheme of ["light", "dark"] as const) {
        await using opened = await open(name, { width: 1280, scheme });
        const figures = await opened.page.locator("figure").all();
        for (const [i, figure] of figures.entries()) {
          const { background, ink, colors } = await opened.page.evaluate(inspectPixels, (await figure.screenshot()).toString("base64"));
          const chart = `chart ${i + 1} in ${scheme}`;
          expect(ink, `${chart}: share of pixels that are not background`).toBeGreaterThan(0.01);
          expect(ink, `${chart}: share of pixels that are not background`).toBeLessThan(0.6);
          expect(colors, `${chart}: different colours`).toBeGreaterThan(4);
          backgrounds.push(background);
          expect(scheme === "light" ? 255 - background : background, `${chart}: background`).toBeLessThan(40);
        }
      }
      expect(Math.max(...backgrounds) - Math.min(...backgrounds)).toBeGreaterThan(200);
    });

    test("prints on white, with the drawings for paper", async () => {
      await using opened = await open(name, { width: 1280, scheme: "dark" });
      const { page } = opened;
      const pdf = await page.pdf({ format: "A4" });
      expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
      const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
      expect(pages).toBeGreaterThan(1);
      expect(pages).toBeLessThan(20);
      await page.emulateMedia({ media: "print" });
      // A4 less its margins.
      await page.setViewportSize({ width: 718, height: 1000 });
      const found = await page.evaluate(inspectPage);
      expect(found.background).toBe("rgb(255, 255, 255)");
      expect(found.scrollWidth).toBeLessThanOrEqual(718);
      expect(found.tooWide).toEqual([]);
      expect(found.figuresWithoutDrawing).toEqual([]);
      expect(found.faint).toEqual([]);
    });
  });
});
