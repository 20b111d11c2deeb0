import { setImmediate as tick, setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { UnavailableError } from '../src/errors.ts'
import { gather } from '../src/gather.ts'

/** A gather whose calls are noted and answered by hand. */
function open(
  own: Partial<
    Record<'max_batch' | 'max_in_flight' | 'max_full_in_flight' | 'max_waiting' | 'max_wait_ms', number>
  > = {},
) {
  const calls: Array<{
    items: number[]
    answer: (answers: Array<string | Error>) => void
    fail: (error: Error) => void
  }> = []
  const gathered = gather<number, string>({
    run: (items) =>
      new Promise((resolve, reject) => {
        calls.push({ items, answer: resolve, fail: reject })
      }),
    max_batch: 10,
    max_in_flight: 1,
    max_waiting: 100,
    ...own,
  })
  return {
    calls,
    gathered,
    batches: () => calls.map(({ items }) => items),
    /** Answers a call with its items as text. */
    answer: (at: number) => calls[at]?.answer(calls[at].items.map(String)),
  }
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at)

t.test('what one tick brings goes out as one call, in its order', async (t) => {
  const { gathered, batches, answer } = open()
  const answers = Promise.all([3, 1, 2].map(gathered.add))
  t.same(batches(), [], 'not before the tick is over')
  await tick()
  t.same(batches(), [[3, 1, 2]])
  answer(0)
  t.same(await answers, ['3', '1', '2'])
})

t.test('one item alone goes out at once', async (t) => {
  const { gathered, batches, answer } = open()
  const alone = gathered.add(1)
  await tick()
  t.same(batches(), [[1]])
  answer(0)
  t.equal(await alone, '1')
})

t.test(
  'full batches go out beside others, up to their own limit, and what does not fill one waits',
  async (t) => {
    const { gathered, batches, answer } = open({ max_full_in_flight: 3 })
    const answers = range(0, 47).map(gathered.add)
    await tick()
    t.same(
      batches(),
      [range(0, 10), range(10, 20), range(20, 30)],
      'a turn does not leave the rest to the next',
    )
    answer(1)
    await answers[10]
    await tick()
    t.same(batches().at(-1), range(30, 40), 'another full one')
    for (const at of [0, 2]) answer(at)
    await answers[20]
    await tick()
    t.equal(batches().length, 4, 'seven items wait while a call is on its way')
    answer(3)
    await answers[30]
    await tick()
    t.same(batches().at(-1), range(40, 47))
    answer(4)
    t.same(await Promise.all(answers), range(0, 47).map(String))
    await gathered.drained()
  },
)

t.test('control: without that limit a flood goes out one batch a turn', async (t) => {
  const { gathered, batches, answer } = open()
  const answers = range(0, 30).map(gathered.add)
  await tick()
  t.same(batches(), [range(0, 10)])
  for (const at of [0, 1, 2]) {
    answer(at)
    await answers[at * 10]
    await tick()
  }
  t.equal(batches().length, 3)
})

t.test('while a call is on its way the next items wait and go together', async (t) => {
  const { gathered, batches, answer } = open()
  const first = gathered.add(0)
  await tick()
  const others: Array<Promise<string>> = []
  for (const item of [1, 2, 3]) {
    others.push(gathered.add(item))
    await tick()
  }
  t.same(batches(), [[0]])
  answer(0)
  await first
  await tick()
  t.same(batches(), [[0], [1, 2, 3]])
  answer(1)
  t.same(await Promise.all(others), ['1', '2', '3'])
})

t.test('a call takes no more than max_batch, and no more than max_in_flight are on their way', async (t) => {
  const { gathered, batches, answer } = open({ max_batch: 4, max_in_flight: 2 })
  const answers = Promise.all(range(0, 18).map(gathered.add))
  await tick()
  t.same(batches(), [range(0, 4), range(4, 8)])
  answer(1)
  await tick()
  t.same(batches().slice(2), [range(8, 12)], 'the next one goes when one is back, whichever')
  answer(2)
  await tick()
  answer(0)
  await tick()
  t.same(batches().slice(3), [range(12, 16), [16, 17]])
  answer(4)
  answer(3)
  t.same(await answers, range(0, 18).map(String), 'each has its own answer')
})

t.test('an Error among the answers rejects its own item alone', async (t) => {
  const { gathered, calls } = open()
  const answers = Promise.allSettled([1, 2, 3].map(gathered.add))
  await tick()
  calls[0]?.answer(['one', new Error('bad'), 'three'])
  t.match(await answers, [
    { status: 'fulfilled', value: 'one' },
    { status: 'rejected', reason: { message: 'bad' } },
    { status: 'fulfilled', value: 'three' },
  ])
})

t.test('a call that fails rejects its items, and the next call goes on', async (t) => {
  const { gathered, calls, answer } = open({ max_batch: 2 })
  const answers = Promise.allSettled([1, 2, 3].map(gathered.add))
  await tick()
  calls[0]?.fail(new UnavailableError('unavailable', 'gone'))
  await tick()
  answer(1)
  t.match(await answers, [
    { status: 'rejected', reason: { code: 'unavailable' } },
    { status: 'rejected', reason: { code: 'unavailable' } },
    { status: 'fulfilled', value: '3' },
  ])
})

t.test('a call that throws before it returns a promise rejects its items too', async (t) => {
  const gathered = gather<number, string>({
    run: () => {
      throw new Error('at once')
    },
    max_batch: 10,
    max_in_flight: 1,
    max_waiting: 10,
  })
  await t.rejects(gathered.add(1), /at once/)
  await t.rejects(gathered.add(2), /at once/, 'and the way is free again')
  await gathered.drained()
})

t.test('an item without an answer is rejected; undefined is an answer', async (t) => {
  const gathered = gather<number, string | undefined>({
    run: async (items) => items.slice(0, 1).map(() => undefined),
    max_batch: 10,
    max_in_flight: 1,
    max_waiting: 10,
  })
  const [first, second] = await Promise.allSettled([gathered.add(1), gathered.add(2)])
  t.match(first, { status: 'fulfilled', value: undefined })
  t.match(second, { status: 'rejected', reason: /without an answer/ })
})

t.test('past max_waiting an item is refused at once, until there is room again', async (t) => {
  const { gathered, batches, answer } = open({ max_batch: 2, max_waiting: 3 })
  const sent = [0, 1].map(gathered.add)
  await tick()
  const waiting = [2, 3, 4].map(gathered.add)
  await t.rejects(gathered.add(5), { name: 'UnavailableError', code: 'unavailable' })
  answer(0)
  await Promise.all(sent)
  const later = gathered.add(6)
  await tick()
  answer(1)
  await tick()
  answer(2)
  t.same(await Promise.all([...waiting, later]), ['2', '3', '4', '6'])
  t.same(batches(), [
    [0, 1],
    [2, 3],
    [4, 6],
  ])
})

t.test(
  'an item whose turn comes after max_wait_ms is refused, those behind it that came later go on',
  async (t) => {
    const { gathered, batches, answer, calls } = open({ max_wait_ms: 40 })
    const first = gathered.add(0)
    await tick()
    const late = Promise.allSettled([1, 2].map(gathered.add))
    await wait(60)
    const in_time = gathered.add(3)
    calls[0]?.fail(new Error('timed out'))
    await t.rejects(first, /timed out/)
    t.match(await late, [
      { status: 'rejected', reason: { code: 'unavailable' } },
      { status: 'rejected', reason: { code: 'unavailable' } },
    ])
    t.same(batches().slice(1), [[3]], 'they were never sent')
    answer(1)
    t.equal(await in_time, '3')
    const last = gathered.add(4)
    await wait(60)
    calls[2]?.answer(['4'])
    t.equal(await last, '4', 'a call that is on its way may take as long as it does')
    await gathered.drained()
  },
)

t.test('an answer may add the next item', async (t) => {
  const { gathered, calls, answer } = open()
  const chain = (async () => {
    const answers = []
    for (let item = 0; item < 5; item += 1) answers.push(await gathered.add(item))
    return answers
  })()
  for (let at = 0; at < 5; at += 1) {
    while (calls.length <= at) await tick()
    answer(at)
  }
  t.same(await chain, ['0', '1', '2', '3', '4'])
})

t.test('drained waits for all that was added before, sent or waiting', async (t) => {
  const { gathered, answer } = open({ max_batch: 1 })
  await gathered.drained()
  const answers = [gathered.add(0), gathered.add(1)]
  let is_drained = false
  const drained = gathered.drained().then(() => {
    is_drained = true
  })
  await tick()
  answer(0)
  await answers[0]
  await tick()
  t.notOk(is_drained)
  answer(1)
  await drained
  t.same(await Promise.all(answers), ['0', '1'])
})

t.test('100,000 items from many ticks are each answered with their own', async (t) => {
  let largest = 0
  const gathered = gather<number, number>({
    run: async (items) => {
      largest = Math.max(largest, items.length)
      await tick()
      return items.map((item) => item * 2)
    },
    max_batch: 128,
    max_in_flight: 3,
    max_waiting: 1_000_000,
  })
  const adding: Array<Promise<number>> = []
  for (let item = 0; item < 100_000; item += 1) {
    adding.push(gathered.add(item))
    if (item % 1000 === 0) await tick()
  }
  const answers = await Promise.all(adding)
  t.ok(answers.every((answer, item) => answer === item * 2))
  t.equal(largest, 128)
})
