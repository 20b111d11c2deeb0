import { setTimeout as wait } from 'node:timers/promises'
import { UnavailableError } from '../../src/errors.ts'
import { quantile } from '../figures.ts'
import type { Answer } from '../load/jobs.ts'
import { type Context, holdRequest } from './context.ts'

/** Holds are placed with ever shorter lives, in steps of this many, so that all end at the same moment. */
const STEP = 4_096
/** Placing takes Redis and this process some 30 µs a hold. Where this is not enough, it is tried again with three times that. */
const PLACE_MS_PER_HOLD = 0.08
const PLACE_TRIES = 4
const IDLE_SECONDS = 3
/** The promise is 3 s; what takes longer is measured up to here. */
const BACK_LIMIT_MS = 12_000
const POLL_MS = 10
/** A steady trickle, far below the capacity, so that its latency shows the sweeper's doing and nothing else. */
const TRICKLE_PER_SECOND = 1_000
const TRICKLE_CONNECTIONS = 64
/** Script calls that take longer are in Redis's own log of slow commands. */
const SLOW_US = 200
/** What one call may take. */
const LIMIT_US = 2_000
const SLOW_ENTRIES = 4_096

/** Places holds that all end at the same moment, which is answered; at least IDLE_SECONDS are left until then. */
async function placeAll({ ground, options }: Context): Promise<number> {
  const count = options.cliff_holds
  for (let tries = 0; tries < PLACE_TRIES; tries += 1) {
    await ground.reset()
    const full_at_ms = Date.now() + count * PLACE_MS_PER_HOLD * 3 ** tries + 1_000
    const end_ms = Math.ceil(full_at_ms + IDLE_SECONDS * 1000)
    for (let placed = 0; placed < count && Date.now() < full_at_ms; placed += STEP) {
      const engine = await ground.openEngine(end_ms - Date.now())
      await ground.placeHolds(engine, ground.products.cliff, Math.min(STEP, count - placed))
      if (placed + STEP >= count && Date.now() < full_at_ms) return end_ms
    }
  }
  throw new Error(`${count} holds can not be placed in reasonable time: use a machine that is less busy`)
}

/** How long after `end_ms` the last unit was back. */
async function awaitBack({ ground, stage }: Context, end_ms: number): Promise<number> {
  const engine = await ground.openEngine()
  await wait(Math.max(0, end_ms - Date.now()), undefined, { signal: stage.stopping })
  for (;;) {
    const product = await engine.readProduct(ground.products.cliff).catch((error: Error) => {
      if (!(error instanceof UnavailableError)) throw error
    })
    const late_ms = Date.now() - end_ms
    if (product?.stock.held === 0 || late_ms > BACK_LIMIT_MS) return late_ms
    await wait(POLL_MS)
  }
}

/** How long the script calls in Redis's log took, in µs. That is time that passed: where cores are short, waiting counts. */
async function slowScripts({ stage: { redis } }: Context): Promise<number[]> {
  const entries = (await redis.call('SLOWLOG', 'GET', String(SLOW_ENTRIES))) as Array<
    [number, number, number, string[]]
  >
  const scripts = entries.filter(([, , , [command]]) => /^(evalsha|eval|fcall)$/i.test(command ?? ''))
  return scripts.map(([, , took_us]) => took_us)
}

const p99 = (answers: Answer[]) =>
  quantile(
    answers.map(({ latency_ms }) => latency_ms),
    0.99,
  )

/** Many holds die in the same moment, while others go on being placed. */
export async function cliff(context: Context, round: number): Promise<void> {
  const { stage, ground, options, samples, say } = context
  const { redis } = stage
  await redis.config('SET', 'slowlog-max-len', String(SLOW_ENTRIES))
  await redis.config('SET', 'slowlog-log-slower-than', String(SLOW_US))
  const end_ms = await placeAll(context)
  await wait(end_ms - IDLE_SECONDS * 1000 - Date.now(), undefined, { signal: stage.stopping })
  await redis.call('SLOWLOG', 'RESET')
  const [result, back_ms] = await Promise.all([
    stage.generator.run({
      kind: 'open',
      url: stage.urlOf('service'),
      connections: TRICKLE_CONNECTIONS,
      seconds: IDLE_SECONDS * 2,
      per_second: TRICKLE_PER_SECOND,
      request: holdRequest(ground.products.plenty),
      ignore_seconds: 0.5,
      when_busy: 'wait',
      keeps_answers: true,
    }),
    awaitBack(context, end_ms),
  ])
  const slow_us = await slowScripts(context)
  const slowest_us = Math.max(SLOW_US, ...slow_us)
  const slow_calls = slow_us.filter((took_us) => took_us > LIMIT_US).length
  const answers = result.answers ?? []
  const before = answers.filter(({ due_ms }) => due_ms < end_ms)
  const during = answers.filter(({ due_ms }) => due_ms >= end_ms && due_ms < end_ms + back_ms)
  const unexpected = answers.filter(({ status }) => status !== 201).length
  const at = { connections: TRICKLE_CONNECTIONS, round }
  samples.push({ arm: 'cliff-before', ...at, figures: { p99_ms: p99(before) } })
  samples.push({
    arm: 'cliff',
    ...at,
    figures: { back_ms, slowest_us, slow_calls, p99_ms: p99(during), unexpected },
  })
  say(
    `  cliff: ${options.cliff_holds} holds back after ${back_ms} ms, slowest script ${slowest_us} µs, p99 ${p99(during).toFixed(2)} ms (before ${p99(before).toFixed(2)} ms)`,
  )
}
