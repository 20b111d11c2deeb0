import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Engine } from '../../src/engine/engine.ts'
import { type Entry, makeEntry } from '../../src/engine/records.ts'
import { startSweeper } from '../../src/sweeper/sweeper.ts'
import { build, newKey } from '../fixtures/app.ts'
import { orderOf } from '../fixtures/orders.ts'
import { until } from '../fixtures/until.ts'

const PAGES = 30
const PAGE = 100
/** What may wait for its commit, and the page that was on its way when it was too much. */
const MAX_WAITING = 2_048 + PAGE

/** Starts what a test can let go of before it is stopped. */
function sweeping(t: Test, options: Parameters<typeof startSweeper>[0], letGo: () => void) {
  const sweeper = startSweeper(options)
  t.teardown(async () => {
    letGo()
    await sweeper.stop()
  })
}

/** A promise that is kept when somebody says so. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

const HINDRANCES = {
  'stands still': (opened: Promise<void>) => opened.then(() => []),
  fails: () => Promise.reject(new Error('as the test will have it')),
} as const
type Hindrance = keyof typeof HINDRANCES

/** A service that hinders one duty of its sweeper, with something that each of them has to do. Returns what is done when it is. */
async function hinder(t: Test, duty: string, hindrance: Hindrance) {
  const app = await build(t, { env: { HOLD_TTL_SECONDS: '1', ORDER_TTL_SECONDS: '1' } })
  const { engine, publisher } = app.service
  const [dead, unpaid, paid, parked] = [
    await app.product(1),
    await app.product(1),
    await app.product(1),
    await app.product(1),
  ]
  await app.hold(dead)
  await app.order(await app.hold(unpaid))
  const early = await app.hold(paid)
  await app.paid(early.order_id, 'success')
  const released = await app.hold(parked)
  await app.call('DELETE', `/api/holds/${released.hold_id}`)
  const late = newKey()
  await app.paid(released.order_id, 'success', {}, late)
  await app.sql(`update products set unit_amount = 1, terms_version = terms_version + 1, terms_changed_at = now() - interval '1 min'
    where id = ${dead}`)
  // An entry that nobody has committed.
  const added = newKey()
  await engine.adjustStock(parked, 1, added, null)

  const done: Record<string, () => Promise<boolean>> = {
    'dead holds': async () => (await app.stock(dead)).available === 1,
    'paid holds': async () => (await app.stock(paid)).sold === 1,
    'unpaid orders': async () => (await app.stock(unpaid)).available === 1,
    'parked payments': async () =>
      (await app.sql(`select from payments where idempotency_key = '${late}' and outcome = 'refund_due'`))
        .length === 1,
    'the journal': async () =>
      (await app.sql(`select from stock_adjustments where idempotency_key = '${added}'`)).length === 1,
    terms: async () => (await app.engine.readProduct(dead))?.terms.unit_amount === 1,
  }
  const { open, opened } = gate()
  const hindered = () => HINDRANCES[hindrance](opened) as Promise<never>
  const of = (name: string, own: object) =>
    name === duty ? Object.fromEntries(Object.keys(own).map((it) => [it, hindered])) : {}
  const hindered_engine: Engine = {
    ...engine,
    ...of('dead holds', { expireHolds: 0 }),
    ...of('paid holds', { orderPrepaid: 0 }),
    ...of('unpaid orders', { expireOrders: 0 }),
    ...of('parked payments', { settleParked: 0 }),
    journal: { ...engine.journal, ...of('the journal', { lastId: 0 }) },
  }
  sweeping(
    t,
    {
      ...app.service,
      engine: hindered_engine,
      publisher: { ...publisher, ...of('terms', { publishLeft: 0 }) },
      min_age_ms: 0,
      say: () => {},
    },
    open,
  )
  return done
}

for (const duty of ['dead holds', 'paid holds', 'unpaid orders', 'parked payments', 'the journal', 'terms']) {
  for (const hindrance of Object.keys(HINDRANCES) as Hindrance[]) {
    t.test(`where the sweep of ${duty} ${hindrance}, the others go on`, async (t) => {
      const done = await hinder(t, duty, hindrance)
      for (const [what, isDone] of Object.entries(done)) {
        if (what !== duty) await until(what, isDone)
      }
      t.notOk(await (done[duty] as () => Promise<boolean>)(), 'and that one does nothing')
    })
  }
}

/** An engine that has so many pages of unpaid orders to end, and a writer that commits when it may. */
async function busy(t: Test, pages: number) {
  const app = await build(t)
  const { engine, writer } = app.service
  const seen = { pages: 0, rounds: 0, under_way: 0, committed: 0, most: 0 }
  const expireOrders = async (shard: number): Promise<Entry[]> => {
    if (seen.pages === pages) return []
    seen.pages += 1
    seen.under_way += PAGE
    seen.most = Math.max(seen.most, seen.under_way)
    return Array.from({ length: PAGE }, () =>
      makeEntry({ shard, entry_id: '1-1', epoch: 1 }, { order: orderOf([[1, 1]]) }),
    )
  }
  const expireHolds = async () => {
    seen.rounds += 1
    return { count: 0, late_ms: 0, are_more: false }
  }
  const { open, opened } = gate()
  const commit = async () => {
    await opened
    seen.under_way -= 1
    seen.committed += 1
    return 'committed' as const
  }
  const options = {
    ...app.service,
    engine: { ...engine, expireOrders, expireHolds },
    writer: { ...writer, commit },
    say: () => {},
  }
  sweeping(t, options, open)
  return { seen, open }
}

t.test('a sweep that found much goes on at once, and waits for no commit', async (t) => {
  const { seen } = await busy(t, MAX_WAITING / PAGE - 1)
  await until('all pages', () => seen.pages >= Math.floor(MAX_WAITING / PAGE) - 1)
  t.ok(seen.rounds < seen.pages / 2, `${seen.pages} pages in ${seen.rounds} rounds of another duty`)
  t.equal(seen.committed, 0)
})

t.test('what is ended and waits for its commit is bounded, and goes on when it is committed', async (t) => {
  const { seen, open } = await busy(t, PAGES)
  await until('as much as may wait', () => seen.under_way > MAX_WAITING - 2 * PAGE)
  const { rounds } = seen
  await until('another duty to come round', () => seen.rounds > rounds + 2)
  t.ok(seen.most <= MAX_WAITING, `${seen.most} under way`)
  t.ok(seen.pages < PAGES)
  open()
  await until('all of it', () => seen.committed === PAGES * PAGE)
  t.equal(seen.pages, PAGES)
})

t.test('a stop waits for what PostgreSQL takes, and for nothing while PostgreSQL is away', async (t) => {
  for (const is_away of [false, true]) {
    const app = await build(t)
    const { engine, writer } = app.service
    let pages = 0
    let asked = 0
    const expireOrders = async (shard: number) => {
      pages += 1
      if (pages > 10) return []
      return Array.from({ length: PAGE }, () => makeEntry({ shard, entry_id: '1-1', epoch: 1 }, {}))
    }
    const commit = async () => {
      asked += 1
      await wait(1)
      if (is_away) throw new Error('PostgreSQL is away')
      return 'committed' as const
    }
    const said: string[] = []
    const sweeper = startSweeper({
      ...app.service,
      engine: { ...engine, expireOrders },
      writer: { ...writer, commit },
      say: (line) => said.push(line),
    })
    await until('all pages', () => pages > 10)
    await sweeper.stop()
    if (is_away) t.ok(asked < 10 * PAGE, `${asked} were tried`)
    else t.equal(asked, 10 * PAGE)
    t.same(said, is_away ? ['sweeper: commits: PostgreSQL is away'] : [], 'said once')
  }
})
