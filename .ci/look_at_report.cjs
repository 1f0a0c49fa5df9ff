// Looks at the report in headless Chromium: axe-core, requests, overflow, screenshots, a PDF.
// usage: NODE_PATH=<node_modules with axe-core and puppeteer-core> node look_at_report.cjs FILE FOLDER
// CHROMIUM names the browser (default: chromium on the path of Debian). Exits with 1 on a finding.
const fs = require("fs");
const os = require("os");
const path = require("path");
const puppeteer = require("puppeteer-core");

const [file, folder] = process.argv.slice(2).map((each) => path.resolve(each));
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const SERIOUS = ["serious", "critical"];

async function look(browser, scheme, width) {
  const page = await browser.newPage();
  const asked = [];
  page.on("request", (request) => {
    if (!/^(data|file):/.test(request.url())) asked.push(request.url());
  });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setViewport({ width, height: 900, isMobile: width < 700 });
  await page.goto(`file://${file}`, { waitUntil: "load" });
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document));
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  await page.screenshot({ path: path.join(folder, `${scheme}-${width}.png`), fullPage: true });
  if (scheme === "light" && width === 1280) {
    await page.pdf({ path: path.join(folder, "print.pdf"), preferCSSPageSize: true, format: "A4" });
  }
  await page.close();
  for (const { id, impact, nodes } of found.violations) {
    console.log(`  ${impact}: ${id}, ${nodes.length} times, such as ${nodes[0].html.slice(0, 160)}`);
  }
  const serious = found.violations.filter(({ impact }) => SERIOUS.includes(impact)).length;
  console.log(
    `${scheme} ${width}: ${found.violations.length} findings, ${serious} serious; ` +
      `${found.passes.length} rules passed; ${asked.length} requests; overflow ${overflow} px`,
  );
  return serious + asked.length + Math.max(overflow, 0);
}

async function main() {
  fs.mkdirSync(folder, { recursive: true });
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    userDataDir: fs.mkdtempSync(path.join(os.tmpdir(), "chromium-")),
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
  });
  let wrong = 0;
  for (const scheme of ["light", "dark"]) {
    for (const width of [360, 768, 1280]) wrong += await look(browser, scheme, width);
  }
  await browser.close();
  process.exit(wrong ? 1 : 0);
}

main();
