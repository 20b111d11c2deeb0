import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { StartError } from '../errors.ts'
import type { Slowness } from './detour.ts'
import type { FaultName } from './stage.ts'

export const HELP = `npm run rehearse -- [options]

Rehearses a sale: many buyers hold, order, pay, pay too late or never, fail to pay, cancel and give up, units are added and
taken out, while parts of the installation are killed; then compares everything that was acknowledged or refused with what is
there, and looks for an order of all calls that explains every answer. Exit code 1 when a promise was broken. Without --url
it starts an installation of its own in a temporary folder.

Options
  --url URL       a running service instead, with the REDIS_URL, DATABASE_URL or DATA_DIR of that service set here;
                  it gets the load and a product of its own, but no faults
  --runs N        sales, one after the other (1)    --seconds N  of buying in each, faults not counted (3)
  --buyers N      at the same time (32)             --units N    on sale (150)
  --faults LIST   of kill-redis, flush-redis, stop-postgres, kill-api: one of them in each run, drawn at random (all);
                  '' for none
  --services N    processes of the API on the one Redis and PostgreSQL, 1 to 8 (1); each request goes to one of them
                  at random, and kill-api kills one of them
  --slow-postgres MIN-MAX
                  PostgreSQL's replies come that many ms later, now and then and for each process by itself (never);
                  for example 300-900
  --slow-redis MIN-MAX
                  likewise Redis's; for example 20-120. A process gives up on a reply of Redis after 900 ms
  --order-ttl N   seconds for which an order may stay unpaid, 1 to 10 (1)
  --seed N        what is drawn (random)            --help       this text`

const FAULTS: FaultName[] = ['kill-redis', 'flush-redis', 'stop-postgres', 'kill-api']
/** More processes than that would measure the machine. */
const MAX_SERVICES = 8
/** Each run waits until its orders have run out. */
const MAX_ORDER_TTL_SECONDS = 10
/** Past the patience of every request, which would only see PostgreSQL away. */
const MAX_SLOW_MS = 5_000
/** What holds only for an installation of its own. */
const OWN = ['services', 'slow-postgres', 'slow-redis', 'order-ttl'] as const

export type Options = {
  url: string | undefined
  runs: number
  seconds: number
  buyers: number
  units: number
  faults: FaultName[]
  services: number
  slow_redis: Slowness | undefined
  slow_postgres: Slowness | undefined
  order_ttl_seconds: number
  seed: number
}

const text = { type: 'string' } as const
const NUMBERS = { runs: text, seconds: text, buyers: text, units: text, seed: text } as const
const OPTIONS = {
  ...NUMBERS,
  ...{
    url: text,
    faults: text,
    services: text,
    'slow-postgres': text,
    'slow-redis': text,
    'order-ttl': text,
  },
  help: { type: 'boolean' },
} as const

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: OPTIONS }).values
  } catch (error) {
    throw new StartError(`${(error as Error).message.split('.')[0]}: see npm run rehearse -- --help`)
  }
}

function readNumber(
  name: string,
  value: string | undefined,
  otherwise: number,
  max = Number.MAX_SAFE_INTEGER,
) {
  const number = value === undefined ? otherwise : Number(value)
  if (Number.isSafeInteger(number) && number >= 1 && number <= max) return number
  const range = max === Number.MAX_SAFE_INTEGER ? 'above 0' : `from 1 to ${max}`
  throw new StartError(`--${name} must be a whole number ${range}`)
}

function readFaults(value = FAULTS.join(',')): FaultName[] {
  const faults = value.split(',').filter((name) => name !== '') as FaultName[]
  const unknown = faults.find((name) => !FAULTS.includes(name))
  if (unknown) throw new StartError(`there is no fault ${unknown}: choose from ${FAULTS.join(', ')}`)
  return faults
}

function readSlowness(name: string, value: string | undefined): Slowness | undefined {
  if (value === undefined) return undefined
  const [, min_ms = NaN, max_ms = NaN] = /^(\d+)-(\d+)$/.exec(value)?.map(Number) ?? []
  if (min_ms <= max_ms && max_ms >= 1 && max_ms <= MAX_SLOW_MS) return { min_ms, max_ms }
  throw new StartError(`--${name} must be two numbers of ms up to ${MAX_SLOW_MS}, such as 300-900`)
}

/** Reads the options of the command; undefined where only help is wanted. Throws StartError. */
export function readOptions(argv: string[]): Options | undefined {
  const values = parse(argv)
  if (values.help) return undefined
  const foreign = values.url === undefined ? undefined : OWN.find((name) => values[name] !== undefined)
  if (foreign) throw new StartError(`--${foreign} is for an installation of its own: leave out --url`)
  const read = (name: keyof typeof NUMBERS, otherwise: number) => readNumber(name, values[name], otherwise)
  return {
    url: values.url,
    runs: read('runs', 1),
    seconds: read('seconds', 3),
    buyers: read('buyers', 32),
    units: read('units', 150),
    faults: readFaults(values.faults),
    services: readNumber('services', values.services, 1, MAX_SERVICES),
    slow_redis: readSlowness('slow-redis', values['slow-redis']),
    slow_postgres: readSlowness('slow-postgres', values['slow-postgres']),
    order_ttl_seconds: readNumber('order-ttl', values['order-ttl'], 1, MAX_ORDER_TTL_SECONDS),
    seed: read('seed', randomBytes(4).readUInt32LE() || 1),
  }
}
