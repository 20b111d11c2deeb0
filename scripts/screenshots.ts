/*
  npm run screenshots [-- seconds]

  Makes the pictures of the live page in docs/images: starts a service on throw-away servers, sells for ten minutes, so that the
  charts are full, and photographs the page at both widths, light and dark. Needs Chromium.
*/
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { openServers } from '../src/embedded/servers.ts'
import { findBrowser } from './browser.mjs'

const IMAGES = fileURLToPath(new URL('../docs/images/', import.meta.url))
const SERVER = fileURLToPath(new URL('../src/bin/server.ts', import.meta.url))
const SECONDS = 620
const SHOE = 1
const LOOKS = [1280, 390].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
)
const say = (line: string) => console.error(`holdfast: ${line}`)

type Answer = { status: number; data: Record<string, unknown> }

function createCaller(origin: string) {
  return async (method: string, path: string, body?: object): Promise<Answer> => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() }
    const response = await fetch(origin + path, {
      method,
      ...(body ? { headers, body: JSON.stringify(body) } : {}),
    })
    const { data = {} } = (await response.json()) as Partial<Answer>
    return { status: response.status, data }
  }
}
type Call = ReturnType<typeof createCaller>

const soon = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString()

/** Holds a unit; some are ordered, most of those paid. */
async function buy(call: Call, product_id: number, chances: { order: number; pay: number }): Promise<void> {
  const hold = await call('POST', '/api/holds', { product_id, qty: 1 })
  if (hold.status !== 201 || Math.random() > chances.order) return
  await wait(2_000)
  const { order_id } = (await call('POST', '/api/orders', { hold_id: hold.data.hold_id })).data
  if (order_id === undefined || Math.random() > chances.pay) return
  await call('POST', '/api/simulator/payments', { order_id, scenario: 'success' })
}

/** A sale whose rate rises and falls, with a rush now and then; a few ask for more than there is. */
async function sell(call: Call, stopping: AbortSignal): Promise<void> {
  const started_ms = performance.now()
  const buying: Array<Promise<void>> = []
  while (!stopping.aborted) {
    const passed = (performance.now() - started_ms) / 1000
    const rush = passed % 170 > 110 && passed % 170 < 140 ? 7 : 0
    await wait(1000 / (3 + 2 * Math.sin(passed / 45) + rush))
    if (Math.random() < 0.12 + (rush && 0.2))
      buying.push(call('POST', '/api/holds', { product_id: SHOE, qty: 9_999 }).then())
    else buying.push(buy(call, SHOE, { order: 0.6, pay: 0.85 }))
  }
  await Promise.all(buying)
}

async function prepare(call: Call): Promise<number> {
  const terms = {
    name: 'Trail shoe, first edition',
    unit_amount: 14_900,
    currency: 'EUR',
    hold_ttl_seconds: 60,
  }
  await call('PATCH', `/api/products/${SHOE}`, { ...terms, ends_at: soon(42) })
  await call('POST', `/api/products/${SHOE}/stock`, { delta: 2_900 })
  const coat = {
    name: 'Winter coat',
    unit_amount: 32_900,
    currency: 'EUR',
    total_stock: 500,
    starts_at: soon(83),
  }
  await call('POST', '/api/products', coat)
  const poster = {
    name: 'Poster, signed by hand',
    unit_amount: 4_500,
    currency: 'EUR',
    total_stock: 12,
    hold_ttl_seconds: 100,
  }
  return Number((await call('POST', '/api/products', poster)).data.id)
}

async function photograph(origin: string): Promise<void> {
  const browser = await chromium.launch({ executablePath: findBrowser() ?? 'chromium' })
  for (const { width, colorScheme } of LOOKS) {
    const page = await browser.newPage({ viewport: { width, height: width > 640 ? 900 : 844 }, colorScheme })
    await page.goto(origin)
    await page.locator('#link[data-state=live]').waitFor()
    await page.locator('#charts .uplot').first().waitFor()
    await page.locator('#hold-product').selectOption(String(SHOE))
    await page.locator('#hold-qty').fill('2')
    await page.locator('#hold-button').click()
    await page.locator('#ticket[data-step=hold]').waitFor()
    await page.locator('#ticket-left').filter({ hasText: '0:48' }).waitFor()
    await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)')
    const name = `page-${width}-${colorScheme}`
    await page.screenshot({ path: join(IMAGES, `${name}.png`) })
    say(`docs/images/${name}.png`)
    await page.close()
  }
  await browser.close()
}

const seconds = Number(process.argv[2] ?? SECONDS)
const data_dir = await mkdtemp(join(tmpdir(), 'holdfast-pictures-'))
const { redis_url, database_url, close } = await openServers({ data_dir, say, is_throw_away: true })
const env = { ...process.env, REDIS_URL: redis_url, DATABASE_URL: database_url, PORT: '0', LOG_LEVEL: 'warn' }
const server = fork(SERVER, { env, execArgv: ['--import', 'tsx'], silent: true })
try {
  let said = ''
  while (!/ready at \S+:\d+/.test(said)) said += String((await once(server.stdout ?? server, 'data'))[0])
  const origin = /ready at (\S+)/.exec(said)?.[1] as string
  const call = createCaller(origin)
  const poster = await prepare(call)
  say(`selling for ${seconds} s at ${origin}`)
  const done = new AbortController()
  const selling = sell(call, done.signal)
  await wait(seconds * 1000)
  for (let at = 0; at < 12; at += 1)
    await buy(call, poster, at < 4 ? { order: 1, pay: 1 } : { order: 0, pay: 0 })
  await photograph(origin)
  done.abort()
  await selling
} finally {
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await ended
  await close()
  await rm(data_dir, { recursive: true, force: true })
}
