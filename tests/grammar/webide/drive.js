#!/usr/bin/env node
// node drive.js CHROMIUM < work.json
//
// Loads grammar and images into the test page as a person would, clicks nodes open, and prints what then stands there.
// Work: {grammar, images: [{image, open: [path, ...], screenshot}]}; results, in the same order:
// [{status, lines: [{path, text}], bytes, made}], bytes being the panel of the node clicked last and made the nodes
// that were exported.
'use strict';
const path = require('path');
const { pathToFileURL } = require('url');
const { chromium } = require('playwright-core');

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

async function show(page, { image, open, screenshot }) {
  await page.setInputFiles('#image', image);
  await page.waitForFunction(() => document.getElementById('status').textContent !== 'loading');
  for (const node of open) await page.locator(`li[data-path="${node}"] > span`).click({ timeout: 10000 });
  await page.screenshot({ path: screenshot });
  return page.evaluate(() => ({
    status: document.getElementById('status').textContent,
    lines: [...document.querySelectorAll('#tree li')].map((li) => ({ path: li.dataset.path, text: li.firstChild.textContent })),
    bytes: document.getElementById('bytes').textContent,
    made: nodes.count,
  }));
}

async function main(executablePath) {
  const work = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  try {
    const page = await browser.newPage({ viewport: { width: 1400, height: 800 } });
    const problems = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    await page.goto(pathToFileURL(path.join(__dirname, 'index.html')).href);
    await page.setInputFiles('#grammar', work.grammar);
    const results = [];
    for (const image of work.images) results.push(await show(page, image));
    if (problems.length) throw new Error(problems.join('; '));
    console.log(JSON.stringify(results));
  } finally {
    await browser.close();
  }
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
