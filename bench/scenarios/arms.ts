import { LIMITS, type LimitName } from '../baselines/limits.ts'
import { figure } from '../figures.ts'
import type { Job } from '../load/jobs.ts'
import type { ServerName } from '../stage.ts'
import { type Context, holdRequest, readRequest } from './context.ts'

/** Something that is put under load in its turn, again and again. */
export type Arm = {
  label: string
  /** Whose CPU time counts as the server's; undefined where nobody serves HTTP. */
  server: ServerName | undefined
  /** The statuses that count as done. Anything else is reported. */
  expects: number[]
  job(context: Context, connections: number, seconds: number): Promise<Job>
}

/** What is made ready for the orders of the first round; later ones go by what was measured. */
const FIRST_ORDERS_PER_SECOND = 3_000
/** What a code path needs to be compiled. */
const ORDERS_AT_LEAST = 500

function post(server: ServerName, label: string, product: 'plenty' | 'sold_out' | 'all_held', status = 201) {
  return closed(server, label, status, ({ ground }) => holdRequest(ground.products[product]))
}

function closed(
  server: ServerName,
  label: string,
  status: number,
  request: (context: Context) => ReturnType<typeof holdRequest>,
  is_keyed = false,
): Arm {
  return {
    label,
    server,
    expects: [status],
    job: async (context, connections, seconds) => {
      const url = context.stage.urlOf(server)
      return { kind: 'closed', url, connections, seconds, request: request(context), is_keyed }
    },
  }
}

const get = (server: ServerName, label: string) =>
  closed(server, label, 200, ({ ground }) => readRequest(ground.products.plenty))

const order: Arm = {
  label: 'Holdfast: order, durable',
  server: 'service',
  expects: [201],
  async job({ stage, ground, samples }, connections, seconds) {
    const measured = figure(samples, { arm: 'order', figure: 'per_second', connections })?.median
    const count = Math.ceil((measured ?? FIRST_ORDERS_PER_SECOND) * seconds)
    const engine = await ground.openEngine()
    const ids = await ground.placeHolds(
      engine,
      ground.products.plenty,
      Math.max(count, ORDERS_AT_LEAST, connections),
    )
    const hold_ids = ids.map((id) => `hld_${id}`)
    return { kind: 'orders', url: stage.urlOf('service'), connections, hold_ids }
  },
}

const funnel: Arm = {
  label: 'Holdfast: hold, order, payment (each a request)',
  server: 'service',
  expects: [200, 201],
  job: async ({ stage, ground }, connections, seconds) => ({
    ...{ kind: 'funnel', url: stage.urlOf('service'), connections, seconds },
    product_id: ground.products.plenty,
  }),
}

const LIMIT_LABELS: Record<LimitName, string> = {
  evalsha: '(f) empty EVALSHA, 128 on their way',
  'evalsha-alone': '(f) empty EVALSHA, one by one',
  zpopmin: '(f) ZPOPMIN, 128 on their way',
  'insert-128': '(f) rows inserted, 128 a commit',
  'insert-1': '(f) rows inserted, one a commit',
}

const limit = (name: LimitName): Arm => ({
  label: LIMIT_LABELS[name],
  server: undefined,
  expects: [200],
  job: async ({ stage: { redis_url, database_url } }, _connections, seconds) => ({
    ...{ kind: 'limit', name, redis_url, database_url, seconds },
  }),
})

/** Each arm by its name, in the order of the rotation. */
export const ARMS: Record<string, Arm> = {
  hold: post('service', 'Holdfast: hold', 'plenty'),
  bare: post('bare', '(b) bare Fastify POST, setImmediate', 'plenty'),
  'bare-at-once': post('bare-at-once', '(b0) bare Fastify POST, at once', 'plenty'),
  naive: post('naive', '(c) one EVALSHA a request', 'plenty'),
  'hold-keyed': closed(
    'service',
    'Holdfast: hold, Idempotency-Key',
    201,
    ({ ground }) => holdRequest(ground.products.plenty),
    true,
  ),
  'row-lock': post('row-lock', '(d) SELECT … FOR UPDATE', 'plenty'),
  'conditional-update': post('conditional-update', '(e) UPDATE … WHERE stock >= qty', 'plenty'),
  'skip-locked': post('skip-locked', '(g) a row a unit, SKIP LOCKED', 'plenty'),
  'sold-out': post('service', 'Holdfast: sold out, 409', 'sold_out', 409),
  'all-held': post('service', 'Holdfast: all held, 409', 'all_held', 409),
  'hold-again': post('service', 'Holdfast: hold, the same again (A/A)', 'plenty'),
  read: get('service', 'Holdfast: product read'),
  'bare-get': get('bare', '(b) bare Fastify GET, setImmediate'),
  'bare-get-at-once': get('bare-at-once', '(b0) bare Fastify GET, at once'),
  order,
  funnel,
  ...Object.fromEntries(LIMITS.map((name) => [name, limit(name)])),
}
