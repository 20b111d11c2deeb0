import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { Webhook } from 'standardwebhooks'
import { StartError } from '../errors.ts'
import { type Notice, SCENARIOS, type Scenario } from '../gateway/notices.ts'
import { sign } from '../gateway/sign.ts'
import { runCommand, say } from './lifecycle.ts'

const HELP = `npm run gateway -- <scenario>... [options]

Plays a payment gateway: sends signed webhooks for an order and prints what came back.

Scenarios
  success        one success                      failure       one failure
  duplicate      a success, three times           early         a success before the order (--hold)
  late           a success once the order has     out-of-order  a success, then the failure of an
                 timed out                                      earlier attempt
  shuffled       success, its duplicate, a        forged        wrong secret, changed body, old
                 failure, a success under a                     timestamp: each must be refused
                 third key, in any order

Options
  --order ID       the order (ord_...)
  --hold ID        the hold (hld_...): its order is meant; with \`early\` it is created after the webhook
  --url URL        where Holdfast is (http://127.0.0.1:3000)
  --secret SECRET  whsec_... to sign with (the first of WEBHOOK_SECRETS; without one, unsigned)
  --amount N       minor units to state           --currency CODE  currency to state
  --count N        play the scenarios N times (1) --rate N         webhooks a second at most (unlimited)
  --seed N         for shuffled (random)          --wait SECONDS   for late: how long at most (1200)
  --help           this text`

const OPTIONS = {
  order: { type: 'string' },
  hold: { type: 'string' },
  url: { type: 'string', default: `http://127.0.0.1:${process.env.PORT || 3000}` },
  secret: { type: 'string', default: process.env.WEBHOOK_SECRETS?.split(',')[0] || '' },
  amount: { type: 'string' },
  currency: { type: 'string' },
  count: { type: 'string', default: '1' },
  rate: { type: 'string' },
  seed: { type: 'string', default: String(randomBytes(4).readUInt32LE()) },
  wait: { type: 'string', default: '1200' },
  help: { type: 'boolean', default: false },
} as const satisfies ParseArgsConfig['options']

const POLL_MS = 500
const REQUEST_TIMEOUT_MS = 10_000

function readArguments(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true })
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run gateway -- --help`)
  }
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[0-9]+$/.test(text)) throw new StartError(`--${name} must be a whole number`)
  return Number(text)
}

/** Whether webhooks can be signed with it. */
function isSecret(secret: string): boolean {
  try {
    return Boolean(new Webhook(secret))
  } catch {
    return false
  }
}

async function call(
  url: string,
  options: RequestInit,
): Promise<{ status: number; body: Record<string, unknown> }> {
  try {
    const response = await fetch(url, { ...options, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  } catch (error) {
    const { cause, message } = error as Error
    throw new StartError(
      `${url} does not answer (${(cause as Error)?.message || message}): start Holdfast or set --url`,
    )
  }
}

async function awaitTimeout(
  url: string,
  order_id: string,
  wait_seconds: number,
  stopping: AbortSignal,
): Promise<void> {
  const until_ms = Date.now() + wait_seconds * 1000
  say(`waiting until ${order_id} has timed out`)
  while (Date.now() < until_ms) {
    const { body } = await call(`${url}/api/orders/${order_id}`, {})
    const order = body.data as { order_status?: string } | undefined
    if (order?.order_status === 'cancelled') return
    await setTimeout(POLL_MS, undefined, { signal: stopping })
  }
  throw new StartError(`${order_id} was not cancelled within ${wait_seconds} s: raise --wait`)
}

runCommand({ is_service: false }, async (life) => {
  const { values, positionals } = readArguments(process.argv.slice(2))
  if (values.help || positionals.length === 0) {
    process.stdout.write(`${HELP}\n`)
    return values.help ? 0 : 1
  }
  for (const name of positionals) {
    if (!(name in SCENARIOS)) {
      throw new StartError(`there is no scenario ${name}: choose ${Object.keys(SCENARIOS).join(', ')}`)
    }
  }
  const order_id = values.order ?? values.hold?.replace('hld_', 'ord_')
  if (!order_id) throw new StartError('an order is needed: pass --order ord_... or --hold hld_...')
  const [count = 1, rate, seed = 0] = (['count', 'rate', 'seed'] as const).map((name) =>
    readNumber(name, values[name]),
  )
  const amount = readNumber('amount', values.amount)
  const { url, secret, currency, hold } = values
  if (positionals.includes('forged') && secret === '')
    throw new StartError('forged needs a secret: pass --secret')
  if (secret !== '' && !isSecret(secret))
    throw new StartError('--secret must be whsec_ followed by base64, as in WEBHOOK_SECRETS')
  let surprises = 0

  async function send(notice: Notice): Promise<void> {
    const { idempotency_key, status } = notice
    const text = JSON.stringify({ idempotency_key, order_id, status, amount, currency })
    const { headers, body } = sign(notice, text, secret)
    const answer = await call(`${url}/api/payments/webhook`, { method: 'POST', headers, body })
    const data = answer.body.data as { outcome: string; first_outcome?: string; reason?: string } | undefined
    const said = data
      ? [data.outcome, data.first_outcome && `(first ${data.first_outcome})`, data.reason]
          .filter(Boolean)
          .join(' ')
      : answer.body.code
    if (notice.flaw ? answer.status !== 401 : answer.status >= 400) surprises += 1
    say(`${notice.label.padEnd(30)} ${answer.status} ${said}`)
  }

  for (let round = 0; round < count; round += 1) {
    for (const name of positionals as Scenario[]) {
      if (name === 'late')
        await awaitTimeout(url, order_id, readNumber('wait', values.wait) ?? 0, life.stopping)
      for (const notice of SCENARIOS[name](seed + round)) {
        life.stopping.throwIfAborted()
        await send(notice)
        if (rate) await setTimeout(1000 / rate, undefined, { signal: life.stopping })
      }
      if (name === 'early' && hold) {
        const headers = { 'content-type': 'application/json' }
        const order = await call(`${url}/api/orders`, {
          method: 'POST',
          headers,
          body: JSON.stringify({ hold_id: hold }),
        })
        const data = order.body.data as { payment_status: string; order_status: string } | undefined
        say(
          `${'then the order'.padEnd(30)} ${order.status} ${data ? `${data.payment_status}, ${data.order_status}` : order.body.code}`,
        )
      }
    }
  }
  if (positionals.includes('shuffled')) say(`seed ${seed}`)
  return surprises > 0 ? 1 : 0
})
