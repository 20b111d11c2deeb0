import { buy, type Ledger, newLedger } from './buyers.ts'
import { createChance, type Tape } from './chance.ts'
import { check } from './check.ts'
import { FAULTS } from './faults.ts'
import type { Call } from './scheduler.ts'
import { tend } from './shop.ts'
import type { World } from './world.ts'

/** `seed` decides what is random within the services; `tape`, where there is one, what happens when. `faults`: at most so many in a run. */
export type Options = { seed: number; tape?: Tape; services: number; buyers: number; faults: number }
/** `steps` can be read like a story; `found` is what turned out not to be true; `tape` tells it again. */
export type Story = {
  seed: number
  tape: Tape
  steps: string[]
  calls: number
  faults: string[]
  found: string[]
}

const PRICE = 100
/** Of a product: so few that it is sold out now and then. */
const MAX_UNITS = 4
/** Steps after which a run that does not come to rest is one that never does. */
const MAX_STEPS = 6_000
const TICKS_MS = [30, 120, 260, 1_100]
/** Once in so many steps. */
const OFTEN = { fault: 25, buyer: 6, shop: 40, time: 40 }
const MAX_VISITS = 2
/** Whoever looks once a second whether a server is still what it was has looked by then. */
const NOTICED_MS = 3_500

/** One run: the same seed, and the same tape, give the same one. */
export async function explore(world: World, options: Options): Promise<Story> {
  const { seed, services } = options
  const { scheduler, clock } = world
  const chance = createChance(options.tape ?? seed)
  const began = { units: 1 + chance.below(MAX_UNITS), price: PRICE }
  const products = await world.begin(seed + 1e6, began)
  const ledger: Ledger = newLedger()
  const story: Story = { seed, tape: chance.tape, steps: [], calls: 0, faults: [], found: [] }
  const note = (line: string) => void story.steps.push(line)
  let names = 0
  let opening = 0
  let faults_left = options.faults
  let buyers_left = options.buyers
  let visits_left = MAX_VISITS
  let inside = 0
  /** When something failed for the last time. */
  let failed_ms = clock.now_ms()
  let step = 0
  const postponed: Array<{ at_step: number; work: () => unknown }> = []

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
  function enter(what: string, act: typeof buy): void {
    inside += 1
    note(`${what} comes`)
    void act(world, chance, products, ledger)
      .catch((error: Error) => story.found.push(`${what} failed: ${error.stack}`))
      .finally(() => {
        inside -= 1
      })
  }
  function enterBuyer(): void {
    buyers_left -= 1
    enter('a buyer', buy)
  }
  function letGo(call: Call, fault?: Error): void {
    const phase = call.is_answered ? 'hears of' : 'sends'
    note(`${call.actor.name} ${phase} ${call.what}${fault ? ', which fails' : ''}`)
    call.go(fault)
  }
  async function pass(ms: number): Promise<void> {
    note(`${ms} ms pass`)
    clock.pass(ms)
    await world.tellTime()
  }
  async function fail(): Promise<void> {
    faults_left -= 1
    failed_ms = clock.now_ms()
    const lost = story.faults.map((name) => FAULTS[name]?.loses).find(Boolean)
    const name = chance.pick(
      Object.keys(FAULTS).filter((one) => !lost || !FAULTS[one]?.loses || FAULTS[one]?.loses === lost),
    )
    story.faults.push(name)
    const later = (max_steps: number, work: () => unknown) =>
      void postponed.push({ at_step: step + 1 + chance.below(max_steps), work })
    await FAULTS[name]?.happen({ world, chance, ledger, note, letGo, open, later })
  }

  /** Everybody is at rest: nothing is under way, every shard is open, and nothing is left to do. */
  async function isOver(): Promise<boolean> {
    if (buyers_left + inside + opening + faults_left + postponed.length > 0) return false
    const living = world.running()
    if (living.length < services || scheduler.ready().length > 0) return false
    for (let shard = 0; shard < world.shards; shard += 1) {
      for (const { service } of living) if (!service.engine.fence.isOpen(shard)) return false
    }
    return world.isSwept()
  }

  for (let at = 0; at < services; at += 1) open()
  for (; ; step += 1) {
    const hanging = await scheduler.settle().catch((error: Error) => error)
    if (hanging) story.found.push(hanging.message)
    if (step >= MAX_STEPS) story.found.push(`it does not come to rest: ${world.log.slice(-3).join(' / ')}`)
    if (story.found.length > 0) break
    const ready = scheduler.ready()
    if (ready.length === 0 && clock.now_ms() - failed_ms >= NOTICED_MS && (await isOver())) break
    const is_open = world.running().length === services && opening === 0
    const is_quiet = buyers_left + inside === 0 && is_open
    const due = postponed.findIndex(({ at_step }) => at_step <= step || is_quiet)
    if (due >= 0) {
      await postponed.splice(due, 1)[0]?.work()
      failed_ms = clock.now_ms()
    } else if (is_open && faults_left > 0 && chance.isOnceIn(OFTEN.fault)) await fail()
    else if (is_open && buyers_left > 0 && chance.isOnceIn(OFTEN.buyer)) enterBuyer()
    else if (is_open && visits_left > 0 && !is_quiet && chance.isOnceIn(OFTEN.shop)) {
      visits_left -= 1
      enter('the shop', tend)
    } else if (ready.length > 0 && !chance.isOnceIn(OFTEN.time)) letGo(chance.pick(ready))
    else if (ready.length === 0 && buyers_left > 0 && is_open) enterBuyer()
    else await pass(chance.pick(TICKS_MS))
    if (is_quiet) faults_left = 0
  }
  story.calls = scheduler.calls()
  if (story.found.length === 0) story.found.push(...(await check(world, ledger, began)))
  await world.end()
  return story
}
