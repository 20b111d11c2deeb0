import { buy, type Ledger } from './buyers.ts'
import { createChance } from './chance.ts'
import { check } from './check.ts'
import type { Call } from './scheduler.ts'
import type { World } from './world.ts'

/** `faults`: how many of them at most in one run. */
export type Options = { seed: number; services: number; buyers: number; faults: number }
/** `steps` can be read like a story; `found` is what turned out not to be true. */
export type Story = { seed: number; steps: string[]; calls: number; faults: string[]; found: string[] }

const UNITS = 4
/** Steps after which a run that does not come to rest is one that never does. */
const MAX_STEPS = 6_000
const TICKS_MS = [30, 120, 260, 1_100]
const LOST = () => new Error('Connection is closed.')

/** One run: the same seed gives the same one. */
export async function explore(world: World, options: Options): Promise<Story> {
  const { scheduler, clock } = world
  const chance = createChance(options.seed)
  const products = await world.begin(createChance(options.seed + 1e6), UNITS)
  const ledger: Ledger = { told: [], losses: 0 }
  const story: Story = { seed: options.seed, steps: [], calls: 0, faults: [], found: [] }
  const note = (line: string) => void story.steps.push(line)
  let names = 0
  let opening = 0
  let faults_left = options.faults
  let buyers_left = options.buyers
  let shopping = 0

  function open(): void {
    names += 1
    opening += 1
    world
      .open(`p${names}`)
      .catch((error: Error) => {
        note(`a start fails: ${error.message}`)
        // Whoever started it does so again.
        open()
      })
      .finally(() => {
        opening -= 1
      })
  }
  function enter(): void {
    buyers_left -= 1
    shopping += 1
    note('a buyer comes')
    void buy(world, chance, products, ledger)
      .catch((error: Error) => story.found.push(`a buyer failed: ${error.stack}`))
      .finally(() => {
        shopping -= 1
      })
  }
  const letGo = (call: Call, fault?: Error) => {
    const phase = call.is_answered ? 'hears of' : 'sends'
    note(`${call.actor.name} ${phase} ${call.what}${fault ? ', which fails' : ''}`)
    call.go(fault)
  }
  async function pass(ms: number): Promise<void> {
    note(`${ms} ms pass`)
    clock.pass(ms)
    await world.tellTime()
  }
  const FAULTS: Record<string, () => Promise<void>> = {
    async kill() {
      const living = world.running()
      if (living.length === 0) return
      const { actor } = chance.pick(living)
      note(`${actor.name} is killed`)
      await world.kill(actor)
      open()
    },
    async 'lose a reply'() {
      const call = scheduler.ready().find((one) => one.is_answered && one.kind === 'redis')
      if (call) letGo(call, LOST())
    },
    async 'lose a call'() {
      const call = scheduler.ready().find((one) => !one.is_answered && one.kind === 'redis')
      if (call) letGo(call, LOST())
    },
    async 'break a connection to PostgreSQL'() {
      const call = scheduler.ready().find((one) => one.kind === 'sql')
      if (!call || !('connection' in call.lane)) return
      ;(call.lane as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
      letGo(call, new Error('Connection terminated unexpectedly'))
    },
    async 'empty Redis'() {
      note('Redis is emptied')
      ledger.losses += 1
      await world.redis.flushall()
      await world.tellTime()
    },
  }

  /** Everybody is at rest: nothing is under way, every shard is open, and nothing is left to do. */
  async function isOver(): Promise<boolean> {
    if (buyers_left + shopping + opening + faults_left > 0 || scheduler.ready().length > 0) return false
    const living = world.running()
    if (living.length < options.services) return false
    for (let shard = 0; shard < world.shards; shard += 1) {
      for (const { service } of living) if (!service.engine.fence.isOpen(shard)) return false
    }
    const { keys } = (living[0] as (typeof living)[number]).service.engine
    for (let shard = 0; shard < world.shards; shard += 1) {
      const left = await Promise.all([
        world.redis.xlen(keys.shard(shard, 'journal')),
        world.redis.zcard(keys.shard(shard, 'holds')),
        world.redis.zcard(keys.shard(shard, 'prepaid')),
        world.redis.zcard(keys.shard(shard, 'deadlines')),
        world.redis.zcard(keys.shard(shard, 'parked')),
      ])
      if (left.some((count) => count > 0)) return false
    }
    return true
  }

  for (let at = 0; at < options.services; at += 1) open()
  for (let step = 0; ; step += 1) {
    const hanging = await scheduler.settle().catch((error: Error) => error)
    if (hanging) {
      story.found.push(hanging.message)
      break
    }
    if (step >= MAX_STEPS) {
      story.found.push(`it does not come to rest: ${world.log.slice(-3).join(' / ')}`)
      break
    }
    const ready = scheduler.ready()
    if (ready.length === 0 && (await isOver())) break
    const is_open = world.running().length === options.services && opening === 0
    if (is_open && faults_left > 0 && chance.below(25) === 0) {
      faults_left -= 1
      const name = chance.pick(Object.keys(FAULTS))
      story.faults.push(name)
      await FAULTS[name]?.()
    } else if (is_open && buyers_left > 0 && chance.below(6) === 0) enter()
    else if (ready.length > 0 && chance.below(40) > 0) letGo(chance.pick(ready))
    else if (ready.length === 0 && buyers_left > 0 && is_open) enter()
    else await pass(chance.pick(TICKS_MS))
    if (buyers_left + shopping === 0 && is_open) faults_left = 0
  }
  story.calls = scheduler.calls()
  if (story.found.length === 0) story.found.push(...(await check(world, ledger)))
  for (const { actor } of world.running()) await world.kill(actor)
  return story
}
