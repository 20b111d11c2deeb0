import { change, isDead, type Life, type LifeAction, moveOf, NO_LIFE, outcomesOf } from './life.ts'
import type { Model } from './linearize.ts'
import type { Act, ProductAction } from './operations.ts'
import { fits, SWEPT_AFTER_MS } from './order-model.ts'

const ROW = 32

/** All holds and orders of a product, and how many units each part has. */
export type ProductState = {
  available: number
  held: number
  pending: number
  sold: number
  total: number
  /** The lives by their number, in rows, so that a step copies only one of them. */
  rows: Life[][]
  /** The numbers of those to which something may happen by itself. */
  open: number[]
  /** Two sums over all lives by which states are told apart. */
  high: number
  low: number
}

type Bounds = Record<'available' | 'held' | 'pending' | 'sold' | 'total', [down: number, up: number]>
const SHOWN_PARTS = ['available', 'held', 'pending', 'sold', 'total'] as const

type Effect = { less: Part[]; more: Part[]; says: string[]; from: Array<Life['stage']> }
const BEFORE_ORDER: Array<Life['stage']> = ['none', 'held']
const UNPAID: Array<Life['stage']> = [...BEFORE_ORDER, 'pending']

/** Which parts may get less by an act and which more, with what answers, and from which stages its life may still come to that. */
const EFFECTS: Record<string, Effect> = {
  place: { less: ['available'], more: ['held'], says: ['201'], from: ['none'] },
  release: { less: ['held'], more: ['available'], says: ['204'], from: BEFORE_ORDER },
  up: { less: ['held'], more: ['available', 'sold'], says: [], from: BEFORE_ORDER },
  overdue: { less: ['pending'], more: ['available'], says: [], from: UNPAID },
  order: { less: ['held'], more: ['pending', 'sold'], says: ['201'], from: BEFORE_ORDER },
  cancel: { less: ['pending'], more: ['available'], says: ['200'], from: UNPAID },
  'pay failed': { less: ['pending'], more: ['available'], says: ['applied'], from: UNPAID },
  'pay success': {
    less: ['pending', 'available'],
    more: ['sold'],
    says: ['applied'],
    from: [...UNPAID, 'failed', 'timed_out'],
  },
}

type Part = 'available' | 'held' | 'pending' | 'sold'
const PARTS: Partial<Record<Life['stage'], Part>> = { held: 'held', pending: 'pending', paid: 'sold' }
const partOf = ({ stage }: Life): Part => PARTS[stage] ?? 'available'

/** A life that forgets its payments; the one before where that is all that has changed. */
function withoutSeen(life: Life, before: Life): Life {
  const forgetful = change(life, { seen: [] })
  return forgetful.name === before.name ? before : forgetful
}

/** A hash of a text (FNV-1a), of 32 bits. */
function hash(text: string, seed: number): number {
  let mixed = seed
  for (let at = 0; at < text.length; at += 1) mixed = Math.imul(mixed ^ text.charCodeAt(at), 0x01000193)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  return mixed ^ (mixed >>> 13)
}

/**
 * A product until Redis loses something: its counters, with every hold and order that takes units of it. Where free units are short a
 * step takes back those of dead holds first, as the contract says, and only then refuses.
 */
export function productModel(total: number, acts: Act[]): Model<ProductState, Act> {
  const names = [...new Set(acts.flatMap(({ life }) => life ?? []))]
  const number_of = new Map(names.map((name, number) => [name, number]))
  const qty_of: number[] = names.map(() => 0)
  const up_of: number[] = names.map(() => 0)
  const overdue_of: number[] = names.map(() => 0)
  for (const { life, qty, action, guess_ms } of acts) {
    const number = number_of.get(life ?? '')
    if (number === undefined) continue
    if (action.kind === 'place') qty_of[number] = qty
    if (action.kind === 'up') up_of[number] = guess_ms
    if (action.kind === 'overdue') overdue_of[number] = guess_ms
  }
  const rows = Array.from({ length: Math.ceil(names.length / ROW) }, () => Array<Life>(ROW).fill(NO_LIFE))
  const empty = { held: 0, pending: 0, sold: 0, open: [], high: 0, low: 0 }

  const dueOf = (state: ProductState, number: number) =>
    (lifeAt(state, number).stage === 'pending' ? overdue_of : up_of)[number]

  const lifeAt = (state: ProductState, number: number) =>
    state.rows[Math.floor(number / ROW)]?.[number % ROW] as Life

  /** The state with another life in the place of one, and its units where that one has them. Units that are not there are the caller's to mind. */
  function put(state: ProductState, number: number, life: Life): ProductState {
    const before = lifeAt(state, number)
    if (life === before) return state
    const [row, column] = [Math.floor(number / ROW), number % ROW]
    const others = state.open.filter((one) => one !== number)
    const next = {
      ...state,
      rows: state.rows.with(row, (state.rows[row] as Life[]).with(column, life)),
      open: moveOf(life) ? [...others, number].sort((one, other) => one - other) : others,
      high: state.high ^ hash(before.name, number) ^ hash(life.name, number),
      low: state.low ^ hash(before.name, ~number) ^ hash(life.name, ~number),
    }
    next[partOf(before)] -= qty_of[number] as number
    next[partOf(life)] += qty_of[number] as number
    return next
  }

  const move = (state: ProductState, number: number) =>
    put(state, number, moveOf(lifeAt(state, number)) as Life)

  /** The state in which there are `units` free if there can be: where they are short, dead holds have been taken back. */
  function makeRoom(state: ProductState, units: number): ProductState {
    if (state.available >= units) return state
    return state.open.filter((number) => isDead(lifeAt(state, number))).reduce(move, state)
  }

  function stepLife(state: ProductState, act: Act): ProductState[] {
    const number = number_of.get(act.life ?? '') as number
    const before = lifeAt(state, number)
    const qty = qty_of[number] as number
    return outcomesOf(before, act.action as LifeAction).flatMap((outcome) => {
      if (!fits(outcome, act.says)) return []
      // Which payments it has seen is told by the history of the order alone.
      const life = outcome.life === before ? before : withoutSeen(outcome.life, before)
      const needs_units = partOf(before) === 'available' && partOf(life) !== 'available'
      const wants_units =
        act.action.kind === 'pay' &&
        outcome.says[0] === 'refund_due' &&
        ['failed', 'timed_out'].includes(life.stage)
      if (!needs_units && !wants_units) return [put(state, number, life)]
      const roomy = makeRoom(state, qty)
      return roomy.available >= qty === needs_units ? [put(roomy, number, life)] : []
    })
  }

  function stepProduct(state: ProductState, action: ProductAction, says: Act['says']): ProductState[] {
    switch (action.kind) {
      case 'read stock': {
        const { available, held, pending, sold } = state
        const shown = [available, held, pending, sold, state.total].map(String)
        return fits({ says: shown, life: NO_LIFE }, says) ? [state] : []
      }
      case 'refused hold': {
        const roomy = makeRoom(state, action.qty)
        if (roomy.available >= action.qty) return []
        const all_gone = roomy.held + roomy.pending > 0 ? 'all_held' : 'sold_out'
        const reason = roomy.available > 0 ? 'too_many' : all_gone
        const shown = ['409 insufficient_stock', reason, String(roomy.available)]
        return fits({ says: shown, life: NO_LIFE }, says) ? [roomy] : []
      }
      case 'adjust': {
        const roomy = makeRoom(state, -action.delta)
        const available = roomy.available + action.delta
        if (says && says[0] !== '200') {
          const shown = ['409 stock_in_use', String(roomy.available)]
          return available < 0 && fits({ says: shown, life: NO_LIFE }, says) ? [roomy] : []
        }
        return available < 0 ? [] : [{ ...roomy, available, total: roomy.total + action.delta }]
      }
    }
  }

  /** Widens the bounds by what an act may still change: not what its life is past, nor what its answer rules out. */
  function reach(bounds: Bounds, state: ProductState, { life, action, says }: Act): void {
    if (action.kind === 'adjust') {
      if (says && says[0] !== '200') return
      bounds.total[action.delta > 0 ? 1 : 0] += action.delta
      bounds.available[action.delta > 0 ? 1 : 0] += action.delta
      return
    }
    const number = number_of.get(life ?? '')
    const effect = EFFECTS[action.kind === 'pay' ? `pay ${action.status}` : action.kind]
    if (number === undefined || !effect) return
    if (says && !effect.says.includes(says[0] as string)) return
    if (!effect.from.includes(lifeAt(state, number).stage)) return
    const qty = qty_of[number] as number
    // An order says whether it was paid for already.
    const is_made = action.kind === 'order' && says?.[1]
    const never = is_made && (is_made.startsWith('paid') ? 'pending' : 'sold')
    for (const part of effect.less) bounds[part][0] -= qty
    for (const part of effect.more) if (part !== never) bounds[part][1] += qty
  }

  function mayFit(state: ProductState, { action, says }: Act, others: Act[]): boolean {
    const bounds: Bounds = { available: [0, 0], held: [0, 0], pending: [0, 0], sold: [0, 0], total: [0, 0] }
    for (const act of others) reach(bounds, state, act)
    for (const number of state.open) {
      const qty = qty_of[number] as number
      const part = partOf(lifeAt(state, number))
      bounds[part][0] -= qty
      bounds[partOf(moveOf(lifeAt(state, number)) as Life)][1] += qty
    }
    const shown =
      action.kind === 'read stock' ? says : action.kind === 'refused hold' ? says?.slice(2) : undefined
    return (shown ?? []).every((text, at) => {
      const part = SHOWN_PARTS[at] as keyof Bounds
      const needed = Number(text) - state[part]
      return !(needed < bounds[part][0] || needed > bounds[part][1])
    })
  }

  return {
    mayFit,
    initial: { ...empty, available: total, total, rows },
    step: (state, act) =>
      act.life === undefined
        ? stepProduct(state, act.action as ProductAction, act.says)
        : stepLife(state, act),
    moves: (state) =>
      state.open.map((number) => ({
        guess_ms: SWEPT_AFTER_MS + (dueOf(state, number) as number),
        state: move(state, number),
      })),
    fingerprint: ({ available, total, high, low }) => `${available} ${total} ${high} ${low}`,
  }
}
