import { AsyncLocalStorage } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import { Redis } from 'ioredis'
import pg from 'pg'

/*
  Holds back every call that a service under exploration makes to Redis or PostgreSQL, before it is sent and after its answer has come,
  until it is let go: one at a time, so that who lets go decides what happens in which order.
*/

/** A service as the scheduler knows it: whatever runs in its name belongs to it. */
export type Actor = { name: string; is_dead: boolean }

/** `lane` is the connection: what is sent on it, and answered, keeps its order. */
export type Call = {
  nth: number
  actor: Actor
  kind: 'redis' | 'sql'
  what: string
  /** All that it says: calls that come in one moment have no order but this. */
  says: string
  lane: object
  is_answered: boolean
  /** Lets it go on, or fail there. */
  go: (fault?: Error) => void
}

const actors = new AsyncLocalStorage<Actor>()
/** Those of the process itself, whatever is done to its timers later. */
const { setImmediate: nextTurn, setTimeout: startTimer, clearTimeout: stopTimer } = globalThis
const turn = () => new Promise<void>((resolve) => nextTurn(resolve))
/** Turns of the event loop in which nothing happens before a process is taken to be waiting. */
const QUIET_TURNS = 10
/** PostgreSQL's own limits, which know nothing of the time of the processes; those have theirs beside them. */
const SQL_LIMITS = /\b((?:statement|lock|idle_in_transaction_session)_timeout) = \d+/g
/** A server that says nothing for so long hangs. */
const HANGS_NS = 10_000_000_000n
/** A statement that takes longer may wait for a lock, which PostgreSQL knows. */
const MIN_ASK_MS = 2

/** Runs something in the name of a service. */
export const inName = <Result>(actor: Actor, work: () => Result): Result => actors.run(actor, work)
/** Runs something that is no service's. */
export const inNobodysName = <Result>(work: () => Result): Result => actors.exit(work)

const keyOf = ({ actor, is_answered, says }: Call) => `${actor.name} ${is_answered} ${says}`
function inOrder(one: Call, other: Call): number {
  const [mine, theirs] = [keyOf(one), keyOf(other)]
  return mine < theirs ? -1 : mine > theirs ? 1 : one.nth - other.nth
}

export type Scheduler = ReturnType<typeof createScheduler>

export function createScheduler(areBlocked: () => Promise<number>) {
  let count = 0
  let changes = 0
  const held: Call[] = []
  /** Those that came since everything was at rest. */
  let arrived: Call[] = []
  const delayed = new Set<Call>()
  const running = new Set<Call>()
  /** Those of them that wait in PostgreSQL for a lock that nobody has given back since. */
  const blocked = new Set<Call>()
  let busy = 0
  let hearChange = () => {}

  function noteChange(): void {
    changes += 1
    hearChange()
  }

  function hold(call: Call): Promise<void> {
    noteChange()
    // A process that is no more neither sends nor hears anything.
    if (call.actor.is_dead) return new Promise(() => {})
    return new Promise((resolve, reject) => {
      call.go = (fault) => {
        held.splice(held.indexOf(call), 1)
        noteChange()
        if (fault) reject(fault)
        else resolve()
      }
      held.push(call)
    })
  }

  async function pass<Answer>(
    about: Pick<Call, 'actor' | 'kind' | 'what' | 'says' | 'lane'>,
    send: () => Promise<Answer>,
  ): Promise<Answer> {
    count += 1
    const call: Call = { ...about, nth: count, is_answered: false, go: () => {} }
    arrived.push(call)
    await hold(call)
    running.add(call)
    let answer: () => Answer
    try {
      const value = await send()
      answer = () => value
    } catch (error) {
      answer = () => {
        throw error
      }
    } finally {
      running.delete(call)
      if (call.kind === 'sql') blocked.clear()
    }
    call.is_answered = true
    await hold(call)
    return answer()
  }

  /** Until something changes, or a while has passed. */
  function change(limit_ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = startTimer(done, limit_ms)
      function done(): void {
        stopTimer(timer)
        hearChange = () => {}
        resolve()
      }
      hearChange = done
    })
  }

  /** Until every call that is on its way has been answered, or waits in PostgreSQL for somebody's lock. */
  async function answers(): Promise<void> {
    const began = process.hrtime.bigint()
    for (let wait_ms = MIN_ASK_MS; running.size > 0; ) {
      const before = changes
      if ([...running].every((call) => blocked.has(call))) return
      await change(wait_ms)
      if (changes !== before) continue
      const count = await areBlocked()
      if (changes !== before) continue
      // What was sent behind a statement that waits does so too.
      const lanes = new Set([...running].map(({ lane }) => lane))
      if (count === lanes.size) for (const call of running) blocked.add(call)
      else if (process.hrtime.bigint() - began > HANGS_NS) {
        const names = [...running].map(({ actor, what }) => `${actor.name} ${what}`)
        throw new Error(`no answer comes to ${names.join(', ')}`)
      } else wait_ms *= 2
    }
  }

  async function rest(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      const before = changes
      await answers()
      await turn()
      quiet = changes === before && busy === 0 ? quiet + 1 : 0
    }
  }

  /**
   * Calls of several flows of a process that share its connection to Redis come in an order that depends on how fast everything is. None of
   * them was sent yet, so they get one that does not. On a connection to PostgreSQL there is one flow at a time.
   */
  function numberArrivals(): void {
    const calls = arrived.filter(({ kind }) => kind === 'redis')
    const numbers = calls.map(({ nth }) => nth).sort((one, other) => one - other)
    calls.sort(inOrder)
    for (const [at, call] of calls.entries()) call.nth = numbers[at] as number
    arrived = []
  }

  return {
    pass,
    held,
    calls: () => count,

    /** Does something that makes no calls, but may read files: nobody else goes on meanwhile. */
    async meanwhile<Result>(work: () => Promise<Result>): Promise<Result> {
      busy += 1
      try {
        return await work()
      } finally {
        busy -= 1
        // A session may have ended, and its locks with it.
        blocked.clear()
        noteChange()
      }
    },

    /** Calls that can go on now, in an order that does not depend on how fast anything is. */
    ready: (): Call[] =>
      held
        .filter(
          (call) =>
            !call.actor.is_dead &&
            !delayed.has(call) &&
            !held.some(
              (other) =>
                other.lane === call.lane &&
                other.nth < call.nth &&
                (call.is_answered || !other.is_answered) &&
                other.actor === call.actor,
            ) &&
            !(
              call.is_answered &&
              [...running].some((other) => other.lane === call.lane && other.nth < call.nth)
            ),
        )
        .sort(inOrder),

    /** Holds a call back, and what comes behind it on its connection, until the answer is called. */
    delay(call: Call): () => void {
      delayed.add(call)
      return () => void delayed.delete(call)
    },

    /** Waits until every process waits for something that is held, for a timer, or in PostgreSQL for somebody's lock. */
    async settle(): Promise<void> {
      await rest()
      numberArrivals()
    },

    /** Ends a process without a word: what it waits for never comes, and its connections break. */
    kill(actor: Actor): void {
      actor.is_dead = true
      for (const call of held.filter((one) => one.actor === actor)) held.splice(held.indexOf(call), 1)
    },

    reset(): void {
      count = 0
      held.length = 0
      arrived = []
      delayed.clear()
      blocked.clear()
    },
  }
}

/** Lets every call of whoever runs in a service's name pass the scheduler, with other scripts than its own where there are any. */
export function intercept(
  scheduler: Scheduler,
  scripts: {
    nameOf: (sha: string) => string
    scriptOf: (sha: string) => { sha: string; lua: string } | undefined
    /** What somebody hears in the place of an answer. */
    answerOf: (what: string, answer: unknown) => unknown
  },
  /** A stream for a connection to PostgreSQL. */
  openStream: () => Duplex,
) {
  const connections = new Map<Actor, Set<Redis | pg.Client>>()
  function note(actor: Actor, connection: Redis | pg.Client): void {
    const own = connections.get(actor) ?? new Set()
    connections.set(actor, own.add(connection))
  }
  const { sendCommand, connect } = Redis.prototype
  const { query, connect: connectPg, end } = pg.Client.prototype
  Redis.prototype.connect = function (this: Redis, ...args) {
    const actor = actors.getStore()
    if (!actor) return connect.apply(this, args)
    note(actor, this)
    return scheduler.pass({ actor, kind: 'redis', what: 'connect', says: 'connect', lane: {} }, () =>
      connect.apply(this, args),
    )
  }
  pg.Client.prototype.connect = function (this: pg.Client, hear?: (error: Error | null) => void) {
    const actor = actors.getStore()
    // It may break before anybody listens, as one that is killed does.
    if (actor) this.on('error', () => {})
    const go = () => {
      if (actor) (this as unknown as { connection: { stream: Duplex } }).connection.stream = openStream()
      return (connectPg as unknown as (this: pg.Client) => Promise<void>).call(this)
    }
    const connected = actor
      ? scheduler.pass({ actor, kind: 'sql', what: 'connect', says: 'connect', lane: {} }, go)
      : go()
    if (actor) note(actor, this)
    if (!hear) return connected
    connected.then(() => hear(null), hear)
    return undefined
  } as typeof connectPg
  pg.Client.prototype.end = function (this: pg.Client, hear?: (error: Error | null) => void) {
    const actor = actors.getStore()
    const go = () => (end as unknown as (this: pg.Client) => Promise<void>).call(this)
    const ended = actor
      ? scheduler.pass({ actor, kind: 'sql', what: 'end', says: 'end', lane: {} }, go)
      : go()
    if (!hear) return ended
    ended.then(() => hear(null), hear)
    return undefined
  } as typeof end
  Redis.prototype.sendCommand = function (this: Redis, command, stream) {
    const actor = actors.getStore()
    // What a connection says of itself when it is made is nobody's call.
    if (!actor || this.status !== 'ready') return sendCommand.call(this, command, stream)
    note(actor, this)
    const { name, args } = command as unknown as { name: string; args: unknown[] }
    const sha = String(args[0])
    const what = name === 'evalsha' ? scripts.nameOf(sha) : name
    if (name === 'evalsha') args[0] = scripts.scriptOf(sha)?.sha ?? sha
    return scheduler.pass(
      { actor, kind: 'redis', what, says: `${what} ${args.flat(9).join(' ')}`, lane: this },
      async () => scripts.answerOf(what, await (sendCommand.call(this, command, stream) as Promise<unknown>)),
    )
  }
  pg.Client.prototype.query = function (this: pg.Client, config: unknown, ...others: unknown[]) {
    const actor = actors.getStore()
    const asked = actor && typeof config === 'string' ? config.replaceAll(SQL_LIMITS, '$1 = 0') : config
    const send = () => (query as (...args: unknown[]) => Promise<unknown>).call(this, asked, ...others)
    if (!actor || typeof others.at(-1) === 'function') return send()
    note(actor, this)
    const { name, text = String(config) } = (typeof config === 'string' ? { text: config } : config) as {
      name?: string
      text?: string
    }
    const what = name ?? text.trim().replaceAll(/\s+/g, ' ').slice(0, 40)
    const { values = others[0] } = (typeof config === 'string' ? {} : config) as { values?: unknown }
    return scheduler.pass(
      { actor, kind: 'sql', what, says: `${text} ${JSON.stringify(values)}`, lane: this },
      send,
    )
  } as typeof query
  return {
    /** The connections that a process has, or had. */
    connectionsOf: (actor: Actor) => connections.get(actor) ?? new Set(),
    release(): void {
      Object.assign(Redis.prototype, { sendCommand, connect })
      Object.assign(pg.Client.prototype, { query, connect: connectPg, end })
    },
  }
}
