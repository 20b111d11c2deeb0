import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { build } from '../fixtures/app.ts'
import { unchanged } from './fixtures/everything.ts'

const PROGRAM = fileURLToPath(new URL('../../src/bin/gateway.ts', import.meta.url))
const secret = `whsec_${randomBytes(32).toString('base64')}`
const other_secret = `whsec_${randomBytes(32).toString('base64')}`
const app = await build(t, { env: { WEBHOOK_SECRETS: secret, ORDER_TTL_SECONDS: '1800' } })
const impatient = await build(t, {
  env: { WEBHOOK_SECRETS: secret, ORDER_TTL_SECONDS: '1' },
  sweeper: true,
})
const product_id = await app.product(1_000)

type Ran = { code: number | null; lines: string[]; error: string }

function start(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const { PATH, HOME } = process.env
  return spawn(process.execPath, ['--import', 'tsx', PROGRAM, ...args], {
    env: { PATH, HOME, WEBHOOK_SECRETS: secret, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** What a run printed, in lines of single spaces and without the name of the program. */
async function ended(child: ChildProcess): Promise<Ran> {
  let [output, error] = ['', '']
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    error += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  const lines = output.trimEnd().split('\n')
  return { code, lines: lines.map((line) => line.replace(/^holdfast: /, '').replaceAll(/ +/g, ' ')), error }
}

const run = (args: string[], env: NodeJS.ProcessEnv = {}) => ended(start(['--url', app.origin, ...args], env))
const newHold = () => app.hold(product_id, 2)
const newOrder = async () => app.order(await newHold())

/** Asserts what a run for a new order prints, and what becomes of the order. */
async function plays(t: Test, args: string[], lines: string[], order: object, code = 0): Promise<void> {
  const { order_id } = await newOrder()
  t.same(await run([...args, '--order', order_id]), { code, lines, error: '' })
  t.match(await app.readOrder(order_id), order)
}

const PENDING = { payment_status: 'pending' }
const PAID = { payment_status: 'paid', order_status: 'confirmed' }
const FAILED = { payment_status: 'failed', cancel_reason: 'payment_failed' }

t.test('each scenario says what it sent and what was answered', { jobs: 2 }, async (t) => {
  t.test('success', (t) => plays(t, ['success'], ['success 200 applied'], PAID))
  t.test('failure', (t) => plays(t, ['failure'], ['failure 200 applied'], FAILED))
  t.test('duplicate', (t) => {
    const again = 'its duplicate 200 duplicate (first applied)'
    return plays(t, ['duplicate'], ['success 200 applied', again, again], PAID)
  })
  t.test('out-of-order', (t) => {
    const lines = ['success 200 applied', 'failure of an earlier attempt 200 ignored']
    return plays(t, ['out-of-order'], lines, PAID)
  })
  t.test('several, one after the other', (t) => {
    const lines = ['failure 200 applied', 'success 200 applied', 'success 200 refund_due already_paid']
    return plays(t, ['failure', 'success', 'success'], lines, PAID)
  })
  t.test('success of another amount or currency', async (t) => {
    const lines = ['success 200 refund_due amount_mismatch']
    await plays(t, ['success', '--amount', '19800', '--currency', 'EUR'], lines, PENDING)
    await plays(t, ['success', '--amount', '19800', '--currency', 'USD'], ['success 200 applied'], PAID)
  })
  t.test('count', (t) => {
    const lines = ['success 200 applied', ...Array<string>(2).fill('success 200 refund_due already_paid')]
    return plays(t, ['success', '--count', '3', '--rate', '100'], lines, PAID)
  })

  t.test('early', async (t) => {
    const hold = await newHold()
    const lines = ['success before the order 202 parked', 'then the order 201 paid, confirmed']
    t.same(await run(['early', '--hold', hold.hold_id]), { code: 0, lines, error: '' })
    t.match(await app.readOrder(hold.order_id), PAID)
  })

  t.test('late', async (t) => {
    const order = await impatient.order(await impatient.hold(await impatient.product(1)))
    const { code, lines } = await run(['late', '--order', order.order_id, '--url', impatient.origin])
    t.same(lines, [`waiting until ${order.order_id} has timed out`, 'success after the time-out 200 applied'])
    t.equal(code, 0)
    t.match(await impatient.readOrder(order.order_id), { ...PAID, cancel_reason: null })
  })

  t.test('shuffled: the seed repeats the order, and every order ends paid', async (t) => {
    const labels = async (seed: string) => {
      const { order_id } = await newOrder()
      const { code, lines } = await run(['shuffled', '--order', order_id, '--seed', seed])
      t.equal(code, 0)
      t.equal(lines.pop(), `seed ${seed}`)
      t.match(await app.readOrder(order_id), PAID)
      return lines.map((line) => line.replace(/ \d{3} .*/, ''))
    }
    const first = await labels('7')
    t.same(await labels('7'), first)
    t.notSame(await labels('9'), first)
    t.same(first.toSorted(), [
      'failure under another key',
      'its duplicate',
      'success',
      'success under a third key',
    ])
  })
})

t.test('forged: what was not signed is refused, and changes nothing', async (t) => {
  const { order_id } = await newOrder()
  await app.agree(t, 'before')
  const { code, lines } = await unchanged(t, app, () => run(['forged', '--order', order_id]))
  t.equal(code, 0)
  t.same(lines, [
    'signed by a wrong secret 401 invalid_signature',
    'changed by a byte 401 invalid_signature',
    'signed an hour ago 401 invalid_signature',
  ])
})

t.test('the secret is the first of WEBHOOK_SECRETS, or the one that is passed', { jobs: 2 }, async (t) => {
  const { order_id } = await newOrder()
  const success = ['success', '--order', order_id]
  t.equal((await run(success, { WEBHOOK_SECRETS: `${secret},${other_secret}` })).code, 0)
  t.equal((await run([...success, '--secret', secret], { WEBHOOK_SECRETS: other_secret })).code, 0)
  t.same(await run([...success, '--secret', other_secret]), {
    ...{ code: 1, lines: ['success 401 invalid_signature'], error: '' },
  })
  t.same(await run(success, { WEBHOOK_SECRETS: '' }), {
    ...{ code: 1, lines: ['success 401 invalid_signature'], error: '' },
  })
})

t.test('help names every scenario and option', async (t) => {
  const { code, lines, error } = await run(['--help'])
  t.equal(code, 0)
  t.equal(error, '')
  const text = lines.join('\n')
  for (const word of [
    'success',
    'failure',
    'duplicate',
    'early',
    'late',
    'out-of-order',
    'shuffled',
    'forged',
  ]) {
    t.ok(text.includes(word), word)
  }
  for (const option of [
    'order',
    'hold',
    'url',
    'secret',
    'amount',
    'currency',
    'count',
    'rate',
    'seed',
    'wait',
  ]) {
    t.ok(text.includes(`--${option}`), option)
  }
  t.match(await run([]), { code: 1, lines }, 'so does a run that names no scenario')
})

t.test('what can not be done is said in one line, with exit code 1', { jobs: 2 }, async (t) => {
  const { order_id } = await newOrder()
  const to = ['--order', order_id]
  const cases: Array<[args: string[], says: RegExp]> = [
    [['sucess', ...to], /there is no scenario sucess: choose success, /],
    [['success'], /an order is needed: pass --order/],
    [['success', ...to, '--amuont', '1'], /'--amuont'.*see npm run gateway -- --help/],
    [['success', ...to, '--amount'], /--amount.*see npm run gateway -- --help/],
    [['success', ...to, '--amount', '1.5'], /--amount must be a whole number/],
    [['success', ...to, '--rate', '-1'], /--rate/],
    [['late', ...to, '--wait', 'x'], /--wait must be a whole number/],
    [['late', ...to, '--wait', '0'], /was not cancelled within 0 s: raise --wait/],
    [
      ['success', ...to, '--url', 'http://127.0.0.1:1'],
      /does not answer \(.*\): start Holdfast or set --url/,
    ],
    [['success', ...to, '--url', 'nowhere'], /nowhere.* does not answer/],
    [['success', ...to, '--secret', 'whsec_???'], /--secret must be whsec_/],
    [['forged', ...to, '--secret', ''], /forged needs a secret: pass --secret/],
  ]
  for (const [args, says] of cases) {
    t.test(args.join(' ').replace(order_id, 'ord_...'), async (t) => {
      const { code, error } = await run(args)
      t.equal(code, 1)
      t.match(error, says)
      t.match(error, /^holdfast: [^\n]+\n$/, 'one line')
    })
  }
  t.test('an order of nobody', async (t) => {
    t.match(await run(['success', '--order', 'ord_7']), { code: 1, lines: ['success 400 validation_failed'] })
  })
})

t.test('a signal ends the wait for a time-out', async (t) => {
  const { order_id } = await newOrder()
  const child = start(['late', '--order', order_id, '--url', app.origin])
  const ending = ended(child)
  if (child.stdout) await once(child.stdout, 'data')
  child.kill('SIGTERM')
  t.match(await ending, { code: 0, error: '' })
  t.match(await app.readOrder(order_id), PENDING)
})
