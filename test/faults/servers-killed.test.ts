import t from 'tap'
import { sendBuyers } from '../fixtures/buyers.ts'
import { sendPatiently as send } from '../fixtures/http.ts'
import { openGround, startServer } from '../fixtures/program.ts'
import { until } from '../fixtures/until.ts'

t.test(
  'servers that are killed under load lose no order and no payment that they acknowledged',
  async (t) => {
    const ground = await openGround(t, 4)
    const id = await ground.product(1_000_000)
    const [first, second] = await Promise.all([startServer(t, ground.env), startServer(t, ground.env)])
    const buyers = [sendBuyers(first.origin, id, 15), sendBuyers(second.origin, id, 15)] as const
    await until('a hundred orders of each', () => buyers.every(({ orders }) => orders.size > 100))
    first.kill('SIGKILL')
    t.match(await first.ended, { signal: 'SIGKILL' })

    const before = buyers[1].orders.size
    await until('the other to go on', () => buyers[1].orders.size > before + 50)
    const refused = buyers[1].requests.filter(
      ({ error, status }) => error !== undefined || (status ?? 0) >= 500,
    )
    t.same(refused, [], 'the buyers of the other notice nothing')
    second.kill('SIGKILL')
    await second.ended
    for (const one of buyers) await one.stop()

    const again = await startServer(t, ground.env)
    await ground.agree(t, 'once the journal is finished')
    const rows = await ground.sql<{ id: string; payment_status: string }>(
      'select id, payment_status from orders',
    )
    const status = new Map(rows.map((row) => [row.id, row.payment_status]))
    for (const { orders, paid } of buyers) {
      t.same(
        [...orders].filter((order_id) => !status.has(order_id)),
        [],
        `all ${orders.size} orders are there`,
      )
      t.same(
        [...paid].filter((order_id) => status.get(order_id) !== 'paid'),
        [],
        `all ${paid.size} payments are there`,
      )
      for (const order_id of [...paid].slice(-3)) {
        const reply = await send(again.origin, { method: 'GET', path: `/api/orders/${order_id}` })
        t.match(reply, { status: 200, body: { data: { payment_status: 'paid' } } })
      }
    }
  },
)
