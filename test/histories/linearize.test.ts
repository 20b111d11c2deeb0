import t from 'tap'
import { linearize, type Model, type Operation } from '../../src/rehearsal/histories/linearize.ts'

type Access = Operation & { kind: 'read' | 'write'; value: number }

/** A register with one number, 0 at first. */
const REGISTER: Model<number, Access> = {
  initial: 0,
  step: (state, { kind, value }) => (kind === 'write' ? [value] : value === state ? [state] : []),
  moves: () => [],
  fingerprint: String,
}

function access(kind: Access['kind'], value: number, began_ms: number, ended_ms: number): Access {
  return {
    kind,
    value,
    began_ms,
    ended_ms,
    is_optional: ended_ms === Number.POSITIVE_INFINITY,
    guess_ms: began_ms,
    is_quiet: kind === 'read',
  }
}
const write = (value: number, from: number, to = Number.POSITIVE_INFINITY) => access('write', value, from, to)
const read = (value: number, from: number, to: number) => access('read', value, from, to)
const judge = (...accesses: Access[]) => linearize(accesses, REGISTER).verdict

t.test(
  'a history is explained where each call can take effect once between its beginning and its end',
  async (t) => {
    t.equal(judge(), 'explained', 'nothing happened')
    t.equal(judge(write(1, 0, 10), read(1, 20, 30)), 'explained')
    t.equal(judge(write(1, 0, 100), read(1, 10, 20), read(1, 30, 40)), 'explained')
    t.equal(judge(write(1, 0, 100), read(0, 10, 20), read(1, 30, 40)), 'explained', 'the write came between')
    t.equal(judge(write(1, 0, 50), write(2, 0, 50), read(1, 60, 70)), 'explained')
    t.equal(
      judge(write(2, 0, 50), write(1, 0, 50), read(1, 60, 70)),
      'explained',
      'in whatever order they began',
    )
  },
)

t.test('a stale read, a value that comes back and one from nowhere are not explained', async (t) => {
  t.equal(judge(write(1, 0, 10), read(0, 20, 30)), 'unexplained')
  t.equal(judge(write(1, 0, 100), read(1, 10, 20), read(0, 30, 40)), 'unexplained')
  t.equal(judge(write(1, 0, 10), write(2, 20, 30), read(1, 40, 50)), 'unexplained')
  t.equal(judge(read(7, 0, 10)), 'unexplained')
  t.equal(judge(write(1, 0, 50), write(2, 0, 50), read(1, 60, 70), read(2, 80, 90)), 'unexplained')
})

t.test('a call that was not answered may take effect at any later moment, or never', async (t) => {
  t.equal(judge(write(1, 0), read(0, 10, 20)), 'explained')
  t.equal(judge(write(1, 0), read(0, 10, 20), read(1, 1000, 1010)), 'explained')
  t.equal(judge(write(1, 0), read(1, 10, 20), read(0, 30, 40)), 'unexplained', 'but once')
  t.equal(judge(write(1, 50), read(1, 10, 20)), 'unexplained', 'and not before it began')
})

t.test('moments that answers name put their calls in order', async (t) => {
  const [one, two] = [write(1, 0, 50), write(2, 0, 50)]
  t.equal(judge({ ...one, moment_ms: 20 }, { ...two, moment_ms: 10 }, read(1, 60, 70)), 'explained')
  t.equal(judge({ ...one, moment_ms: 10 }, { ...two, moment_ms: 20 }, read(1, 60, 70)), 'unexplained')
  t.equal(judge({ ...one, moment_ms: 10 }, { ...two, moment_ms: 10 }, read(1, 60, 70)), 'explained')
})

t.test('what happens by itself explains what it may', async (t) => {
  const fading: Model<number, Access> = {
    ...REGISTER,
    moves: (state) => (state === 0 ? [] : [{ guess_ms: 0, state: 0 }]),
  }
  t.equal(linearize([write(1, 0, 10), read(1, 20, 30), read(0, 40, 50)], fading).verdict, 'explained')
  t.equal(linearize([write(1, 0, 10), read(0, 20, 30), read(1, 40, 50)], fading).verdict, 'unexplained')
})

t.test('a search that would take too long is given up, and says so', async (t) => {
  const many = Array.from({ length: 9 }, (_, at) => write(at + 1, 0, 100))
  const { verdict, configurations } = linearize([...many, read(99, 200, 210)], REGISTER, 200)
  t.equal(verdict, 'undecided')
  t.ok(configurations <= 201)
  t.equal(
    linearize([...many, read(99, 200, 210)], REGISTER).verdict,
    'unexplained',
    'none is looked at twice',
  )
})
