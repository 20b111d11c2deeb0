import t from 'tap'
import { build } from '../fixtures/app.ts'
import { badRows } from '../fixtures/bad-input.ts'
import { snapshot } from '../fixtures/refusals.ts'
import { problemProblems } from '../fixtures/replies.ts'

const admin = 'an-admin-token-of-some-length'
const app = await build(t, { env: { ADMIN_TOKEN: admin } })
const product_id = await app.product(100)
const { hold_id } = await app.hold(product_id, 2)
const { order_id } = await app.order(await app.hold(product_id, 3))
await app.agree(t, 'before')

t.test('bad input is refused with a problem that has an id, and changes nothing', async (t) => {
  const rows = badRows({ product_id, hold_id, order_id, admin })
  t.ok(rows.length > 60, `${rows.length} cases`)
  const before = await snapshot(app)
  for (const [what, method, path, { body, headers }, status, code] of rows) {
    const name = `${method} ${path.slice(0, 60)}: ${what}`
    const reply = await app.call(method, path, body, headers ? { headers } : {})
    t.match(reply, { status, headers: { 'x-request-id': /./ }, body: { code } }, name)
    t.same(problemProblems(reply), [], name)
  }
  t.same(await snapshot(app), before, 'nothing changed')
})

t.test('control: what is not refused is seen in a snapshot', async (t) => {
  const before = await snapshot(app)
  await app.call('POST', `/api/holds/${hold_id}/extend`)
  const extended = await snapshot(app)
  t.notSame(extended, before)
  await app.call('DELETE', `/api/orders/${order_id}`)
  t.notSame(await snapshot(app), extended)
})
