import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type App, build } from '../fixtures/app.ts'
import { type Document, type Headers, type Kind, requestsOf, resolve } from '../fixtures/fuzz.ts'
import type { Reply } from '../fixtures/http.ts'
import { createReplyCheck, type OpenApi } from '../fixtures/replies.ts'
import { newSecret, sign } from '../fixtures/tokens.ts'
import { until } from '../fixtures/until.ts'

/*
  FUZZ_RUNS=100000 FUZZ_SEED=7 npm test -- --timeout=0 test/http/fuzz.test.ts
  sends more requests; a failure names the seed and path that repeat it.
*/
const { FUZZ_RUNS, FUZZ_SEED } = process.env
const RUNS = Number(FUZZ_RUNS || 5_000)
/** The same requests in every run, so that no run depends on luck; others by FUZZ_SEED. */
const SEED = Number(FUZZ_SEED || 738_070)
/** On a machine that has much else to do, fewer requests do, rather than that the file runs out of its time. */
const LIMIT_MS = 70_000
/** Requests refer to the newest of each kind. */
const MAX_KNOWN = 30
const ADMIN = 'an-admin-token-of-some-length'

/**
 * One hash over all keys. Of the journal only counts what was ever added: it empties itself in its own time. Fields of a hash
 * have no order, and change places while Redis enlarges its table.
 */
const DIGEST = `
  local function fields(key)
    local all, texts = redis.call('HGETALL', key), {}
    for at = 1, #all, 2 do texts[#texts + 1] = #all[at] .. ':' .. all[at] .. all[at + 1] end
    table.sort(texts)
    return table.concat(texts, '\\0')
  end
  local cursor, parts = '0', {}
  repeat
    local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 10000)
    cursor = found[1]
    for _, key in ipairs(found[2]) do
      if string.sub(key, -8) == ':journal' then
        local info = redis.call('XINFO', 'STREAM', key)
        for at = 1, #info, 2 do
          if info[at] == 'entries-added' then parts[#parts + 1] = key .. info[at + 1] end
        end
      elseif string.sub(key, -8) ~= ':commits' then -- once a second, to say that the service lives
        local value = redis.call('TYPE', key).ok == 'hash' and fields(key) or redis.call('DUMP', key)
        parts[#parts + 1] = redis.sha1hex(key .. value .. redis.call('PEXPIRETIME', key))
      end
    end
  until cursor == '0'
  table.sort(parts)
  return redis.sha1hex(table.concat(parts))`
/** Whatever is written gets a newer xmin, whatever is deleted lowers a count. */
const NEWEST = ['products', 'orders', 'order_items', 'payments', 'stock_adjustments', 'shards']
  .map((table) => `(select concat(max(xmin::text::bigint), '/', count(*)) from ${table})`)
  .join(', ')

async function digest(app: App): Promise<string> {
  // What the last request committed leaves the journal after its answer.
  await app.service.writer.drained()
  const [redis, [row]] = await Promise.all([
    app.redis.eval(DIGEST, 0, `${app.prefix}:*`),
    app.sql<{ all: string }>(`select concat_ws(' ', ${NEWEST}) as all`),
  ])
  return `${redis} ${row?.all}`
}

/** The ids of what is there, the newest last. */
async function openPool(app: App) {
  const pool: Record<Kind, Array<string | number>> = { product: [], hold: [], order: [] }
  const add = (kind: Kind, id: string | number | undefined) => {
    if (id !== undefined) pool[kind] = [...pool[kind], id].slice(-MAX_KNOWN)
  }
  const shard = app.engine.shards - 1
  for (const terms of [{}, { max_per_customer: 3 }, { paused: true }, { currency: 'EUR', shard }]) {
    add('product', await app.product(200, terms))
  }
  const product = pool.product[0] as number
  for (let count = 0; count < 3; count += 1) {
    const { id } = await app.engine
      .placeHold({ items: [{ product_id: product, qty: 1 }], customer_id: 'ada', idem: null })
      .then((placed) => ('hold' in placed ? placed.hold : { id: '' }))
    add('hold', `hld_${id}`)
    add('order', `ord_${id}`)
  }
  return {
    find: (kind: Kind, at: number) => pool[kind][at % pool[kind].length] as string | number,
    learn(reply: Reply): void {
      const { data } = (reply.body ?? {}) as { data?: { id?: number; hold_id?: string; order_id?: string } }
      if (reply.status !== 201) return
      add('product', data?.id)
      add('hold', data?.hold_id)
      add('order', data?.order_id)
    },
  }
}

async function fuzz(t: Test, app: App, senders: Headers[], runs: number): Promise<void> {
  const document = app.app.swagger() as unknown
  const problemsOf = createReplyCheck(document as OpenApi)
  const pool = await openPool(app)
  const counts = new Map<string, number>()
  let before = await digest(app)

  const property = fc.asyncProperty(requestsOf(document as Document, senders), async (drawn) => {
    const { method, path, headers, body } = resolve(drawn, pool.find)
    const inject = async (): Promise<Reply> => {
      const got = await app.app.inject({
        method: method as 'GET',
        url: path,
        headers,
        ...(body === undefined ? {} : { body }),
      })
      const is_json = /json/.test(String(got.headers['content-type']))
      return {
        ...{ status: got.statusCode, headers: got.headers as Reply['headers'], text: got.body, took_ms: 0 },
        body: is_json ? got.json() : undefined,
      }
    }
    // A machine that is busy with other things may shed load.
    const reply = await until('a machine that is not too busy', async () => {
      const got = await inject()
      return /More requests come/.test(got.text) ? undefined : got
    })
    const what = `${method} ${path} ${JSON.stringify(headers)} ${body}: ${reply.status} ${reply.text}`
    if (reply.status >= 500) throw new Error(`a failure: ${what}`)
    const problems = problemsOf(method, path, reply)
    if (problems.length > 0) throw new Error(`${problems.join('; ')}: ${what}`)
    const after = await digest(app)
    if (reply.status >= 400 && after !== before) throw new Error(`refused, but something changed: ${what}`)
    before = after
    pool.learn(reply)
    const name = `${method} ${path.split(/[/?]/)[2]} ${reply.status}`
    counts.set(name, (counts.get(name) ?? 0) + 1)
  })
  await fc.assert(property, {
    ...{ numRuns: runs, seed: SEED, endOnFailure: true },
    ...(FUZZ_RUNS ? {} : { interruptAfterTimeLimit: LIMIT_MS }),
  })

  t.comment(
    [...counts]
      .sort()
      .map(([name, count]) => `${name}: ${count}`)
      .join(', '),
  )
  const sum = (pattern: RegExp) =>
    [...counts].reduce((total, [name, count]) => total + (pattern.test(name) ? count : 0), 0)
  const sent = sum(/./)
  t.comment(`${sent} requests`)
  t.ok(sum(/ 20\d$/) > sent / 10, `${sum(/ 20\d$/)} requests had an effect or an answer`)
  t.ok(sum(/ 4\d\d$/) > sent / 5, `${sum(/ 4\d\d$/)} requests were refused`)
  for (const wanted of [
    /^POST holds 201/,
    /^POST orders 201/,
    /^POST payments 20/,
    / 400$/,
    / 404$/,
    / 409$/,
  ]) {
    t.ok(sum(wanted) > 0, `some were ${wanted.source}`)
  }
  await app.agree(t, 'in the end')
}

t.comment(`FUZZ_SEED=${SEED}`)

t.test(`every reply is as documented and no refusal changes anything (FUZZ_SEED=${SEED})`, async (t) => {
  const app = await build(t, { env: { HOLD_TTL_SECONDS: '86400', ADMIN_TOKEN: ADMIN, STOCK_SHARDS: '2' } })
  const senders: Headers[] = [{}, {}, { authorization: `Bearer ${ADMIN}` }, { authorization: 'Bearer x' }]
  await fuzz(t, app, senders, Math.ceil(RUNS / 2))
})

t.test(`so it is where customers have tokens (FUZZ_SEED=${SEED})`, async (t) => {
  const secret = newSecret()
  const env = { HOLD_TTL_SECONDS: '86400', ADMIN_TOKEN: ADMIN, CUSTOMER_JWT_SECRET: secret }
  const app = await build(t, { env })
  const token = (sub: string) => ({ authorization: `Bearer ${sign({ sub }, secret)}` })
  const senders: Headers[] = [
    token('ada'),
    token('ada'),
    token('bob'),
    { authorization: `Bearer ${ADMIN}` },
    {},
  ]
  await fuzz(t, app, senders, Math.floor(RUNS / 2))
})

t.test('control: a change is seen, and so is a reply that is not documented', async (t) => {
  const app = await build(t)
  const product_id = await app.product(5)
  const problemsOf = createReplyCheck(app.app.swagger() as unknown as OpenApi)
  const before = await digest(app)
  t.equal(await digest(app), before)
  const hold = await app.hold(product_id)
  const held = await digest(app)
  t.not(held, before)
  await app.call('POST', `/api/holds/${hold.hold_id}/extend`)
  t.not(await digest(app), held)
  const ordered = await digest(app)
  await app.sql('update products set name = name')
  t.not(await digest(app), ordered)
  const reply = await app.call('GET', `/api/products/${product_id}`)
  t.same(problemsOf('GET', '/api/products/1', reply), [])
  t.not(problemsOf('GET', '/api/products/1', { ...reply, status: 202 }).length, 0)
  t.not(problemsOf('GET', '/api/products/1', { ...reply, body: { data: { id: 1 } } }).length, 0)
})
