// Walks through the console in Chromium: from a refusal to the claim that determined it, with and without JavaScript, and
// axe on every page in light and dark. Writes a screenshot of each page to `shots`.
//
// usage: node console.mjs http://127.0.0.1:PORT
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [base] = process.argv.slice(2);
assert(base, "usage: node console.mjs URL");
mkdirSync("shots", { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Root cannot have Chromium's own sandbox, and the pages are this test's.
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});

/** Opens a page that fails the test where it does anything but show text. */
async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("dialog", (dialog) => problems.push(`a dialog: ${dialog.message()}`));
  page.on("pageerror", (error) => problems.push(`an error: ${error}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${base}/`)) problems.push(`a request elsewhere: ${request.url()}`);
  });
  return { page, problems, context };
}

/** The way of somebody who has not seen it before: three clicks. */
async function walk(name, options) {
  const { page, problems, context } = await open(options);
  await page.goto(`${base}/log/records`);
  let clicks = 0;
  const click = async (link) => {
    await link.click();
    await page.waitForLoadState();
    clicks += 1;
  };
  const shot = (part) => page.screenshot({ path: `shots/${name}-${part}.png`, fullPage: true });
  await shot("0-decisions");
  await click(page.getByRole("link", { name: "Refused", exact: true }));
  await shot("1-refused");
  await click(page.locator("tbody tr").first().getByRole("link").first());
  await shot("2-decision");
  await click(page.getByRole("link", { name: "Explain" }));
  await shot("3-explained");
  const determined = page.getByRole("region", { name: "Claims that determined the outcome" });
  assert.match(await determined.innerText(), /run\.building-block\.workspace/);
  assert.equal(clicks, 3);
  assert.deepEqual(problems, []);
  // A link to it is a link to what it shows.
  const address = page.url();
  const again = await context.newPage();
  await again.goto(address);
  assert.match(await again.innerText("main"), /run\.building-block\.workspace/);
  // A form without script.
  await page.goto(`${base}/log/records`);
  await page.getByLabel("Workspace", { exact: true }).fill("team-c");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForLoadState();
  assert.match(page.url(), /workspace=team-c/);
  assert.match(await page.innerText(".found"), /^4 found/);
  await context.close();
  console.log(`walked: ${name}`);
}

/** By keyboard alone: past the navigation, and to a decision. */
async function byKeyboard() {
  const { page, context } = await open({});
  await page.goto(`${base}/log/records?outcome=refused`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    const is = await page.evaluate(() => document.activeElement.matches("tbody a"));
    if (is) break;
  }
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/records\/\d+$/);
  await context.close();
  console.log("walked: by keyboard");
}

/** The paths of all pages of a log, by following what it links to. */
async function paths(log) {
  const { page, context } = await open({});
  const found = ["records", "records?outcome=refused", "records?workspace=nobody", "records?kind=any", "refusals", "releases",
    "reports", "policies", "keys", "records?limit=0", "nothing"].map((path) => `/${log}/${path}`);
  const first = async (path, pattern) => {
    await page.goto(base + path);
    const links = await page.locator("main a").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
    return links.find((link) => pattern.test(link ?? ""));
  };
  const record = await first(`/${log}/records?outcome=refused`, /records\/\d+$/);
  const approved = await first(`/${log}/records?outcome=approved`, /records\/\d+$/);
  const policies = await first(`/${log}/policies`, /policies\//);
  const report = await first(`/${log}/reports`, /reports\//);
  const release = await first(`/${log}/releases`, /releases\//);
  const explained = record && `${record}/explain`;
  const explainedApproval = approved && `${approved}/explain`;
  await context.close();
  return [...found, record, approved, explained, explainedApproval, policies, report, release].filter(Boolean);
}

/** Checks each page: what axe finds, that it fits, and that texts have stayed texts. */
async function check(log, scheme) {
  const { page, problems, context } = await open({ colorScheme: scheme });
  let pages = 0;
  for (const path of [...(await paths(log)), "/"]) {
    await page.setViewportSize({ width: 1280, height: 800 });
    const response = await page.goto(base + path);
    const name = `${scheme}${path.replace(/[^a-z0-9]+/gi, "-").slice(0, 60)}`;
    await page.screenshot({ path: `shots/${name}.png`, fullPage: true });
    const { violations } = await new AxeBuilder({ page })
      .withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"])
      .analyze();
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).slice(0, 3)}`);
    assert.deepEqual(found, [], `${scheme} ${path}`);
    assert.doesNotMatch(await page.title(), /owned/);
    assert.equal(await page.locator("main img, script").count(), 0, path);
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(wide <= 0, `${path} is ${wide} wider than ${width}`);
    }
    if (log === "log" && scheme === "light") await page.screenshot({ path: `shots/narrow-${name}.png`, fullPage: true });
    if (response.status() < 400) {
      const state = await page.innerText("body");
      if (path !== "/") assert.match(state, log === "damaged" ? /Damaged\./ : /Verified to checkpoint \d/, path);
      assert.deepEqual(problems.splice(0), [], `${scheme} ${path}`);
    } else {
      // The browser itself says so of an answer that is none.
      problems.splice(0);
    }
    pages += 1;
  }
  await context.close();
  console.log(`axe: ${log}, ${scheme}: ${pages} pages without a finding`);
}

try {
  await walk("script", {});
  await walk("no-script", { javaScriptEnabled: false });
  await byKeyboard();
  for (const scheme of ["light", "dark"]) await check("log", scheme);
  // The same pages with other content: once each.
  await check("hostile", "light");
  await check("damaged", "dark");
  const { page } = await open({});
  await page.emulateMedia({ media: "print" });
  await page.goto(`${base}/log/records?outcome=refused`);
  await page.pdf({ path: "shots/print.pdf", format: "A4" });
  await page.screenshot({ path: "shots/print.png", fullPage: true });
} finally {
  await browser.close();
}
