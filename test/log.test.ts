import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import t from 'tap'
import { readConfig } from '../src/config.ts'
import { createSparing } from '../src/http/errors.ts'
import { createLog, hideSecrets } from '../src/log.ts'

const word = () => randomBytes(24).toString('hex')
const secret = () => `whsec_${randomBytes(32).toString('base64')}`

/** A log whose lines are kept. */
function open(env: NodeJS.ProcessEnv) {
  const lines: string[] = []
  const to = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  return { log: createLog(readConfig(env), to), lines }
}

t.test('no secret of the configuration is in a line, wherever it came from', async (t) => {
  const secrets = {
    ADMIN_TOKEN: `${word()}"\\`,
    CUSTOMER_JWT_SECRET: word(),
    WEBHOOK_SECRETS: secret(),
    STRIPE_WEBHOOK_SECRET: `whsec_${word()}`,
  }
  const [redis, postgres] = [word(), `${word()} /`]
  const { log, lines } = open({
    ...secrets,
    REDIS_URL: `redis://user:${redis}@127.0.0.1:6379`,
    DATABASE_URL: `postgres://user:${encodeURIComponent(postgres)}@127.0.0.1/holdfast`,
  })
  const all = [...Object.values(secrets), redis, postgres, encodeURIComponent(postgres)]
  for (const one of [...all, secrets.WEBHOOK_SECRETS.slice('whsec_'.length)]) {
    log.info(`a text with ${one} in it`)
    log.info({ deep: { er: [{ one }] }, [one]: 1 }, 'a field')
    log.error(Object.assign(new Error(`failed with ${one}`), { config: { one } }))
    log.child({ one }).warn('a child')
  }
  t.equal(lines.length, 4 * (all.length + 1))
  const text = lines.join('')
  for (const one of all) {
    t.notOk(text.includes(one), 'as it is')
    t.notOk(text.includes(JSON.stringify(one).slice(1, -1)), 'as JSON has it')
  }
  t.equal(lines.map((line) => JSON.parse(line)).length, lines.length, 'lines are JSON still')
})

t.test('what looks like a secret is hidden, whosever it is', async (t) => {
  const { log, lines } = open({})
  const jwt = `eyJ${word()}.${word()}.${word()}`
  const hidden = [word(), word(), word(), word(), word(), word(), word()] as const
  log.info({ req: { headers: { authorization: hidden[0], cookie: `session=${hidden[1]}` } } }, 'headers')
  log.info({ rawHeaders: ['Authorization', `Bearer ${hidden[2]}`] }, 'as they came')
  log.info(`asked with ${jwt}`)
  log.info({ headers: { 'webhook-signature': `v1,${hidden[3]}=` } }, `signed v1,${hidden[3]}=`)
  log.info(`Stripe: t=1700000000,v1=${hidden[4]}`)
  log.info(`a key sk_live_${hidden[5]}`)
  log.info(JSON.stringify({ password: hidden[6] }))
  const text = lines.join('')
  for (const one of [...hidden, jwt, jwt.split('.')[1] as string]) t.notOk(text.includes(one))
  for (const line of lines) t.ok(JSON.parse(line))
})

t.test('addresses without a password, and all else, stay as they are', async (t) => {
  for (const text of [
    'redis://127.0.0.1:6379/1',
    'postgres://holdfast@127.0.0.1:5432/holdfast',
    'http://127.0.0.1:3000/api/products/1 at 10:00:00',
    '{"level":30,"order_id":"ord_jZu8jHczExm5aNPo1a200defdaf0","idempotency_key":"pay-1"}',
  ])
    t.equal(hideSecrets(text), text)
  t.equal(hideSecrets('postgres://holdfast:pw@db/holdfast'), 'postgres://holdfast:[hidden]@db/holdfast')
})

t.test('in an outage some lines a second are written, and the others are counted', async (t) => {
  const mayWrite = createSparing(3)
  const start = Math.ceil(performance.now() / 1000) * 1000
  while (performance.now() < start) await new Promise((resolve) => setTimeout(resolve, 5))
  t.same(Array.from({ length: 6 }, mayWrite), [0, 0, 0, undefined, undefined, undefined])
  while (performance.now() < start + 1000) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(mayWrite(), 3)
  t.equal(mayWrite(), 0)
})
