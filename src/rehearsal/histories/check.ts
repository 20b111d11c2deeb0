import type { Call, Loss, Recording } from './calls.ts'
import { byLife, withGuesses } from './guesses.ts'
import { linearize, type Model } from './linearize.ts'
import { type Act, actsOf, clockActs, until } from './operations.ts'
import { orderModel } from './order-model.ts'
import { productModel } from './product-model.ts'
import { smallestPart } from './smallest.ts'
import { tellPart } from './tell.ts'
import { totalModel } from './total-model.ts'

/** What became of the histories of a rehearsal. */
export type Checked = {
  /** Client calls, each a part of the history of an order, a product or both. */
  operations: number
  products: number
  orders: number
  /** The smallest part of each history that no order of the calls explains, in lines. */
  unexplained: string[][]
  /** Histories for which the search was given up. */
  undecided: string[]
}

export function nothingChecked(): Checked {
  return { operations: 0, products: 0, orders: 0, unexplained: [], undecided: [] }
}

/** Adds what was checked in a run. */
export function addChecked(total: Checked, run: number, one: Checked): void {
  total.operations += one.operations
  total.products += one.products
  total.orders += one.orders
  total.unexplained.push(...one.unexplained.map(([head, ...lines]) => [`run ${run}: ${head}`, ...lines]))
  total.undecided.push(...one.undecided.map((name) => `run ${run}: ${name}`))
}

const LOSS = {
  is_optional: false,
  is_quiet: false,
  qty: 0,
  life: undefined,
  says: undefined,
  call: undefined,
}

const lossActs = (losses: Loss[]): Act[] =>
  losses.map(({ began_ms, ended_ms }) => ({
    ...LOSS,
    began_ms,
    ended_ms,
    guess_ms: began_ms,
    action: { kind: 'lose' },
  }))

/** The calls that began before a moment; those that had not ended then may have been anything. */
function callsBefore(calls: Call[], moment_ms: number): Call[] {
  return calls
    .filter(({ began_ms }) => began_ms <= moment_ms)
    .map((call) => (call.ended_ms <= moment_ms ? call : { ...call, answer: undefined }))
}

/**
 * Decides whether there is an order of the calls of a recording that explains all their answers: for each hold with its order by
 * itself, over all faults, and for the product with all of them together. A loss of Redis may take any hold, so the product as a
 * whole is followed up to the first loss; from then on its total is.
 */
export function checkHistories(recording: Recording): Checked {
  const { calls, losses, product_id, total } = recording
  const checked = nothingChecked()
  const may_lose = losses.length > 0
  const acts = actsOf(calls, may_lose)
  const known = new Set(calls)
  const counted = new Set<Call>()

  function decide<State>(name: string, history: Act[], model: Model<State, Act>): void {
    for (const { call } of history) if (call && known.has(call)) counted.add(call)
    const { verdict, order } = linearize(history, model)
    if (verdict === 'undecided') {
      const [followed, all] = [order.map(({ op }) => op), history].map(
        (acts) => acts.filter(({ call }) => call).length,
      )
      checked.undecided.push(`${name} beyond ${followed} of its ${all} operations, which are explained`)
    }
    // What is wrong with an order is wrong with its product too, and told once.
    if (verdict !== 'unexplained' || (name.startsWith('product') && checked.unexplained.length > 0)) return
    const part = smallestPart(history, model)
    checked.unexplained.push(tellPart(name, part))
  }

  const acts_of = byLife([...acts, ...clockActs(recording, acts, may_lose)])
  for (const [id, own] of acts_of) {
    if (id.startsWith('unknown')) continue
    checked.orders += 1
    decide(`order ord_${id}`, [...own, ...lossActs(losses)], orderModel(may_lose))
  }

  checked.products += 1
  const first_loss_ms = Math.min(...losses.map(({ began_ms }) => began_ms))
  const whole = actsOf(callsBefore(calls, first_loss_ms), false).filter(
    ({ says }) => says?.[0] !== 'duplicate',
  )
  const all = withGuesses(until([...whole, ...clockActs(recording, whole, false)], first_loss_ms))
  decide(`product ${product_id}`, all, productModel(total, all))
  if (may_lose) {
    const totals = acts.filter(({ action }) => action.kind === 'adjust' || action.kind === 'read stock')
    decide(`the total of product ${product_id}`, [...totals, ...lossActs(losses)], totalModel(total, totals))
  }
  checked.operations = counted.size
  return checked
}
