// Opens pages in Chromium as people see them, and says what axe finds wrong.
//
// In, on standard input: {"pages": [{"file", "pictures": a folder or null}, …]}; the argument is the browser.
// Out: for each page and each way to look at it, what axe calls serious, how wide it is, and what it asked for elsewhere.
"use strict";

const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const AXE = require.resolve("axe-core/axe.min.js");
const WAYS = [
  { name: "light", viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  { name: "dark", viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  { name: "narrow", viewport: { width: 400, height: 800 }, colorScheme: "light" },
];

async function look(browser, { file, pictures }) {
  const seen = [];
  for (const { name, ...how } of WAYS) {
    const context = await browser.newContext({ ...how, bypassCSP: true }); // for axe: the page's policy allows no script
    const page = await context.newPage();
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(pathToFileURL(file).href);
    if (pictures) {
      const begin = path.join(pictures, path.basename(file, ".html"));
      await page.screenshot({ path: `${begin}-${name}.png`, fullPage: true });
      if (name === "light") await page.pdf({ path: `${begin}.pdf`, format: "A4" });
    }
    await page.addScriptTag({ path: AXE });
    const { violations } = await page.evaluate(() => axe.run());
    seen.push({
      way: name,
      violations: violations.map((v) => `${v.impact}: ${v.id}: ${v.nodes[0].html.slice(0, 200)}`),
      overflow: await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
      asked: asked.filter((url) => !url.startsWith("file:")),
      text: await page.evaluate(() => document.body.innerText),
    });
    await context.close();
  }
  return seen;
}

async function stops(browser, { file }) {
  // In its own policy, and by keyboard alone: where Tab leads.
  const page = await browser.newPage();
  const refused = [];
  page.on("console", (message) => refused.push(message.text()));
  await page.goto(pathToFileURL(file).href);
  const found = [];
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => {
      const at = document.activeElement;
      return at === document.body ? null : at.getAttribute("aria-label") || at.textContent;
    });
    if (name === null) break;
    found.push(name);
  }
  const styled = await page.evaluate(() => getComputedStyle(document.querySelector("main")).maxWidth !== "none");
  await page.close();
  return { stops: found, refused, styled };
}

(async () => {
  const { pages } = JSON.parse(fs.readFileSync(0, "utf8"));
  const browser = await chromium.launch({ executablePath: process.argv[2], args: FLAGS });
  const results = [];
  for (const page of pages) results.push({ ways: await look(browser, page), ...(await stops(browser, page)) });
  await browser.close();
  process.stdout.write(JSON.stringify(results));
})();
