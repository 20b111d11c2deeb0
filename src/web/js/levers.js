import { command, sayOutcome } from './admin.js'
import { isGood, newKey } from './api.js'
import { at, h, say } from './dom.js'
import { allProducts, onProducts, readProducts, takeProduct } from './products.js'
import { count, minorUnits } from './words.js'

/** @type {Map<number, ReturnType<typeof createLever>>} */
const levers = new Map()

/** What an operator can do with one product: restock it, and pause or resume its sale. @param {number} id */
function createLever(id) {
  const name = h('span', { className: 'name' })
  const delta = h('input', { type: 'number', value: '10', step: '1', required: true, inputMode: 'numeric' })
  const restock = h('form', {}, delta, h('button', { type: 'submit', className: 'small' }, 'Restock'))
  const pause = h('button', { type: 'button', className: 'small' })
  let product = /** @type {import('./products.js').Product | undefined} */ (undefined)
  // A form that is sent once more sends the same key, so it has one effect, until it was answered.
  let key = newKey()

  delta.addEventListener('input', () => {
    key = newKey()
  })
  restock.addEventListener('submit', async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault()
    const by = Number(delta.value)
    const answer = await command('POST', `/api/products/${id}/stock`, {
      body: { delta: by },
      headers: { 'idempotency-key': key },
    })
    if (answer.status !== 0 && answer.status !== 503) key = newKey()
    if (isGood(answer)) takeProduct(answer.body.data)
    sayOutcome(
      answer,
      `${product?.name}: ${by > 0 ? `${count(by)} units added` : `${count(-by)} units taken out`}.`,
    )
  })
  pause.addEventListener('click', async () => {
    const paused = product?.state !== 'paused'
    const answer = await command('PATCH', `/api/products/${id}`, { body: { paused } })
    if (isGood(answer)) takeProduct(answer.body.data)
    sayOutcome(answer, `${product?.name} ${paused ? 'is paused' : 'goes on'}.`)
  })
  return {
    element: h('li', { data: { product: id } }, name, restock, pause),
    /** @param {import('./products.js').Product} shown */
    show(shown) {
      product = shown
      say(name, shown.name)
      delta.setAttribute('aria-label', `Units to add to ${shown.name}, or, negative, to take out`)
      say(pause, shown.state === 'paused' ? 'Resume' : 'Pause')
      pause.setAttribute('aria-label', `${pause.textContent} ${shown.name}`)
    },
  }
}

function showLevers() {
  for (const product of allProducts()) {
    let lever = levers.get(product.id)
    if (!lever) {
      lever = createLever(product.id)
      levers.set(product.id, lever)
      at('levers').append(lever.element)
    }
    lever.show(product)
  }
}

/** @param {SubmitEvent} event */
async function create(event) {
  event.preventDefault()
  const form = at('create-form')
  const fields = Object.fromEntries(new FormData(form))
  const text = (/** @type {string} */ name) => String(fields[name] ?? '').trim()
  const time = (/** @type {string} */ name) => (text(name) === '' ? null : new Date(text(name)).toISOString())
  const currency = text('currency').toUpperCase()
  const answer = await command('POST', '/api/products', {
    body: {
      name: text('name'),
      unit_amount: minorUnits(Number(text('price')), currency),
      currency,
      total_stock: Number(text('total_stock')),
      starts_at: time('starts_at'),
      ends_at: time('ends_at'),
      max_per_customer: text('max_per_customer') === '' ? null : Number(text('max_per_customer')),
    },
  })
  if (isGood(answer)) {
    form.reset()
    at('create').open = false
    at('create').querySelector('summary').focus()
    await readProducts()
  }
  sayOutcome(answer, `${answer.body?.data?.name} is on sale as product ${answer.body?.data?.id}.`)
}

export function startLevers() {
  onProducts(showLevers)
  at('create-form').addEventListener('submit', create)
}
