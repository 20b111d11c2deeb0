import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openGround, start, startServer } from '../fixtures/program.ts'

t.jobs = 2

/** Asserts that the start fails with this one line. */
async function refuses(t: Test, env: Record<string, string>, line: RegExp): Promise<void> {
  const program = start(t, 'server', env)
  t.match(await program.ended, { code: 1 })
  t.match(program.output.stderr, line)
  t.equal(program.output.stderr.trimEnd().split('\n').length, 1, 'one line')
}

const secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`

t.test('servers that start at once on an empty database both come up, with one product', async (t) => {
  const ground = await openGround(t, 6, { is_empty: true })
  const [open, closed] = await Promise.all([
    startServer(t, ground.env),
    startServer(t, { ...ground.env, ADMIN_TOKEN: 'token', WEBHOOK_SECRETS: secret }),
  ])
  for (const { origin } of [open, closed]) {
    t.match(await send(origin, { method: 'GET', path: '/readyz' }), { status: 200 })
    t.match(await send(origin, { method: 'GET', path: '/api/products/1' }), {
      status: 200,
      body: { data: { id: 1, available_stock: 100 } },
    })
  }
  t.match(await ground.sql('select id, total from products'), [{ id: 1, total: 100 }])
  const body = { product_id: 1, qty: 60 }
  const holds = await Promise.all(
    [open, closed].map(({ origin }) => send(origin, { method: 'POST', path: '/api/holds', body })),
  )
  t.same(holds.map(({ status }) => status).toSorted(), [201, 409], 'they sell from one stock')
  await ground.agree(t, 'afterwards')

  t.match(open.output.stdout, /ADMIN_TOKEN is not set: the admin routes are open, on loopback only/)
  t.match(open.output.stdout, /WEBHOOK_SECRETS is not set: unsigned webhooks are accepted, on loopback only/)
  t.notMatch(
    closed.output.stdout,
    /is not set/,
    'what is open for lack of settings is said, and no secret is',
  )
  t.notMatch(closed.output.stdout + closed.output.stderr, new RegExp(secret.slice(6, 20)))
})

t.test('a port that is in use is named', async (t) => {
  const ground = await openGround(t, 7)
  const other = createServer()
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const { port } = other.address() as AddressInfo
  for (const WORKERS of ['1', '2']) {
    await refuses(
      t,
      { ...ground.env, WORKERS, PORT: String(port) },
      new RegExp(`^holdfast: port ${port} is in use: stop what listens there or set PORT$`, 'm'),
    )
  }
})

t.test('a setting that makes no sense is named', async (t) => {
  await refuses(t, { HOLD_TTL_SECONDS: 'soon' }, /^holdfast: HOLD_TTL_SECONDS must be integer$/m)
  await refuses(
    t,
    { NODE_ENV: 'production' },
    /^holdfast: ADMIN_TOKEN must be set when NODE_ENV is production$/m,
  )
})

t.test('a Redis or a PostgreSQL that is not there is named, without its password', async (t) => {
  const ground = await openGround(t, 8)
  const nowhere = (url: string) => {
    const at = new URL(url)
    at.port = '1'
    return at.href
  }
  await refuses(
    t,
    { ...ground.env, REDIS_URL: nowhere(ground.env.REDIS_URL) },
    /^holdfast: Redis does not answer \([^@]*\): start it or correct REDIS_URL$/m,
  )
  await refuses(
    t,
    { ...ground.env, DATABASE_URL: nowhere(ground.env.DATABASE_URL) },
    /^holdfast: PostgreSQL .*\([^@]*\): .*DATABASE_URL/m,
  )
})
