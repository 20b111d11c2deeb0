import t from 'tap'
import { createFence } from '../../src/engine/fence.ts'
import { createPlaces } from '../../src/engine/places.ts'
import { UnavailableError } from '../../src/errors.ts'

const ID = 'AAAAAAAAAAAAAAAA018f00000000'
const away = new UnavailableError('unavailable', 'it is away')

/** Looks for something of shard 0, of which products have moved to 1, to 2, and from 2 to 3. */
async function find(answers: Array<'found' | 'unknown' | Error>) {
  const fence = createFence(() => {})
  const places = createPlaces({ shards: 4, fence })
  const moves = [
    [0, 1],
    [0, 2],
    [2, 3],
  ].map(([from_shard = 0, to_shard = 0], at) => ({
    move: at + 1,
    product_id: at + 1,
    from_shard,
    to_shard,
  }))
  for (const shard of [0, 2]) places.knowMoves(shard, moves)
  const asked: number[] = []
  const look = async (shard: number) => {
    asked.push(shard)
    const answer = answers[shard] as string | Error
    if (answer instanceof Error) throw answer
    return `${answer} in ${shard}`
  }
  const found = await places
    .find(`${ID}0`, look, (answer) => answer.startsWith('unknown'))
    .catch((error: Error) => error.message)
  return { found, asked }
}

t.test(
  'what an id names is looked for until a shard knows it, whichever of the others are away',
  async (t) => {
    t.same(await find(['found', away, away, away]), { found: 'found in 0', asked: [0] })
    t.same(await find(['unknown', 'found', away, away]), { found: 'found in 1', asked: [0, 1] })
    t.same(await find([away, 'found', away, away]), { found: 'found in 1', asked: [0, 1] })
    t.same(await find([away, away, away, 'found']), { found: 'found in 3', asked: [0, 1, 2, 3] })
    t.same(await find(['unknown', 'unknown', 'unknown', 'unknown']), {
      found: 'unknown in 0',
      asked: [0, 1, 2, 3],
    })
  },
)

t.test('what no shard knows may be in one that is away', async (t) => {
  for (let shard = 0; shard < 4; shard += 1) {
    const answers = ['unknown', 'unknown', 'unknown', 'unknown'] as Array<'unknown' | Error>
    answers[shard] = away
    t.match(await find(answers), { found: 'it is away' }, `shard ${shard}`)
  }
})

t.test('an error that is not about a server that is away is nothing to look past', async (t) => {
  t.same(await find([new Error('a bug'), 'found', 'found', 'found']), { found: 'a bug', asked: [0] })
})
