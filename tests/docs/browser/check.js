// Open pages of the built site in Chromium and print what is wrong with them, one line each; nothing where all is well.
//   node check.js CHROMIUM ADDRESS [--pictures FOLDER] PAGE ...
// Every page is seen at 1280 and 390 pixels, light and dark: rules of axe-core (WCAG 2.1 A and AA), equations that were not
// typeset, and pages wider than the window. The words of SEARCHES are typed into the search.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WIDTHS = { desktop: [1280, 900], phone: [390, 844] };
const SEARCHES = { tvl1: "flow", distributed: "guides/distributed", "several teachers": "teachers", FAQ: "guides/faq" };

const [chromium, address, ...rest] = process.argv.slice(2);
const folder = rest[0] === "--pictures" ? rest.splice(0, 2)[1] : null;
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox"] });
let page;

for (const [device, [width, height]] of Object.entries(WIDTHS)) {
  for (const scheme of ["light", "dark"]) {
    await open(width, height, scheme);
    for (const path of rest) {
      const problem = (text) => console.log(`${path} (${device}, ${scheme}): ${text}`);
      await page.goto(`${address}/${path}`, { waitUntil: "load" });
      await look(problem);
      if (folder) await page.screenshot({ path: `${folder}/${path.replaceAll("/", "_") || "home"}-${device}-${scheme}.png` });
    }
  }
}
await search();
await browser.close();

// A window that knows nothing of the one before: the site remembers a scheme.
async function open(width, height, scheme) {
  page = await (await browser.createBrowserContext()).newPage();
  page.setDefaultTimeout(120_000);
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
}

async function look(problem) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  for (const { id, help, nodes } of violations) problem(`${id}: ${help}, ${nodes.length}×, ${nodes[0].html.slice(0, 160)}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) problem(`wider than the window by ${wide} pixels`);
  const raw = await page.evaluate(() => document.querySelectorAll(".arithmatex:not(:has(.katex)), .katex-error").length);
  if (raw) problem(`${raw} equations are not typeset`);
}

async function search() {
  await open(...WIDTHS.desktop, "light");
  for (const [words, wanted] of Object.entries(SEARCHES)) {
    await page.goto(`${address}/`, { waitUntil: "load" });
    await page.type(".md-search__input", words);
    const result = "a.md-search-result__link";
    await page.waitForFunction((all) => document.querySelectorAll(all).length, { timeout: 60_000 }, result).catch(() => 0);
    const links = await page.$$eval(result, (all) => all.slice(0, 5).map((link) => link.href));
    if (!links.some((link) => link.includes(wanted))) console.log(`search for "${words}": ${wanted} is not among ${links}`);
  }
}
