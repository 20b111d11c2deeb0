import { showAnswer } from './answers.js'
import { call, isGood, newKey } from './api.js'
import { now } from './clock.js'
import { at, h, say } from './dom.js'
import { allProducts, onProducts } from './products.js'
import { showTicket, startTicket } from './ticket.js'
import { money, soonOf } from './words.js'

/** @typedef {{ hold_id: string, order_id: string, qty: number, amount: number, currency: string, created_at: string, expires_at: string }} Hold */

/** How soon a payment shows that came by another way. */
const LOOK_EVERY_MS = 2_000
const TOKEN_KEY = 'holdfast-customer-token'
/** @type {import('./page.js').Settings} */
let settings
/** @type {any} the order that waits for its payment */
let pending

const units = (/** @type {number} */ qty) => `${qty} ${qty === 1 ? 'unit' : 'units'}`
const worth = (/** @type {{ qty: number, amount: number, currency: string }} */ it) =>
  `${units(it.qty)} for ${money(it.amount, it.currency)}`

/** Sends a step with the customer's token, where there is one, and shows its answer. @param {string} method @param {string} path @param {import('./api.js').Options} [options] */
async function step(method, path, options = {}) {
  const token = settings.customers === 'tokens' ? at('customer-token').value.trim() : null
  const answer = await call(method, path, { ...options, token })
  showAnswer(answer)
  return answer
}

/** Why a step was refused, in words. @param {import('./api.js').Answer} answer */
function refusal({ status, body, retry_after_seconds }) {
  if (status === 401) return 'This needs the token of a customer: paste one above.'
  if (body?.reason === 'all_held') {
    return `All held: ${retry_after_seconds ? `try again in ${soonOf(retry_after_seconds * 1000)}` : 'try again soon'}.`
  }
  if (body?.reason === 'sold_out') return 'Sold out.'
  if (body?.reason === 'too_many') return `Only ${units(body.available)} left.`
  return body?.errors?.[0] ? body.detail : `${body?.title ?? 'It did not work'}.`
}

/** Shows a refusal without leaving the step. @param {import('./api.js').Answer} answer */
const sayRefusal = (answer) => say(at('ticket-words'), refusal(answer))

/** @param {string} words @param {import('./ticket.js').Step} at_step */
function showEnd(words, at_step = 'over') {
  pending = undefined
  at('hold-form').inert = false
  showTicket({ step: at_step, words })
}

/** @param {Hold} hold */
function showHold(hold) {
  at('hold-form').inert = true
  showTicket({
    step: 'hold',
    words: `${worth(hold)} held. The price is locked until the ring has closed.`,
    from_ms: Date.parse(hold.created_at),
    until_ms: Date.parse(hold.expires_at),
    atEnd: () => showEnd('The hold has expired; its units are free again.'),
    actions: [
      { label: 'Make the order', is_primary: true, act: () => makeOrder(hold) },
      { label: 'Extend', act: () => extend(hold) },
      { label: 'Release', act: () => release(hold) },
    ],
  })
}

/** @param {Hold} hold */
async function extend(hold) {
  const answer = await step('POST', `/api/holds/${hold.hold_id}/extend`)
  if (isGood(answer)) showHold({ ...answer.body.data, created_at: new Date(now()).toISOString() })
  else sayRefusal(answer)
}

/** @param {Hold} hold */
async function release(hold) {
  const answer = await step('DELETE', `/api/holds/${hold.hold_id}`)
  if (isGood(answer)) showEnd('Released: the units are free again.')
  else sayRefusal(answer)
}

/** @param {Hold} hold */
async function makeOrder(hold) {
  const headers = { 'idempotency-key': hold.hold_id }
  const answer = await step('POST', '/api/orders', { body: { hold_id: hold.hold_id }, headers })
  if (isGood(answer)) showOrder(answer.body.data)
  else if (answer.status === 410) showEnd('The hold has expired; its units are free again.')
  else sayRefusal(answer)
}

/** @param {any} order */
function showOrder(order) {
  if (order.order_status === 'confirmed') {
    return showEnd(`Paid: ${units(order.qty)} ${order.qty === 1 ? 'is' : 'are'} sold to you.`, 'paid')
  }
  if (order.order_status === 'cancelled') {
    const why = order.cancel_reason === 'requested' ? 'as you asked' : 'because it was not paid'
    return showEnd(`The order is cancelled, ${why}; its units are free again.`)
  }
  pending = order
  const gateway = settings.simulator ? '' : ' Your gateway announces the payment by webhook.'
  const pay = (/** @type {string} */ label, /** @type {string} */ scenario) => ({
    label,
    is_primary: scenario === 'success',
    act: () => simulate(order, scenario),
  })
  showTicket({
    step: 'order',
    words: `Ordered: ${worth(order)}, to be paid before the ring has closed.${gateway}`,
    from_ms: Date.parse(order.created_at),
    until_ms: Date.parse(order.pay_by),
    actions: [
      ...(settings.simulator
        ? [pay('Pay', 'success'), pay('Pay twice', 'duplicate'), pay('Let the payment fail', 'failure')]
        : []),
      { label: 'Cancel', act: () => cancel(order) },
    ],
  })
}

/** @param {any} order */
async function cancel(order) {
  const answer = await step('DELETE', `/api/orders/${order.order_id}`)
  if (isGood(answer)) showOrder(answer.body.data)
  else sayRefusal(answer)
}

/** Has the built-in gateway announce a payment. @param {any} order @param {string} scenario */
async function simulate(order, scenario) {
  const answer = await step('POST', '/api/simulator/payments', {
    body: { order_id: order.order_id, scenario },
  })
  if (!isGood(answer)) return sayRefusal(answer)
  const refused = answer.body.data.find((/** @type {any} */ one) => one.status >= 400)
  if (refused) return sayRefusal({ ...answer, status: refused.status, body: refused.answer })
  showOrder(answer.body.data.at(-1).answer.data.order ?? order)
}

/** A pending order may be paid, or time out, without this page. */
async function look() {
  if (!pending || document.hidden) return
  const { order_id } = pending
  const token = settings.customers === 'tokens' ? at('customer-token').value.trim() : null
  const answer = await call('GET', `/api/orders/${order_id}`, { token })
  if (!isGood(answer) || pending?.order_id !== order_id) return
  if (answer.body.data.order_status !== 'pre-payment') showOrder(answer.body.data)
}

/** @param {SubmitEvent} event */
async function placeHold(event) {
  event.preventDefault()
  if (!at('hold-form').reportValidity()) return
  const customer_id = at('hold-customer').value.trim()
  at('hold-button').disabled = true
  const answer = await step('POST', '/api/holds', {
    body: {
      product_id: Number(at('hold-product').value),
      qty: Number(at('hold-qty').value),
      ...(settings.customers === 'open' && customer_id !== '' ? { customer_id } : {}),
    },
    headers: { 'idempotency-key': newKey() },
  })
  at('hold-button').disabled = false
  if (!isGood(answer)) return showTicket({ step: 'none', words: refusal(answer) })
  showHold(answer.body.data)
  at('ticket-buttons').querySelector('button')?.focus()
}

/** Keeps the list of products that can be chosen as it is on the page. */
function listProducts() {
  const select = at('hold-product')
  const products = allProducts()
  for (const { id, name } of products) {
    const option = select.querySelector(`option[value="${id}"]`)
    if (!option) select.append(h('option', { value: String(id) }, name))
    else say(option, name)
  }
}

/** @param {import('./page.js').Settings} page_settings */
export function startBuyer(page_settings) {
  settings = page_settings
  const has_tokens = settings.customers === 'tokens'
  at('token-field').hidden = !has_tokens
  at('customer-field').hidden = has_tokens
  at('customer-token').value = sessionStorage.getItem(TOKEN_KEY) ?? ''
  at('customer-token').addEventListener('change', () =>
    sessionStorage.setItem(TOKEN_KEY, at('customer-token').value),
  )
  at('hold-form').addEventListener('submit', placeHold)
  onProducts(listProducts)
  startTicket()
  setInterval(look, LOOK_EVERY_MS)
  return {
    /** Brings a visitor to the form with this product chosen. @param {number} id */
    choose(id) {
      at('hold-product').value = String(id)
      at('buyer').scrollIntoView()
      at('hold-qty').focus({ preventScroll: true })
      at('hold-qty').select()
    },
  }
}
