/**
 * What becomes of one hold and its order, as the contract says it: which answers each call may get in which state, and what it leads
 * to. The units are not looked at here (`product-model.ts` does that), so a payment that needs free ones again may find them or not.
 */
export type Stage =
  | 'none'
  | 'held'
  | 'released'
  | 'expired'
  | 'lost'
  | 'pending'
  | 'paid'
  | 'failed'
  | 'timed_out'
  | 'cancelled'

export type Life = {
  stage: Stage
  /** Whether `expires_at` has come, and whether `pay_by` has. */
  is_up: boolean
  is_overdue: boolean
  /** Whether a payment of success waits for the order: such a hold does not die. */
  is_prepaid: boolean
  /** What an order was when it was made, which a repeated request may be answered; '' where the sweeper made it. */
  made_as: string
  /** Payments by key, with their first outcomes. */
  seen: string[]
  /** What it was before steps that nobody has acknowledged: a loss of Redis may undo them. */
  undone: Life[]
  name: string
}

/** An answer a call may get, and the state behind it. */
export type Outcome = { says: string[]; life: Life }

export type LifeAction =
  | { kind: 'place' | 'up' | 'overdue' | 'lose' }
  | { kind: 'release' | 'read hold' | 'order' | 'cancel' | 'read order' }
  | { kind: 'pay'; key: string; status: string }

type Facts = Omit<Life, 'name'>

function make(facts: Facts): Life {
  const { stage, is_up, is_overdue, is_prepaid, made_as, seen, undone } = facts
  const flags = `${Number(is_up)}${Number(is_overdue)}${Number(is_prepaid)}`
  const name = `${stage} ${flags} ${made_as} ${seen.join()} [${undone.map(({ name }) => name).join(';')}]`
  return { ...facts, name }
}

export const NO_LIFE = make({
  stage: 'none',
  is_up: false,
  is_overdue: false,
  is_prepaid: false,
  made_as: '',
  seen: [],
  undone: [],
})

export const change = (life: Life, changed: Partial<Facts>): Life => make({ ...life, ...changed })

/** `payment_status order_status cancel_reason` of an order, as the API shows them. */
const SHOWN: Partial<Record<Stage, string>> = {
  pending: 'pending pre-payment null',
  paid: 'paid confirmed null',
  failed: 'failed cancelled payment_failed',
  timed_out: 'failed cancelled payment_timeout',
  cancelled: 'pending cancelled requested',
}
export const shownOrder = ({ stage }: Life) => SHOWN[stage]

/** A hold whose time has come, and which nobody has paid for. Its units are held until they are taken back. */
export const isDead = ({ stage, is_up, is_prepaid }: Life) => stage === 'held' && is_up && !is_prepaid

/** What happens by itself: a dead hold is taken back, a paid one becomes an order at its end, an unpaid order is cancelled. */
export function moveOf(life: Life): Life | undefined {
  if (isDead(life)) return change(life, { stage: 'expired' })
  if (life.stage === 'held' && life.is_up) return change(life, { stage: 'paid', is_prepaid: false })
  if (life.stage === 'pending' && life.is_overdue) return change(life, { stage: 'timed_out' })
  return undefined
}

/** Why a hold that is not live is refused; undefined where it is live, or an order. */
function goneCodes(life: Life): string[] | undefined {
  const { stage, is_up } = life
  if (stage === 'none') return ['404 hold_not_found']
  if (stage === 'expired' || isDead(life)) return ['410 hold_expired']
  if (stage === 'released') return is_up ? ['410 hold_released', '410 hold_expired'] : ['410 hold_released']
  // Redis does not know it any more: 404 or 410, as the contract says of a loss.
  if (stage === 'lost') return ['404 hold_not_found', '410 hold_expired', '410 hold_released']
  return undefined
}

const each = (says: string[], life: Life): Outcome[] => says.map((text) => ({ says: [text], life }))

function release(life: Life): Outcome[] {
  const gone = goneCodes(life)
  if (life.stage === 'held' && !gone) {
    return each(['204'], change(life, { stage: 'released', is_prepaid: false }))
  }
  if (life.stage === 'released') return each(['204', ...(life.is_up ? ['410 hold_expired'] : [])], life)
  return each(gone ?? ['409 hold_already_used'], life)
}

function order(life: Life): Outcome[] {
  const gone = goneCodes(life)
  if (gone) return each(gone, life)
  if (life.stage === 'held') {
    const made = change(life, {
      stage: life.is_prepaid ? 'paid' : 'pending',
      is_prepaid: false,
      made_as: SHOWN[life.is_prepaid ? 'paid' : 'pending'] as string,
    })
    return [{ says: ['201', made.made_as], life: made }]
  }
  // Each hold is ordered under one key: the same request again is told what it was, or is, told.
  if (life.made_as === '') return each(['409 hold_already_used'], life)
  return [life.made_as, SHOWN[life.stage] as string].map((shown) => ({ says: ['201', shown], life }))
}

function cancel(life: Life): Outcome[] {
  if (life.stage === 'pending') {
    const cancelled = change(life, { stage: 'cancelled' })
    return [{ says: ['200', shownOrder(cancelled) as string], life: cancelled }]
  }
  if (!shownOrder(life)) return each(['404 order_not_found'], life)
  const again = life.stage === 'cancelled' ? [{ says: ['200', shownOrder(life) as string], life }] : []
  return [...again, ...each(['409 order_not_pending'], life)]
}

/** What a payment does that was not seen before, by the table of the contract. */
function settle(life: Life, status: string): Array<[outcome: string, changed: Partial<Facts>]> {
  const is_success = status === 'success'
  switch (life.stage) {
    case 'pending':
      return [['applied', { stage: is_success ? 'paid' : 'failed' }]]
    case 'paid':
    case 'cancelled':
      return [[is_success ? 'refund_due' : 'ignored', {}]]
    case 'failed':
    case 'timed_out':
      if (!is_success) return [['ignored', {}]]
      return [
        ['applied', { stage: 'paid' }],
        ['refund_due', {}],
      ]
    default:
      return [
        ['parked', { is_prepaid: life.is_prepaid || (is_success && life.stage === 'held' && !isDead(life)) }],
      ]
  }
}

function pay(life: Life, key: string, status: string): Outcome[] {
  const known = life.seen.find((one) => one.startsWith(`${key}:`))
  if (known) return [{ says: ['duplicate', known.slice(key.length + 1)], life }]
  return settle(life, status).map(([outcome, changed]) => {
    const paid = change(life, { ...changed, seen: [...life.seen, `${key}:${outcome}`].sort() })
    return { says: [outcome, shownOrder(paid) ?? 'null'], life: paid }
  })
}

/**
 * A loss of Redis: steps that nobody has acknowledged may be undone, a hold may be gone, or live again where its release was the
 * last that Redis forgot. What PostgreSQL has committed stays.
 */
function lose(life: Life): Outcome[] {
  return [life, ...life.undone].flatMap((one) => {
    const kept = change(one, { undone: [], is_up: life.is_up, is_overdue: life.is_overdue })
    const is_of_redis = ['held', 'released', 'expired'].includes(kept.stage)
    const lost = is_of_redis ? [change(kept, { stage: 'lost', is_prepaid: false })] : []
    return [kept, ...lost].map((left) => ({ says: [], life: left }))
  })
}

const ENDED_ORDERS: Stage[] = ['expired', 'lost', 'paid', 'failed', 'timed_out', 'cancelled']
const ENDED_HOLDS: Stage[] = [...ENDED_ORDERS, 'pending']

/** Whether an end that comes makes no difference any more, nor will after a loss. */
const isPast = ({ stage, undone }: Life, ended: Stage[]) => ended.includes(stage) && undone.length === 0

/** All that a call may be answered in a state, with the state behind it. */
export function outcomesOf(life: Life, action: LifeAction): Outcome[] {
  switch (action.kind) {
    case 'place':
      return life.stage === 'none' ? each(['201'], change(life, { stage: 'held' })) : []
    case 'up':
      return [{ says: [], life: isPast(life, ENDED_HOLDS) ? life : change(life, { is_up: true }) }]
    case 'overdue':
      return [{ says: [], life: isPast(life, ENDED_ORDERS) ? life : change(life, { is_overdue: true }) }]
    case 'lose':
      return lose(life)
    case 'release':
      return release(life)
    case 'read hold':
      if (life.stage === 'held' && !isDead(life)) return [{ says: ['200', 'active'], life }]
      return goneCodes(life) ? each(goneCodes(life) as string[], life) : [{ says: ['200', 'ordered'], life }]
    case 'order':
      return order(life)
    case 'cancel':
      return cancel(life)
    case 'read order':
      return shownOrder(life)
        ? [{ says: ['200', shownOrder(life) as string], life }]
        : each(['404 order_not_found'], life)
    case 'pay':
      return pay(life, action.key, action.status)
  }
}
