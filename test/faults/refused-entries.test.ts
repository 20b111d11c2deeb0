import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { newKey } from '../fixtures/app.ts'
import { until } from '../fixtures/until.ts'
import { buildFaulty } from './fixtures/faulty-app.ts'
import { checkSale, createClient, newLedger, startSale } from './fixtures/sale.ts'

const ROOT = join(import.meta.dirname, '..', '..')

const REFUSE_BAD = `create function refuse_bad() returns trigger language plpgsql as $$
  begin
    if new.customer_id = 'bad' then raise exception 'not this one' using errcode = 'check_violation'; end if;
    return new;
  end $$;
  create trigger refuse_bad before insert on orders for each row execute function refuse_bad()`

/** Fails a statement the first `times` times: a sequence counts on when its transaction is undone. */
const failing = (times: number, code: string) => `create sequence failures;
  create function fail_first() returns trigger language plpgsql as $$
  begin
    if nextval('failures') <= ${times} then raise exception 'another came first' using errcode = '${code}'; end if;
    return null;
  end $$;
  create trigger fail_first before insert on orders for each statement execute function fail_first()`

/** Runs `npm run verify` on the servers of a test. */
async function verify(urls: { redis_url: string; database_url: string }, ...args: string[]) {
  const env = {
    PATH: process.env.PATH,
    REDIS_URL: urls.redis_url,
    DATABASE_URL: urls.database_url,
    LOG_LEVEL: 'silent',
  }
  const command = ['--import', 'tsx', 'src/bin/verify.ts', ...args]
  const child = spawn(process.execPath, command, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  return { code: code as number, output }
}

t.test(
  'an entry that PostgreSQL keeps refusing is set aside, holds up no other, and can be written later',
  async (t) => {
    const { app, server } = await buildFaulty(t, { prefix: 'hf' })
    const urls = { redis_url: server.url, database_url: app.database.url }
    const ledger = newLedger()
    const client = createClient(app, ledger)
    const product = await app.product(100)
    await app.sql(REFUSE_BAD)
    const { hold_id, order_id } = await client.held(product, { customer_id: 'bad' })
    const headers = { 'idempotency-key': newKey() }
    const order = () => app.call('POST', '/api/orders', { hold_id }, { headers })
    const sale = startSale([app], product, { buyers: 3, ledger })
    t.equal((await order()).status, 503)
    await until('it is set aside', async () => {
      await order()
      return (await app.engine.journal.buriedLength(0)) === 1
    })
    t.ok(
      app.log.some((line) => /was set aside: see npm run verify/.test(line)),
      'the alarm rings',
    )
    await sale.sells(5)
    await sale.stop()
    t.equal((await order()).status, 503, 'nobody is told that the order exists')
    t.match(await app.sql('select 1 from orders where id = $1', [order_id]), [])

    await until('the journal is empty', async () => (await app.journal()) === 0)
    const found = await verify(urls)
    t.match(found, { code: 1, output: /1 journal entries were set aside because PostgreSQL refused them/ })
    t.match(found.output, /--repair mends it/)
    t.match(await verify(urls, '--repair'), { code: 1, output: /an entry is still refused: .*not this one/ })
    await app.sql('drop trigger refuse_bad on orders')
    t.match(await verify(urls, '--repair'), { code: 0, output: /wrote 1 entries that had been set aside/ })

    await until(
      'the new epoch is known',
      async () => (await app.call('GET', `/api/orders/${order_id}`)).status === 200,
    )
    t.match(await order(), { status: 201, headers: { 'idempotency-replayed': 'true' } }, 'the retry finds it')
    ledger.orders.set(order_id, { hold_id })
    t.equal((await client.pay(order_id, 'success'))?.outcome, 'applied')
    await checkSale(t, app, ledger)
  },
)

for (const [what, code] of [
  ['a serialization failure', '40001'],
  ['a deadlock', '40P01'],
] as const) {
  t.test(`${what} is tried again, three times at most`, async (t) => {
    const { app } = await buildFaulty(t, { sweeper: false })
    const ledger = newLedger()
    const client = createClient(app, ledger)
    const product = await app.product(10)
    await app.sql(failing(2, code))
    const first = await client.held(product)
    const reply = await app.call('POST', '/api/orders', { hold_id: first.hold_id })
    t.equal(reply.status, 201, 'the third try succeeds')
    await app.sql(`alter sequence failures restart`)
    await app.sql(`create or replace function fail_first() returns trigger language plpgsql as $$
      begin perform nextval('failures'); raise exception 'always' using errcode = '${code}'; end $$`)
    const second = await client.held(product)
    const headers = { 'idempotency-key': newKey() }
    const order = () => app.call('POST', '/api/orders', { hold_id: second.hold_id }, { headers })
    t.match(await order(), { status: 503, body: { code: 'unavailable' } })
    t.match(
      await app.sql('select last_value from failures'),
      [{ last_value: 3 }],
      'it is given up on after three',
    )
    await app.sql('drop trigger fail_first on orders')
    t.match(await order(), { status: 201, headers: { 'idempotency-replayed': 'true' } })
    ledger.orders.set(second.order_id, second)
    await checkSale(t, app, ledger)
  })
}
