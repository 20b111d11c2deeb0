import { UnavailableError } from '../errors.ts'
import type { Observer } from '../metrics/observer.ts'
import { type Replies, type ScriptName, SIGNATURES } from './commands.ts'
import type { Fence } from './fence.ts'
import type { IdKey, Keys, ShardKey } from './keys.ts'
import type { Nodes } from './nodes.ts'
import { loadScript, runScript } from './scripts.ts'

type ArgName<Name extends ScriptName> = Exclude<
  (typeof SIGNATURES)[Name]['args'][number],
  'epoch' | `${string}...`
>

/**
 * `id` names the keys of one hold or order; `keys` and `rest` follow what the signature names. With `epoch` the step belongs to that
 * epoch, whether or not the shard is open.
 */
export type Call<Name extends ScriptName> = {
  args: Record<ArgName<Name>, string | number>
  id?: string
  keys?: string[]
  rest?: Array<string | number>
  epoch?: number | undefined
}

type Open<Reply> = Reply extends ['fenced']
  ? never
  : Reply extends [infer Status, ...infer Rest]
    ? [Exclude<Status, 'fenced'>, ...Rest]
    : never

export type Run = <Name extends ScriptName>(
  name: Name,
  shard: number,
  call: Call<Name>,
) => Promise<Open<Replies[Name]>>

/** What a node of a cluster answers that does not have the shard. */
const ELSEWHERE = /^(MOVED|ASK|CLUSTERDOWN) /

/** Closes a shard that the server of its last opening does not have any more. It was not asked to do anything there. */
export function noteElsewhere(fence: Fence, shard: number, { message }: Error): void {
  if (ELSEWHERE.test(message)) fence.close(shard, 'its server does not have it any more', 'connection')
}

const ID_KEYS: readonly string[] = ['order', 'released', 'parked_payments'] satisfies IdKey[]
const GIVEN_KEYS: readonly string[] = [
  'idem',
  'payment',
  'idem...',
  'order...',
  'released...',
  'parked_payments...',
]

const BROKEN = /BROKEN|WRONGTYPE|ERR user_script/

/** Whether a step was refused because of what it found in Redis: nothing was written, and the same would happen again. */
export const isBroken = ({ message }: Error): boolean => BROKEN.test(message)

/**
 * A call that answers a batch, and where one item of it is broken, each of them for itself: a script that finds something
 * broken has written nothing, so that its neighbours may be asked for again.
 */
export function eachForItself<Item, Answer>(call: (items: Item[]) => Promise<Answer[]>) {
  return async (items: Item[]): Promise<Array<Answer | Error>> => {
    try {
      return await call(items)
    } catch (error) {
      if (items.length === 1 || !isBroken(error as Error)) throw error
      const answers: Array<Answer | Error> = []
      for (const item of items) answers.push(...(await call([item]).catch((failed: Error) => [failed])))
      return answers
    }
  }
}

/**
 * The one way to run a script: with the epoch of its shard, its keys and arguments in the signature's order.
 * Rejects with UnavailableError where the step can not be trusted to have happened: no connection, no reply in time, the
 * shard fenced (which also closes the fence here), or a broken invariant, which `on_alarm` hears of.
 */
export function createRun(options: {
  nodes: Nodes
  keys: Keys
  fence: Fence
  /** How Redis writes an epoch. */
  epochText: (epoch: number) => string
  on_alarm: (message: string) => void
  observer?: Observer | undefined
}): Run {
  const { nodes, keys, fence, epochText, on_alarm, observer } = options
  const scripts = new Map(Object.keys(SIGNATURES).map((name) => [name, loadScript(name)]))
  return async (name, shard, call) => {
    const script = scripts.get(name)
    if (!script) throw new Error(`there is no script ${name}`)
    const signature: { keys: readonly string[]; args: readonly string[] } = SIGNATURES[name]
    const epoch = call.epoch ?? fence.epoch(shard)
    const key_texts: string[] = []
    for (const key of signature.keys) {
      if (GIVEN_KEYS.includes(key)) continue
      key_texts.push(
        ID_KEYS.includes(key)
          ? keys.id(shard, key as IdKey, call.id as string)
          : keys.shard(shard, key as ShardKey),
      )
    }
    const args: Record<string, string | number> = { ...call.args, epoch: epochText(epoch) }
    const arg_texts = signature.args.filter((arg) => !arg.endsWith('...')).map((arg) => args[arg] as string)
    const asked_ms = performance.now()
    let reply: unknown[]
    try {
      reply = await runScript(
        nodes.of(shard),
        script,
        [...key_texts, ...(call.keys ?? [])],
        [...arg_texts, ...(call.rest ?? [])],
      )
    } catch (error) {
      const message = `${name}: ${(error as Error).message}`
      if (BROKEN.test(message)) on_alarm(message)
      noteElsewhere(fence, shard, error as Error)
      throw new UnavailableError('unavailable', message, { cause: error })
    } finally {
      observer?.ranScript(name, (performance.now() - asked_ms) / 1000)
    }
    if (reply[0] === 'fenced') {
      if (call.epoch === undefined || call.epoch === fence.lastEpoch(shard))
        fence.close(shard, 'Redis has another epoch or none', 'state')
      throw new UnavailableError('recovering', `${name}: shard ${shard} is fenced`)
    }
    return reply as Open<Replies[typeof name]>
  }
}
