// Drives Dagster's UI as a person would, and renews the documentation's screenshots on the way.
// What it needs, and how it is started, is in README.md beside it.
//
// Every step waits for what a person would wait for, and fails with the step's name.

import {chromium} from 'playwright-core';
import {existsSync, mkdirSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {join} from 'node:path';

const address = process.argv[2] ?? 'http://127.0.0.1:3000';
const folder = process.argv[3] ?? fileURLToPath(new URL('../images', import.meta.url));
const browserPath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const USUAL = {width: 1600, height: 900};
const WIDE = {width: 2400, height: 1700};
const RUN_MINUTES = 15;
const CUTOFFS = 3;
const TERMINAL = ['SUCCESS', 'FAILURE', 'CANCELED'];

const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

async function main() {
  if (!browserPath) throw new Error('no Chromium was found: install it, or name it in CHROMIUM');
  mkdirSync(folder, {recursive: true});
  const browser = await chromium.launch({executablePath: browserPath, args: quiet});
  const page = await browser.newPage({viewport: USUAL, colorScheme: 'light'});
  const steps = {
    'the graph, by layer': openGraph,
    'figures and all upstream of them': selectFigures,
    'materialize the selection': materialize,
    'a figure': openFigure,
    'numbers over time': openPlots,
    'the results of checks': openChecks,
    [`a backfill of ${CUTOFFS} cut-offs`]: backfill,
  };
  try {
    for (const [name, work] of Object.entries(steps)) await step(name, () => work(page));
  } finally {
    await browser.close();
  }
}

async function step(name, work) {
  const began = Date.now();
  try {
    await work();
  } catch (error) {
    throw new Error(`${name}: ${error.message}`, {cause: error});
  }
  console.log(`✓ ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

async function openGraph(page) {
  await page.goto(`${address}/asset-groups`);
  await page.getByText('retail_api', {exact: true}).last().waitFor();
  await settled(page);
  await shoot(page, 'graph-layers');
}

async function selectFigures(page) {
  await page.locator('.CodeMirror').first().click();
  await page.keyboard.type('+group:"figures"');
  await page.keyboard.press('Enter');
  await page.getByRole('button', {name: /Materialize all/}).waitFor();
  await settled(page);
  await page.setViewportSize(WIDE);
  await openGroup(page, 'clv');
  await page.reload(); // fits the window anew
  await page.locator('foreignObject').getByText('backtest_summary').waitFor();
  await settled(page);
  await shoot(page, 'asset-graph');
  await page.setViewportSize(USUAL);
}

async function openGroup(page, group) {
  await page.locator('foreignObject').getByText(group, {exact: true}).first().click();
  await settled(page);
}

async function materialize(page) {
  const before = await latestRun(page);
  await page.getByRole('button', {name: /Materialize all/}).click();
  const run = await until(60, async () => {
    const latest = await latestRun(page);
    return latest && latest.runId !== before?.runId ? latest : null;
  });
  await page.goto(`${address}/runs/${run.runId}`);
  const done = await until(RUN_MINUTES * 60, async () => {
    const latest = await latestRun(page, run.runId);
    return TERMINAL.includes(latest.status) ? latest : null;
  });
  if (done.status !== 'SUCCESS') throw new Error(`run ${run.runId} ended with ${done.status}`);
  await settled(page);
  await shoot(page, 'run');
}

async function openFigure(page) {
  await page.goto(`${address}/assets/figures/gain_curve`);
  await page.getByText('[Show Markdown]').first().click();
  await page.locator('.dagster-dialog img').waitFor();
  await settled(page);
  await shoot(page, 'figure');
}

async function openPlots(page) {
  await page.goto(`${address}/assets/clv/model?view=overview`);
  await page.getByRole('button', {name: 'Plots'}).click();
  await page.locator('canvas').first().waitFor();
  await settled(page);
  await shoot(page, 'plots');
}

async function openChecks(page) {
  await page.goto(`${address}/assets/clv/predictions?view=checks`);
  await page.getByRole('button', {name: 'Execute all'}).waitFor();
  await settled(page);
  await shoot(page, 'checks');
}

async function backfill(page) {
  const before = await latestBackfill(page);
  await page.goto(`${address}/assets/clv/backtest?view=partitions`);
  await page.getByRole('button', {name: /Materialize/}).first().click();
  const keys = (await partitions(page)).slice(-CUTOFFS);
  const dialog = page.locator('.dagster-dialog');
  await dialog.waitFor();
  await dialog.getByText(/Select a partition/).click();
  for (const key of keys) await page.getByRole('menuitem').filter({hasText: key}).click();
  await dialog.getByText(/^Launch runs/).click(); // closes the list
  await dialog.getByText(`${CUTOFFS} partitions`).waitFor();
  await settled(page);
  await shoot(page, 'backfill-dialog');
  await dialog.getByRole('button', {name: /Launch/}).last().click();
  const launched = await until(60, async () => {
    const latest = await latestBackfill(page);
    return latest && latest.id !== before?.id ? latest : null;
  });
  await page.goto(`${address}/runs/b/${launched.id}`);
  const done = await until(RUN_MINUTES * 60, async () => {
    const latest = await latestBackfill(page);
    return /COMPLETED|FAILED|CANCELED/.test(latest.status) ? latest : null;
  });
  if (!/SUCCESS/.test(done.status)) throw new Error(`backfill ${launched.id} ended with ${done.status}`);
  if (done.partitionNames.length !== CUTOFFS) throw new Error(`it ran ${done.partitionNames.join(', ')}`);
  await page.reload();
  await page.getByText('100% completed').waitFor();
  await settled(page);
  await shoot(page, 'backfill');
}

async function latestRun(page, id) {
  const filter = id ? `filter: {runIds: ["${id}"]}, ` : '';
  const answer = await ask(page, `{ runsOrError(${filter}limit: 1) { ... on Runs { results { runId status } } } }`);
  return answer.runsOrError.results[0];
}

async function latestBackfill(page) {
  const answer = await ask(page, '{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id status partitionNames } } } }');
  return answer.partitionBackfillsOrError.results[0];
}

async function partitions(page) {
  const answer = await ask(page, '{ assetNodeOrError(assetKey: {path: ["clv", "backtest"]}) { ... on AssetNode { partitionKeys } } }');
  return answer.assetNodeOrError.partitionKeys;
}

async function ask(page, query) {
  const answer = await page.request.post(`${address}/graphql`, {data: {query}});
  const body = await answer.json();
  if (body.errors) throw new Error(body.errors[0].message);
  return body.data;
}

async function until(seconds, find) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    const found = await find();
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 1000));
  }
  throw new Error(`waited ${seconds} s in vain`);
}

async function settled(page) {
  await page.waitForLoadState('networkidle', {timeout: 10_000}).catch(() => {});
  await page.waitForTimeout(1500);
}

async function shoot(page, name) {
  await page.mouse.move(2, 2);
  await page.screenshot({path: join(folder, `${name}.png`)});
}

await main();
