import type { Call, CallAnswer, Recording } from './calls.ts'
import type { LifeAction } from './life.ts'
import type { Operation } from './linearize.ts'

export type ProductAction =
  | { kind: 'refused hold'; qty: number }
  | { kind: 'adjust'; delta: number; key: string }
  | { kind: 'read stock' }

/** An operation on a hold with its order, named by `life`, or on the product itself. */
export type Act = Operation & {
  life: string | undefined
  /** Units of the hold. */
  qty: number
  action: LifeAction | ProductAction
  /** What it was answered; undefined, as a whole or in parts, where anything is right. */
  says: Array<string | undefined> | undefined
  /** The call behind it; none for what a clock does. */
  call: Call | undefined
}

/** Replies come after the commit, steps soon after the beginning: a first guess. */
const STEP_AFTER_MS = 1
/** What may never have been is tried last. */
const LATE_MS = 1e15

const bare = (id: unknown) => String(id).replace(/^(hld|ord)_/, '')
const isoMs = (text: unknown) => (typeof text === 'string' ? Date.parse(text) : undefined)

function shown(data: Record<string, unknown> | undefined): string | undefined {
  return data && `${data.payment_status} ${data.order_status} ${data.cancel_reason}`
}

const refusal = ({ status, code }: CallAnswer) => [`${status} ${code}`]

type Read = Pick<Act, 'action' | 'says'> & { life?: string; qty?: number; moment?: unknown }

function readPayment({ body }: Call, answer: CallAnswer | undefined): Read {
  const { idempotency_key: key, order_id, status } = body as Record<string, string>
  const read = {
    life: bare(order_id),
    action: { kind: 'pay', key: String(key), status: String(status) },
  } as const
  if (!answer) return { ...read, says: undefined }
  if (answer.status >= 300) return { ...read, says: refusal(answer) }
  const { outcome, first_outcome, order, paid_at } = answer.data as Record<string, unknown>
  if (outcome === 'duplicate') return { ...read, says: ['duplicate', String(first_outcome)] }
  const moment = outcome === 'applied' && status === 'success' ? paid_at : undefined
  return { ...read, moment, says: [String(outcome), shown((order ?? undefined) as Record<string, unknown>)] }
}

function readHold({ body, answer }: Call): Read {
  const qty = Number(body?.qty)
  if (!answer) return { action: { kind: 'place' }, qty, says: undefined }
  const { status, data } = answer
  if (status !== 201) {
    const { code, reason, available } = answer
    return { action: { kind: 'refused hold', qty }, says: [`${status} ${code}`, reason, String(available)] }
  }
  return {
    action: { kind: 'place' },
    life: bare(data?.hold_id),
    qty,
    moment: data?.created_at,
    says: ['201'],
  }
}

function readStock({ answer }: Call, path: string): Read {
  const stock = (path === 'stock' ? answer?.data : answer?.data?.stock) as Record<string, number> | undefined
  const says = stock
    ? ['available', 'held', 'pending', 'sold', 'total'].map((part) => String(stock[part]))
    : answer && refusal(answer)
  return { action: { kind: 'read stock' }, says }
}

/** What a call is to the model; undefined where it is none of its kinds. */
function readCall(call: Call): Read | undefined {
  const { method, answer, body, key } = call
  const [, what, id = '', sub = ''] = call.path.split('/')
  const ok = answer && answer.status < 300
  const data = answer?.data
  switch (`${method} ${what}`) {
    case 'POST holds':
      return readHold(call)
    case 'GET holds':
      return {
        life: bare(id),
        action: { kind: 'read hold' },
        says: ok ? ['200', String(data?.status)] : answer && refusal(answer),
      }
    case 'DELETE holds':
      return { life: bare(id), action: { kind: 'release' }, says: ok ? ['204'] : answer && refusal(answer) }
    case 'POST orders':
      return {
        life: bare(body?.hold_id),
        action: { kind: 'order' },
        says: ok ? ['201', shown(data)] : answer && refusal(answer),
        moment: data?.created_at,
      }
    case 'GET orders':
      return {
        life: bare(id),
        action: { kind: 'read order' },
        says: ok ? ['200', shown(data)] : answer && refusal(answer),
      }
    case 'DELETE orders':
      return {
        life: bare(id),
        action: { kind: 'cancel' },
        says: ok ? ['200', shown(data)] : answer && refusal(answer),
        moment: data?.cancelled_at,
      }
    case 'POST payments':
      return readPayment(call, answer)
    case 'GET products':
      return readStock(call, sub)
    case 'POST products': {
      const action = { kind: 'adjust', delta: Number(body?.delta), key: String(key) } as const
      return { action, says: ok ? ['200'] : answer && [...refusal(answer), String(answer.available)] }
    }
    default:
      return undefined
  }
}

const QUIET = ['read hold', 'read order', 'read stock', 'refused hold']
const QUIET_OUTCOMES = ['ignored', 'refund_due', 'duplicate']

/** Whether an act hardly ever changes anything: it reads, or was refused. */
function isQuiet({ action, says }: Read): boolean {
  if (QUIET.includes(action.kind)) return true
  return says?.[0] !== undefined && (/^4/.test(says[0]) || QUIET_OUTCOMES.includes(says[0]))
}

/** An act of a call, begun when it, or the first attempt at it, began. */
function actOf(call: Call, began_ms: number): Act | undefined {
  const read = readCall(call)
  if (!read) return undefined
  const { action, says, life, qty = 0 } = read
  // A read that was not answered says nothing.
  if (QUIET.includes(action.kind) && !says) return undefined
  const moment_ms = isoMs(read.moment)
  return {
    began_ms,
    ended_ms: says ? call.ended_ms : Number.POSITIVE_INFINITY,
    is_optional: !says,
    moment_ms,
    guess_ms: moment_ms ?? (says ? call.began_ms + STEP_AFTER_MS : LATE_MS),
    is_quiet: isQuiet(read),
    life: life ?? (action.kind === 'place' ? `unknown ${call.key}` : undefined),
    qty,
    action,
    says,
    call,
  }
}

/** A repeated request had its effect in any of its attempts. What its answer says of the order is as it was told last. */
function joined(act: Act): Act {
  const { action, says } = act
  if (action.kind === 'order' && says?.[0] === '201') return { ...act, says: ['201', undefined] }
  if (action.kind === 'pay' && says?.[0] === 'duplicate') return { ...act, says: [says[1], undefined] }
  return act
}

/**
 * The acts of calls. Attempts under one key, up to the first that is answered, are one: the contract gives them one effect. Where a
 * loss of Redis may undo a step between two attempts, `is_apart` keeps them apart: then what was not answered had an effect twice at most.
 */
export function actsOf(calls: Call[], is_apart: boolean): Act[] {
  const attempts = new Map<string, Call[]>()
  const acts: Array<Act | undefined> = []
  const sorted = calls.filter(({ is_void }) => !is_void).sort((one, other) => one.began_ms - other.began_ms)
  const nameOf = ({ method, path, key }: Call) => `${method} ${path} ${key}`
  const answered = new Map<string, number>()
  for (const call of sorted)
    if (call.answer) answered.set(nameOf(call), (answered.get(nameOf(call)) ?? 0) + 1)
  for (const call of sorted) {
    const name = nameOf(call)
    const earlier = attempts.get(name) ?? []
    if (!call.key) acts.push(actOf(call, call.began_ms))
    else if (!call.answer) attempts.set(name, [...earlier, call])
    else {
      const [first] = earlier
      attempts.delete(name)
      const act = actOf(call, first && !is_apart ? first.began_ms : call.began_ms)
      // The moment may be that of another attempt.
      if (act && ((first && is_apart) || (answered.get(name) ?? 0) > 1)) act.moment_ms = undefined
      acts.push(act && first && !is_apart ? joined(act) : act)
      if (is_apart) for (const one of earlier.slice(0, 2)) acts.push(actOf(one, (first as Call).began_ms))
    }
  }
  for (const [first, second] of attempts.values()) {
    if (first) acts.push(actOf(first, first.began_ms))
    if (first && second && is_apart) acts.push(actOf(second, first.began_ms))
  }
  return acts.filter((act) => act !== undefined)
}

/** What the clock does to a hold and its order: its `expires_at` comes, and its `pay_by`. */
export function clockActs(recording: Recording, acts: Act[], is_apart: boolean): Act[] {
  const { clock_slack_ms: slack_ms, hold_ttl_ms, order_ttl_ms } = recording
  const none = { is_quiet: true, qty: 0, says: undefined, call: undefined }
  const due = (life: string, kind: 'up' | 'overdue', at_ms: number, is_exact: boolean): Act => ({
    ...none,
    began_ms: at_ms - slack_ms,
    ended_ms: is_exact ? at_ms + slack_ms : Number.POSITIVE_INFINITY,
    is_optional: !is_exact,
    moment_ms: is_exact ? at_ms : undefined,
    guess_ms: at_ms,
    life,
    action: { kind },
  })
  const pay_by_ms = new Map<string, number>()
  for (const { call } of acts) {
    const order = (call?.answer?.data?.order ?? call?.answer?.data) as Record<string, unknown> | undefined
    const at_ms = isoMs(order?.pay_by)
    const id = bare(order?.order_id)
    if (at_ms !== undefined) pay_by_ms.set(id, Math.min(at_ms, pay_by_ms.get(id) ?? at_ms))
  }
  const found: Act[] = []
  const guessed = new Set<string>()
  for (const { life, action, call, began_ms } of acts) {
    if (life === undefined || !call) continue
    if (action.kind === 'place') {
      const at_ms = isoMs(call.answer?.data?.expires_at)
      found.push(due(life, 'up', at_ms ?? began_ms + hold_ttl_ms, at_ms !== undefined))
    }
    if (action.kind === 'order' && !guessed.has(life)) {
      guessed.add(life)
      const at_ms = pay_by_ms.get(life)
      found.push(due(life, 'overdue', at_ms ?? began_ms + order_ttl_ms, at_ms !== undefined && !is_apart))
    }
  }
  return found
}

/** The acts until a moment: those that had not ended then had their effect before it, or not. */
export function until(acts: Act[], moment_ms: number): Act[] {
  return acts.flatMap((act) => {
    if (act.began_ms > moment_ms) return []
    if (act.ended_ms <= moment_ms || act.is_optional) return [act]
    return act.is_quiet && act.call ? [] : [{ ...act, ended_ms: Number.POSITIVE_INFINITY, is_optional: true }]
  })
}
